"""How far the truth may lie from what was measured in a predicted map.

The model's card says by what 90 % of whole sections were off (`trust.intervals`); the job record
keeps it. Regions of a section average over less: they have no interval.
"""

from __future__ import annotations

from napari_damm.analysis.measures import MEASURES, Measured
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.regions import Region, Tissue
from napari_damm.trust.intervals import LEVEL, Intervals

OF_PARTICLES = (
    "l50", "auc_100", "extravasation_distance", "extravasated_area", "tissue_access_100",
    "tissue_access_50", "cell_dose", "positive_cells", "cv", "gini", "rim_core",
)  # fmt: skip
"""Measures of the predicted particles; the others are of images that were taken."""
NOT_CALIBRATED = (
    "No intervals: the model's card does not say how far measures of its maps were off on sections "
    "that it had not learnt from (not calibrated)."
)


def interval(
    known: Intervals | None, region: Region, found: Measured
) -> tuple[float | None, float | None, float | None]:
    """Return low, high and level of a measure; Nones where nobody has measured them."""
    off = None if known is None else known.measures.get(found.measure)
    if off is None or found.value is None or not isinstance(region, Tissue):
        return None, None, None
    low, high = (max(0.0, edge) for edge in off.around(found.value))
    if MEASURES[found.measure].unit == "%":
        low, high = min(low, 100.0), min(high, 100.0)
    return low, high, LEVEL


def intervals_of(section: ParticleMap) -> Intervals | None:
    """Return what is known of a predicted map's errors; None of an imaged one.

    Raises
    ------
    ValueError
        If what its record says of them cannot be used.
    """
    return Intervals.of_card(section.record) if section.predicted else None


def note(known: Intervals | None) -> str:
    """Say what the intervals of a predicted section rest on, or that there are none."""
    if known is None or not known.measures:
        return NOT_CALIBRATED
    count = max(each.count for each in known.measures.values())
    return (
        f"Intervals are nominal 90 % ones of whole sections, from {count} sections that the model "
        f"had not learnt from ({known.fitted_on}). On tissue of another kind they may not hold; "
        "measures without one have shown that theirs does not. Regions have none."
    )

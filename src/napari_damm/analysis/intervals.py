"""How far the truth may lie from what was measured in a predicted map.

1. Where the result keeps several samples, each measure is computed of each of them: the interval is
   their mean and spread, times a factor where the model's card has one (`trust.intervals`).
2. Otherwise the card says by what 90 % of whole sections were off; the job record keeps it. Regions
   of a section average over less: they have no such interval.
3. Of images that are like none that the model knows ("do not use") the card says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from napari_damm.analysis.measures import MEASURES, Measured
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.regions import Region, Tissue
from napari_damm.trust.intervals import FITTED_SAMPLES, Intervals
from napari_damm.trust.measure_intervals import RATIO
from napari_damm.trust.verdict import DO_NOT_USE
from napari_damm.trust.widths import LEVEL, NORMAL_90
from napari_damm.util.extravasation import Profile

OF_PARTICLES = (
    "l50", "auc_100", "extravasation_distance", "extravasated_area", "tissue_access_100",
    "tissue_access_50", "cell_dose", "positive_cells", "cv", "gini", "rim_core",
)  # fmt: skip
"""Measures of the predicted particles; the others are of images that were taken."""
FEWEST_SAMPLES = 2
PART = (
    "No intervals: those on the model's card are of whole sections, and only a part of this one "
    "was predicted."
)
UNLIKE = (
    "no intervals: those on the model's card are of sections like the ones that it knows, and the "
    f'verdict on this prediction was "{DO_NOT_USE}"'
)
Limits = tuple[float | None, float | None, float | None]
NO_LIMITS: Limits = (None, None, None)
NOT_CALIBRATED = (
    "No intervals: the model's card does not say how far measures of its maps were off on sections "
    "that it had not learnt from (not calibrated)."
)
MAP_ALONE = (
    "No intervals of these measures: the model is calibrated for the map, pixel by pixel, not for "
    "these measures."
)


def interval(
    known: Intervals | None, region: Region, found: Measured, beside: Mapping[str, float | None]
) -> Limits:
    """Return low, high and level of a measure; Nones where nobody has measured them.

    `beside` are all measures of the region, by name.
    """
    off = None if known is None else known.measures.get(found.measure)
    if off is None or found.value is None or not isinstance(region, Tissue):
        return NO_LIMITS
    if off.kind == RATIO and found.value <= 0:  # a factor tells nothing of 0
        return NO_LIMITS
    low, high = (float(limit) for limit in off.around(found.value, beside.get(off.by)))
    low, high = _possible(found.measure, low, high)
    return low, high, LEVEL


def of_samples(
    found: Measured, drawn: Sequence[Measured], known: Intervals | None
) -> tuple[Measured, Limits]:
    """Return a measure as its mean over samples, with low, high and level.

    A measure of the mean of samples is another: that map is smoother than any of them. The limits
    are the normal 90 % interval of the samples, widened by the card's factor; without a factor, or
    of fewer samples than it was fitted with, they have no level: they are not calibrated. Where a
    sample does not give the measure it stays that of the map, without limits.
    """
    values = [each.value for each in drawn if each.value is not None]
    if found.measure not in OF_PARTICLES or found.value is None:
        return found, NO_LIMITS
    if len(values) < max(FEWEST_SAMPLES, len(drawn)):
        return found, NO_LIMITS
    factor = None if known is None else known.samples.get(found.measure)
    half = NORMAL_90 * float(np.std(values, ddof=1)) * (1.0 if factor is None else factor)
    mean = float(np.mean(values))
    low, high = _possible(found.measure, mean - half, mean + half)
    calibrated = factor is not None and len(values) >= FITTED_SAMPLES
    return replace(found, value=mean), (low, high, LEVEL if calibrated else None)


def profile_spread(
    profile: Profile, drawn: Sequence[Profile | None]
) -> tuple[list[float | None], list[float | None]]:
    """Return low and high of each shell: the normal 90 % interval of the samples' profiles.

    Nones where a sample's profile has other shells.
    """
    alike = [each.signal for each in drawn if each is not None]
    alike = [signal for signal in alike if signal.size == profile.signal.size]
    if len(alike) < max(FEWEST_SAMPLES, len(drawn)):
        nothing: list[float | None] = [None] * profile.signal.size
        return nothing, nothing
    mean, half = np.mean(alike, axis=0), NORMAL_90 * np.std(alike, axis=0, ddof=1)
    return (mean - half).tolist(), (mean + half).tolist()


def _possible(measure: str, low: float, high: float) -> tuple[float, float]:
    """Return an interval cut to what the measure can be."""
    low, high = max(0.0, low), max(0.0, high)
    if MEASURES[measure].unit == "%":
        low, high = min(low, 100.0), min(high, 100.0)
    return low, high


def intervals_of(section: ParticleMap) -> Intervals | None:
    """Return what is known of a predicted map's errors; None of an imaged one.

    Of a part of a section (a rectangle, areas) nobody has measured by how much its measures are
    off: then the samples' factors alone are left. Of images unlike all that the model knows not
    even these.

    Raises
    ------
    ValueError
        If what its record says of them cannot be used.
    """
    if not section.predicted:
        return None
    known = Intervals.of_card(section.record)
    left_out = why_left_out(section)
    if known is None or not left_out:
        return known
    return replace(known, measures={}, samples={} if left_out == UNLIKE else known.samples)


def why_left_out(section: ParticleMap) -> str:
    """Return why intervals on the card do not hold for a predicted section; "" where they do."""
    trust = section.record.get("trust")
    if isinstance(trust, Mapping) and trust.get("verdict") == DO_NOT_USE:
        return UNLIKE
    return PART if section.record.get("roi") or section.record.get("areas") else ""


def notes_of(
    section: ParticleMap, known: Intervals | None, values: Mapping[str, float | None]
) -> Iterator[str]:
    """Say what intervals rest on, as `note` does, and what is special in a section.

    `values` are all measures of the whole section, by name.
    """
    said = note(known, len(section.samples), why_left_out(section))
    yield f"{section.name}: {said}" if said == UNLIKE else said
    if known is not None and len(section.samples) < FEWEST_SAMPLES:
        for special in _of_some(known, values):
            yield f"{section.name}: {special}"


def note(known: Intervals | None, samples: int = 0, left_out: str = "") -> str:
    """Say what the intervals of a predicted section rest on, or why there are none.

    `left_out` is why those on the card do not hold, as `why_left_out` says it.
    """
    if samples >= FEWEST_SAMPLES:
        return _note_of_samples(known, samples)
    if known is None:
        return NOT_CALIBRATED
    if not known.measures:
        return left_out or MAP_ALONE
    count = max(each.count for each in known.measures.values())
    missing = [MEASURES[name].label for name in OF_PARTICLES if name not in known.measures]
    none = f" None was fitted for {', '.join(missing)}." if missing else ""
    return (
        f"Intervals are nominal 90 % ones of whole sections, from {count} sections that the model "
        f"had not learnt from ({known.measures_fitted_on or known.fitted_on}). On tissue of "
        "another kind they may not hold. What is measured in images, of vessels and distances to "
        f"them, needs none.{none} Regions have none."
    )


def _of_some(known: Intervals, values: Mapping[str, float | None]) -> Iterator[str]:
    """Say of which measures intervals are the widest, or cannot be given, in this section."""
    widest: dict[str, list[str]] = {}
    zero = []
    for name, off in known.measures.items():
        value = values.get(name)
        if value is None or name not in MEASURES:
            continue
        if off.kind == RATIO and value <= 0:
            zero.append(MEASURES[name].label)
        elif off.by in MEASURES and values.get(off.by) is None:
            widest.setdefault(off.by, []).append(MEASURES[name].label)
    for by, labels in widest.items():
        yield (
            f"the intervals of {', '.join(labels)} are the widest that were fitted: how wide they "
            f"must be, {MEASURES[by].label} would tell, and there is none"
        )
    if zero:
        yield f"no interval of {', '.join(zero)}: what is not above 0 cannot be off by a factor"


def _note_of_samples(known: Intervals | None, samples: int) -> str:
    drawn = (
        f"Measures of the particles are means over {samples} samples, each measured on its "
        "own, and their intervals are what the samples spread over"
    )
    fitted = () if known is None else [name for name in OF_PARTICLES if name in known.samples]
    if not fitted or known is None:
        return f"{drawn}: not calibrated, they hold the truth less often than it seems."
    if samples < FITTED_SAMPLES:
        return (
            f"{drawn}. What they are widened by was fitted with {FITTED_SAMPLES} samples of "
            f"each section; {samples} tell too little of how much they spread: the intervals "
            f"have no level. Predict with {FITTED_SAMPLES} samples or more for 90 % ones."
        )
    titles = ", ".join(MEASURES[name].title for name in fitted)
    return (
        f"{drawn}. Those of {titles} are widened until they held the truth of 90 % of sections "
        f"({known.samples_fitted_on or known.fitted_on}); the others are not calibrated, and "
        "have no level."
    )

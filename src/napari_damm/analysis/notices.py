"""What is said while a section is measured: what of it cannot be, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from napari_damm.analysis.counts import Counts
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.regions import Band, Region
from napari_damm.analysis.unseen import said_of_fill
from napari_damm.analysis.walk import SectionCounts
from napari_damm.events import Notice

WIDE = 0.5
"""Share of the tissue: no tissue is vessels for more than half."""


def said_of_wide_vessels(section: ParticleMap, tissue: Counts) -> list[str]:
    """Say that what counts as vessel can hardly be vessels, where it is most of the tissue."""
    if section.vessel_labels is not None or tissue.vessels <= WIDE * tissue.pixels:
        return []
    share = round(100 * tissue.vessels / tissue.pixels)
    return [
        f"{share} % of the tissue of {section.name} count as vessel: are these dark on a light "
        "ground (invert the image), is it another channel, or is the vessel threshold too low?"
    ]


def notices_of(
    section: ParticleMap, regions: Sequence[Region], counts: SectionCounts
) -> Iterator[Notice]:
    """Yield warnings of what of a section cannot be measured."""
    for said in said_of_fill(section):
        yield Notice(said, "warning")
    whole = counts.regions[regions[0].name]
    if not whole.vessels:
        remedy = "lower the vessel threshold or choose another channel"
        if section.vessel_labels is not None:
            remedy = "draw some in the labels of its vessels, in tissue"
        yield Notice(
            f"no vessels were found in {section.name}: what depends on the distance from them is "
            f"left empty; {remedy}",
            "warning",
        )
    for region in regions:
        if not counts.regions[region.name].pixels:
            cell = min(section.cell_um)
            why = "holds no tissue"
            if isinstance(region, Band) and section.depth_um is None:
                why = "is nowhere, since the tissue fills the picture and shows no edge"
            elif isinstance(region, Band) and region.high_um - region.low_um < cell:
                why = f"is narrower than the cells of {cell:.3g} um in which tissue is found"
            yield Notice(
                f"region {region.name!r} of {section.name} {why}: its measures are left empty",
                "warning",
            )

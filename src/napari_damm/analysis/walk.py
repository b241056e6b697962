"""From a section to sums over its regions: a walk over tiles, in memory of bounded size.

1. Thresholds (Otsu over tissue) are found in two passes: the range of intensities, then their
   histogram.
2. Each tile is read with a halo of the longest distance that is reported, so its distances are
   those of the whole picture; vessels that end in the halo are counted elsewhere.
3. Every region adds up its own pixels of the tile; nuclei are added up over the whole section.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.analysis import cells as per_cell
from napari_damm.analysis.cells import Cells, CellTable
from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.counts import ACCESS_UM, Counts, Tile
from napari_damm.analysis.distance import distance_to, signed_distance
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.profile import FARTHEST_UM
from napari_damm.analysis.regions import Region, trusted_in
from napari_damm.analysis.thresholds import Histogram, PixelRange, Threshold
from napari_damm.analysis.vessels import blurred_vessels, centre_lines, vessels_in
from napari_damm.util.tiling import Box

Pixels = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

HALO_UM = FARTHEST_UM + per_cell.REACH_UM
BESIDE_UM = 5.0
"""A spot of particles so near to a vessel speaks for that vessel."""
RIM_SHARE = 0.2
ALIKE = "nothing stands out: all its pixels in tissue are alike"


@dataclass
class SectionCounts:
    """What was added up over a section, by region; `thresholds` by image, None where none is."""

    thresholds: dict[str, Threshold | None]
    regions: dict[str, Counts]
    cells: dict[str, CellTable] = field(default_factory=dict)


def find_thresholds(
    section: ParticleMap, config: AnalyzeConfig
) -> Generator[tuple[int, int], None, dict[str, Threshold | None]]:
    """Find what is bright in each image; yields (tiles done, tiles in all).

    An image in which all tissue is alike has no threshold: None.
    """
    given = {
        "particles": config.particle_threshold,
        "vessels": config.vessel_threshold,
        "perfusion": config.perfusion_threshold,
        "nuclei": None,
    }
    found: dict[str, Threshold | None] = {}
    wanted: dict[str, Callable[[Box], Pixels]] = {}
    for role, value in given.items():
        drawn = section.vessel_labels if role == "vessels" else None
        drawn = section.nucleus_labels if role == "nuclei" else drawn
        if value is not None:
            found[role] = Threshold(value)
        elif role in section.images and drawn is None:
            wanted[role] = _measured(section, role)
    ranges = {role: PixelRange() for role in wanted}
    tiles = list(section.tiles(config.tile_px))
    total = 2 * len(tiles)
    for number, box in enumerate(tiles):
        for role, seen in ranges.items():
            seen.add(wanted[role](box)[section.tissue_in(box)])
        yield number + 1, total
    counted = {role: Histogram(r.low, r.high) for role, r in ranges.items() if r.varies}
    for number, box in enumerate(tiles):
        for role, histogram in counted.items():
            histogram.add(wanted[role](box)[section.tissue_in(box)])
        yield len(tiles) + number + 1, total
    for role in wanted:
        found[role] = counted[role].threshold() if role in counted else None
    return found


def count_section(
    section: ParticleMap,
    regions: Sequence[Region],
    thresholds: dict[str, Threshold | None],
    tile_px: int,
) -> Generator[tuple[int, int], None, SectionCounts]:
    """Add up everything over the regions of a section; yields (tiles done, tiles in all)."""
    found = SectionCounts(
        thresholds, {region.name: Counts(section.shape, section.pixel_um) for region in regions}
    )
    cells = Cells()
    tiles = list(section.tiles(tile_px))
    for number, box in enumerate(tiles):
        tile = read_tile(section, box, thresholds, cells)
        for region in regions:
            found.regions[region.name].add(tile, region.mask(section, box))
        yield number + 1, len(tiles)
    table = cells.table()
    for region in regions:
        found.cells[region.name] = table.chosen(_cells_inside(section, region, table, tiles))
    return found


def read_tile(
    section: ParticleMap,
    box: Box,
    thresholds: dict[str, Threshold | None],
    cells: Cells | None = None,
) -> Tile:
    """Return what regions add up of a tile; cells are added to `cells`."""
    above = {role: found.value for role, found in thresholds.items() if found is not None}
    bright_from = above.get("particles", np.inf)
    near = section.grown_um(box, ACCESS_UM[0])
    signal = section.read("particles", near).astype(np.float64)
    core = box.shifted(-near.y0, -near.x0).slices
    shown: dict[str, NDArray[Any]] = {}
    distance: NDArray[np.float64] | None = None
    if section.vessel_labels is not None or "vessels" in above:
        wide = section.grown_um(box, HALO_UM)
        vessels = vessels_in(section, wide, above.get("vessels"))
        distances = signed_distance(vessels, section.pixel_um, FARTHEST_UM)
        middle = box.shifted(-wide.y0, -wide.x0).slices
        distance = distances[near.shifted(-wide.y0, -wide.x0).slices]
        spots = (signal > bright_from) & (distance <= BESIDE_UM)
        shown = {
            "vessels": vessels[middle],
            "distance_um": distance[core],
            "lines": centre_lines(vessels)[middle],
            "access_um": distance_to(spots, section.pixel_um)[core],
        }
    if "perfusion" in above:
        shown["perfused"] = section.read("perfusion", box) > above["perfusion"]
    if section.depth_um is not None:
        rim = section.depth_um <= RIM_SHARE * section.depth_um.max()
        shown["rim"] = section.cells_in(rim, box)
    if cells is not None and distance is not None:
        _add_cells(section, box, near, (signal, distance), above.get("nuclei"), cells)
    bright = signal[core] > bright_from
    return Tile(box, signal[core], bright, trusted_in(section, box), **shown)


def _add_cells(
    section: ParticleMap,
    box: Box,
    near: Box,
    values: tuple[NDArray[np.float64], NDArray[np.float64]],
    threshold: float | None,
    cells: Cells,
) -> None:
    """Add the pixels of a tile that belong to a cell: those of tissue, as glass is in no tile."""
    if section.nucleus_labels is not None:
        numbers = per_cell.drawn_nuclei(section, box)
    elif threshold is not None:
        numbers = per_cell.found_nuclei(section, box, threshold)
    else:
        return
    y, x = np.nonzero(np.where(section.tissue_in(box), numbers, 0))
    signal, distance = (v[box.shifted(-near.y0, -near.x0).slices][y, x] for v in values)
    cells.add(numbers[y, x], (signal, distance, y + box.y0, x + box.x0))


def _cells_inside(
    section: ParticleMap, region: Region, table: CellTable, tiles: Sequence[Box]
) -> Mask:
    """Return which cells have their middle inside a region."""
    inside = np.zeros(table.signal.size, bool)
    for box in tiles if inside.size else ():
        here = (table.y >= box.y0) & (table.y < box.y1)
        here &= (table.x >= box.x0) & (table.x < box.x1)
        if here.any():
            mask = region.mask(section, box)
            inside[here] = mask[table.y[here] - box.y0, table.x[here] - box.x0]
    return inside


def _measured(section: ParticleMap, role: str) -> Callable[[Box], Pixels]:
    """Return what of an image its threshold is chosen on."""
    if role == "vessels":
        return lambda box: blurred_vessels(section, box)
    if role == "nuclei":
        return lambda box: np.maximum(per_cell.blob_contrast(section, box), 0.0)
    return lambda box: section.read(role, box)

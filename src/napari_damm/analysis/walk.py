"""From a section to sums over its regions: a walk over tiles, in memory of bounded size.

1. Thresholds (Otsu over tissue) are found in two passes: the range of intensities, then their
   histogram; more where a few pixels far off all others squeeze it.
2. Each tile is read with a halo of the longest distance that is reported, so its distances are
   those of the whole picture; vessels that end in the halo are counted elsewhere.
3. Every region adds up its own pixels of the tile; nuclei are added up over the whole section.
4. Samples of a predicted map are added up on the same ground: vessels, distances and cells are
   those of the section.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from napari_damm.analysis.thresholds import FEW, FEW_BLURRED, Histogram, PixelRange, Threshold
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
    """What was added up over a section, by region; `thresholds` by image, None where none is.

    `samples` holds the same of each sample of a predicted map.
    """

    thresholds: dict[str, Threshold | None]
    regions: dict[str, Counts]
    cells: dict[str, CellTable] = field(default_factory=dict)
    samples: list[SectionCounts] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Ground:
    """What a tile shows besides particles: the same for a map and for each of its samples.

    `near` is the tile with 100 um around it, and `distance_um` of its pixels; `seen` are fields of
    `Tile` that particles have no part in; `cells` the number of the cell that a pixel is in.
    """

    box: Box
    near: Box
    vessels: Mask | None
    distance_um: NDArray[np.float64] | None
    seen: dict[str, NDArray[Any]]
    cells: NDArray[np.int64] | None

    @property
    def core(self) -> tuple[slice, slice]:
        """The tile inside `near`."""
        return self.box.shifted(-self.near.y0, -self.near.x0).slices


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
    counted = yield from _counted(section, wanted, list(section.tiles(config.tile_px)))
    for role in wanted:
        found[role] = counted[role].threshold() if role in counted else None
    return found


def _counted(
    section: ParticleMap, wanted: Mapping[str, Callable[[Box], Pixels]], tiles: Sequence[Box]
) -> Generator[tuple[int, int], None, dict[str, Histogram]]:
    """Count the pixels of images in tissue; those that are all alike are left out."""
    ranges = {role: PixelRange() for role in wanted}
    for number, box in enumerate(tiles):
        for role, seen in ranges.items():
            seen.add(wanted[role](box)[section.tissue_in(box)])
        yield number + 1, 2 * len(tiles)
    for role, seen in ranges.items():
        seen.check_levels(f"the {role} of {section.name}")
    few = {"vessels": FEW_BLURRED}
    counted = {
        role: Histogram(seen.low, seen.high, few.get(role, FEW))
        for role, seen in ranges.items()
        if seen.varies
    }
    todo, passes = counted, 1
    while todo:
        for number, box in enumerate(tiles):
            tissue = section.tissue_in(box)
            for role, histogram in todo.items():
                histogram.add(wanted[role](box)[tissue])
            yield passes * len(tiles) + number + 1, (passes + 1) * len(tiles)
        narrowed = {role: histogram.narrowed() for role, histogram in todo.items()}
        todo = {role: histogram for role, histogram in narrowed.items() if histogram is not None}
        counted, passes = counted | todo, passes + 1
    return counted


def find_sample_thresholds(
    section: ParticleMap, thresholds: dict[str, Threshold | None], config: AnalyzeConfig
) -> Generator[tuple[int, int], None, list[dict[str, Threshold | None]]]:
    """Find what is bright in each sample; everything else is as in `thresholds`."""
    found = []
    for number in range(len(section.samples)):
        own = yield from find_thresholds(section.of_sample(number), config)
        found.append({**thresholds, "particles": own["particles"]})
    return found


def count_section(
    section: ParticleMap,
    regions: Sequence[Region],
    thresholds: dict[str, Threshold | None],
    tile_px: int,
    of_samples: Sequence[dict[str, Threshold | None]] = (),
) -> Generator[tuple[int, int], None, SectionCounts]:
    """Add up everything over the regions of a section; yields (tiles done, tiles in all).

    `of_samples` are the thresholds of the samples that are added up too.
    """
    counted = [
        SectionCounts(
            each, {region.name: Counts(section.shape, section.pixel_um) for region in regions}
        )
        for each in (thresholds, *of_samples)
    ]
    cells = [Cells() for _ in counted]
    seen = PixelRange()
    tiles = list(section.tiles(tile_px))
    for number, box in enumerate(tiles):
        ground = read_ground(section, box, thresholds)
        masks = [(region.name, region.mask(section, box)) for region in regions]
        for k, (found, taken_up) in enumerate(zip(counted, cells, strict=True)):
            near = ground.near
            signal = section.read_sample(k - 1, near) if k else section.read("particles", near)
            seen.add(signal[ground.core][section.tissue_in(box)])
            tile = tile_on(section, ground, signal, found.thresholds["particles"])
            if ground.cells is not None:
                _add_cells(ground, signal[ground.core], ground.cells, taken_up)
            for name, mask in masks:
                found.regions[name].add(tile, mask)
        yield number + 1, len(tiles)
    seen.check_levels(f"the particles of {section.name}")
    for found, taken_up in zip(counted, cells, strict=True):
        table = taken_up.table()
        for region in regions:
            inside = _cells_inside(section, region, table, tiles)
            found.cells[region.name] = table.chosen(inside)
    whole, *samples = counted
    return replace(whole, samples=samples)


def read_ground(section: ParticleMap, box: Box, thresholds: dict[str, Threshold | None]) -> Ground:
    """Return what a tile shows besides particles."""
    above = {role: found.value for role, found in thresholds.items() if found is not None}
    near = section.grown_um(box, ACCESS_UM[0])
    seen: dict[str, NDArray[Any]] = {}
    shown: Mask | None = None
    distance: NDArray[np.float64] | None = None
    if section.vessel_labels is not None or "vessels" in above:
        wide = section.grown_um(box, HALO_UM)
        vessels = vessels_in(section, wide, above.get("vessels"))
        distances = signed_distance(vessels, section.pixel_um, FARTHEST_UM)
        distance = distances[near.shifted(-wide.y0, -wide.x0).slices]
        middle = box.shifted(-wide.y0, -wide.x0).slices
        shown, seen["lines"] = vessels[middle], centre_lines(vessels)[middle]
    if "perfusion" in above:
        seen["perfused"] = section.read("perfusion", box) > above["perfusion"]
    if section.depth_um is not None:
        rim = section.depth_um <= RIM_SHARE * section.depth_um.max()
        seen["rim"] = section.cells_in(rim, box)
    cells = _cells_of(section, box, above.get("nuclei"))
    return Ground(box, near, shown, distance, seen, cells)


def tile_on(
    section: ParticleMap, ground: Ground, particles: Pixels, threshold: Threshold | None
) -> Tile:
    """Return what regions add up of a tile; `particles` are the pixels of `ground.near`."""
    signal = particles.astype(np.float64)
    bright = signal > (np.inf if threshold is None else threshold.value)
    seen = dict(ground.seen)
    if ground.vessels is not None and ground.distance_um is not None:
        spots = bright & (ground.distance_um <= BESIDE_UM)
        seen["vessels"], seen["distance_um"] = ground.vessels, ground.distance_um[ground.core]
        seen["access_um"] = distance_to(spots, section.pixel_um)[ground.core]
    core = ground.core
    return Tile(ground.box, signal[core], bright[core], trusted_in(section, ground.box), **seen)


def _cells_of(section: ParticleMap, box: Box, threshold: float | None) -> NDArray[np.int64] | None:
    """Return the number of the cell that each pixel is in: of tissue, as glass is in no tile."""
    if section.nucleus_labels is not None:
        numbers = per_cell.drawn_nuclei(section, box)
    elif threshold is not None:
        numbers = per_cell.found_nuclei(section, box, threshold)
    else:
        return None
    return np.where(section.tissue_in(box), numbers, 0)


def _add_cells(ground: Ground, signal: Pixels, numbers: NDArray[np.int64], cells: Cells) -> None:
    """Add the pixels of a tile that belong to a cell; far from vessels where there are none."""
    y, x = np.nonzero(numbers)
    distance = np.full(y.size, np.inf)
    if ground.distance_um is not None:
        distance = ground.distance_um[ground.core][y, x]
    values = signal[y, x].astype(np.float64), distance, y + ground.box.y0, x + ground.box.x0
    cells.add(numbers[y, x], values)


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

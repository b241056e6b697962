"""What a prediction will do, resolved once into frozen values before anything is computed.

1. The slide's grid at the model's pixel size gives the lattice; the ROI a region of it.
2. Windows that touch tissue run; the others are background. Where areas are asked for, windows
   that touch none of them are left out.
3. Shards are ordered, and windows by the first shard that needs them; where there is a place to
   begin at, its shard comes first, and in each shard the windows nearest to it.
4. `Plan.without` leaves out what is stored already: what a resumed run has to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.engine.config import PredictConfig, plain_roi
from napari_damm.slide import (
    Normalisation,
    Slide,
    full_of_tissue,
    measure_normalisation,
    model_shape,
    tissue_mask,
    touches_tissue,
)
from napari_damm.store.layout import ResultLayout
from napari_damm.trust.known import Known
from napari_damm.util.advice import Advice
from napari_damm.util.areas import Areas
from napari_damm.util.tiling import Box, Lattice, Window

MOST_WINDOWS = 5_000_000
"""Windows of 192 um each way: a section of 40 cm."""


@dataclass(frozen=True)
class Shard:
    """A region that is computed and stored as a unit.

    `box` is in pixels of the result, `region` the same in pixels of the slide, `cells` the
    absolute cells it owns, `windows` those that touch it and run.
    """

    row: int
    col: int
    box: Box
    region: Box
    cells: Box
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Plan:
    """What will be computed, in which order, and where it goes.

    `windows` are those still to run, in the order in which `shards`, those still to do, first ask
    for them. `shards_done` and `windows_done` count what an earlier run has stored already.
    `inner` are those of all windows, in the order of the lattice, that hold nothing but tissue.
    `measured` are statistics of windows that the verdict on the section was made from.
    """

    model_um: float
    lattice: Lattice
    region: Box
    layout: ResultLayout
    normalisation: Normalisation
    shards: tuple[Shard, ...]
    windows: tuple[Window, ...]
    background_windows: int
    shards_done: int = 0
    windows_done: int = 0
    areas: Areas | None = None
    focus: tuple[float, float] | None = None
    inner: tuple[Window, ...] = ()
    measured: Mapping[Window, NDArray[np.float64]] = field(default_factory=dict, compare=False)

    @property
    def all_windows(self) -> int:
        """Windows of the whole job, those of an earlier run included."""
        return len(self.windows) + self.windows_done

    @property
    def all_shards(self) -> int:
        """Shards of the whole job."""
        return len(self.shards) + self.shards_done

    @property
    def windows_apart(self) -> int:
        """Windows to run if every shard is computed on its own, borders twice."""
        return sum(len(shard.windows) for shard in self.shards)

    def without(self, settled: Set[tuple[int, int]]) -> Plan:
        """Return what is left when the shards at these positions (row, col) are stored."""
        left = tuple(s for s in self.shards if (s.row, s.col) not in settled)
        windows = _in_order(left, self.lattice, self.focus)
        return replace(
            self,
            shards=left,
            windows=windows,
            shards_done=self.all_shards - len(left),
            windows_done=self.all_windows - len(windows),
        )

    def bare(self) -> Plan:
        """Return the plan without its shards: small, for whoever gets them one by one."""
        less = replace(self, shards=(), windows=(), inner=(), measured={})
        return replace(less, shards_done=0, windows_done=0)

    def only(self, shard: Shard) -> Plan:
        """Return the plan of one shard, for whoever computes it alone."""
        return replace(self.bare(), shards=(shard,), windows=shard.windows)

    def shards_touching(self, window: Window) -> list[tuple[int, int]]:
        """Return the positions of the shards of the whole result that a window takes part in."""
        frame = self.lattice.window_box(*window).intersect(self.region)
        inside = frame.shifted(-self.region.y0, -self.region.x0)
        side = self.layout.shard
        return [
            (row, col)
            for row in range(inside.y0 // side, -(-inside.y1 // side))
            for col in range(inside.x0 // side, -(-inside.x1 // side))
        ]


def plan(slide: Slide, card: Mapping[str, Any], config: PredictConfig | None = None) -> Plan:
    """Plan the prediction of `slide` with a model of this card.

    Raises
    ------
    ValueError
        If the ROI lies outside the slide, or the slide cannot be normalised.
    """
    config = config or PredictConfig()
    model_um = float(card.get("pixel_size_um") or slide.pixel_size_um)
    lattice = Lattice(model_shape(slide, model_um))
    _check_size(slide, lattice)
    region = _region(slide, model_um, lattice.shape, config.box)
    areas = None if config.areas is None else config.areas.scaled(slide.pixel_size_um / model_um)
    mask, cell_px = tissue_mask(slide, model_um)
    normalisation = config.normalisation or measure_normalisation(slide, mask, cell_px, model_um)
    layout = ResultLayout.for_region(
        region,
        model_um,
        slide.origin,
        config.shard,
        with_std=config.samples > 1,
        with_familiarity=Known.of_card(card) is not None,
    )
    layout = replace(layout, samples=config.samples if config.samples > 1 else 0)
    wanted = lattice.windows_touching(region)
    if areas is not None:
        wanted = windows_in(areas, lattice, region)
    touching = touches_tissue(mask, cell_px, lattice)
    run = {w: w for w in wanted if touching[w]}
    whole = full_of_tissue(mask, cell_px, lattice)
    shards = tuple(
        _shard(layout, lattice, region, (row, col), run)
        for row, col in _ordered(layout.grid, config.order)
    )
    focus = None
    if config.focus is not None:
        scale = slide.pixel_size_um / model_um
        focus = config.focus[0] * scale, config.focus[1] * scale
        shards = _first_of_all(shards, focus)
    return Plan(
        model_um,
        lattice,
        region,
        layout,
        normalisation,
        shards,
        _in_order(shards, lattice, focus),
        len(wanted) - len(run),
        areas=areas,
        focus=focus,
        inner=tuple(w for w in run if whole[w]),
    )


def windows_in(areas: Areas, lattice: Lattice, region: Box) -> list[Window]:
    """List the windows that hold a pixel of the areas, in lexicographic order.

    Raises
    ------
    ValueError
        If there is no such pixel.
    """
    rows: dict[int, list[Window]] = {}
    for window in lattice.windows_touching(region):
        rows.setdefault(window[0], []).append(window)
    found = []
    for windows in rows.values():
        frames = [lattice.window_box(*window).intersect(region) for window in windows]
        strip = Box(frames[0].y0, region.x0, frames[0].y1, region.x1)
        inside = np.asarray(areas.mask(strip).any(axis=0), bool)
        for window, frame in zip(windows, frames, strict=True):
            if inside[frame.x0 - region.x0 : frame.x1 - region.x0].any():
                found.append(window)
    if not found:
        raise ValueError(
            Advice(
                "must hold a pixel of the model inside the image: draw larger ones",
                parameter="areas",
            )
        )
    return found


def _check_size(slide: Slide, lattice: Lattice) -> None:
    """Refuse, before windows are listed, a section that no microscope has seen."""
    windows = lattice.rows * lattice.cols
    if windows > MOST_WINDOWS:
        height, width = lattice.shape
        raise ValueError(
            Advice(
                f"{slide.name} with pixels of {slide.pixel_size_um:g} um would be {height:,} x "
                f"{width:,} model pixels, {windows:,} windows",
                "check the pixel size, and give {pixel_size_um}",
            )
        )


def _shard(
    layout: ResultLayout,
    lattice: Lattice,
    region: Box,
    position: tuple[int, int],
    run: Mapping[Window, Window],
) -> Shard:
    box = layout.shard_box(*position)
    absolute = box.shifted(region.y0, region.x0)
    first = region.cells()
    cells = layout.shard_cells(*position).shifted(first.y0, first.x0)
    # one tuple per window, shared by all: a large slide has some 300,000
    windows = tuple(run[w] for w in lattice.windows_touching(absolute) if w in run)
    return Shard(*position, box, absolute, cells, windows)


def _in_order(
    shards: tuple[Shard, ...], lattice: Lattice, focus: tuple[float, float] | None
) -> tuple[Window, ...]:
    """Return the shards' windows, each where it is first asked for (a dict keeps that order)."""
    if focus is None:
        return tuple(dict.fromkeys(w for shard in shards for w in shard.windows))

    def far(window: Window) -> float:
        return _apart(lattice.window_box(*window), focus)

    return tuple(dict.fromkeys(w for shard in shards for w in sorted(shard.windows, key=far)))


def _first_of_all(shards: tuple[Shard, ...], focus: tuple[float, float]) -> tuple[Shard, ...]:
    """Put the shard nearest a place first; the others stay as they are, and memory with them."""
    if not shards:
        return shards
    first = min(shards, key=lambda shard: _apart(shard.region, focus))
    return (first, *(shard for shard in shards if shard is not first))


def _apart(box: Box, place: tuple[float, float]) -> float:
    """Return the squared distance of a box's centre from a place."""
    (y, x) = place
    return ((box.y0 + box.y1) / 2 - y) ** 2 + ((box.x0 + box.x1) / 2 - x) ** 2


def _region(
    slide: Slide,
    model_um: float,
    shape: tuple[int, int],
    roi: tuple[float, float, float, float] | None,
) -> Box:
    whole = Box(0, 0, *shape)
    if roi is None:
        return whole
    scale = slide.pixel_size_um / model_um
    y0, x0 = (math.floor(v * scale + 1e-9) for v in roi[:2])
    y1, x1 = (math.ceil(v * scale - 1e-9) for v in roi[2:])
    region = Box(y0, x0, y1, x1).intersect(whole)
    if region.empty:
        height, width = slide.shape
        raise ValueError(
            f"the region {plain_roi(roi)} lies outside the image of {height} x {width} pixels"
        )
    return region


def _ordered(grid: tuple[int, int], order: str) -> list[tuple[int, int]]:
    positions = [(row, col) for row in range(grid[0]) for col in range(grid[1])]
    if order == "rows":
        return positions
    middle = (grid[0] - 1) / 2, (grid[1] - 1) / 2
    return sorted(positions, key=lambda p: (p[0] - middle[0]) ** 2 + (p[1] - middle[1]) ** 2)

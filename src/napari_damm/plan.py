"""What a prediction will do, resolved once into frozen values before anything is computed.

1. `PredictConfig` holds the user's wishes.
2. The slide's grid at the model's pixel size gives the lattice; the ROI a region of it.
3. Windows that touch tissue run; the others are background.
4. Shards are ordered, and windows by the first shard that needs them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_damm.slide import (
    Normalisation,
    Slide,
    measure_normalisation,
    model_shape,
    tissue_mask,
    touches_tissue,
)
from napari_damm.store.layout import SHARD, ResultLayout
from napari_damm.tiling import Box, Lattice, Window

STEPS = {"reference": 1000, "fast": 16, "draft": 8}
DEVICES = ("auto", "cpu", "cuda", "mps")
ORDERS = ("rows", "centre")
MAX_SEED = 2**64 - 1


@dataclass(frozen=True)
class PredictConfig:
    """The user's wishes for a prediction.

    Parameters
    ----------
    mode
        "fast" (DPM-Solver++, 16 steps), "draft" (8 steps) or "reference" (the authors' sampler:
        DDIM, eta 1, 1000 steps).
    steps
        Number of denoising steps, in place of the mode's own.
    seed
        Key of the noise; the same seed gives the same result.
    device
        "auto", "cpu", "cuda" or "mps".
    roi
        (y0, x0, y1, x1) in full-resolution pixels of the vessel image, half-open; None = all.
    gamma
        Confidence from which a window uses the multi-modal branch.
    batch_size, lanes
        Windows per network call and number of calls at once; None = what suits the device.
    shard
        Side of the regions that are computed and stored as units, in model pixels.
    order
        Which shards come first: "rows" from the top left, or from the "centre" outwards.
    normalisation
        Intensity limits; None = percentiles 0.1 and 99.9 over the tissue of the whole slide.
    """

    mode: str = "fast"
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    roi: tuple[float, float, float, float] | None = None
    gamma: float = 0.5
    batch_size: int | None = None
    lanes: int | None = None
    shard: int = SHARD
    order: str = "rows"
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        """Check every value that can be checked without a slide."""
        for name, choices in (("mode", STEPS), ("device", DEVICES), ("order", ORDERS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise ValueError(f"steps must be in 1..1000, got {self.steps}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed must be in 0..{MAX_SEED}, got {self.seed}")
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"gamma must be in 0..1, got {self.gamma}")
        for name in ("batch_size", "lanes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        if self.roi is not None:
            _check_roi(self.roi)

    @property
    def total_steps(self) -> int:
        """Denoising steps asked for (the sampler may merge some)."""
        return STEPS[self.mode] if self.steps is None else self.steps


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
    """What will be computed, in which order, and where it goes."""

    model_um: float
    lattice: Lattice
    region: Box
    layout: ResultLayout
    normalisation: Normalisation
    shards: tuple[Shard, ...]
    windows: tuple[Window, ...]
    background_windows: int


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
    region = _region(slide, model_um, lattice.shape, config.roi)
    mask, cell_px = tissue_mask(slide, model_um)
    normalisation = config.normalisation or measure_normalisation(slide, mask, cell_px, model_um)
    layout = ResultLayout.for_region(region, model_um, slide.origin, config.shard)
    wanted = lattice.windows_touching(region)
    run = {w for w in wanted if touches_tissue(mask, cell_px, lattice.window_box(*w))}
    shards = tuple(
        _shard(layout, lattice, region, (row, col), run)
        for row, col in _ordered(layout.grid, config.order)
    )
    # a dict keeps the order in which the shards first ask for a window
    ordered = tuple(dict.fromkeys(w for shard in shards for w in shard.windows))
    return Plan(
        model_um,
        lattice,
        region,
        layout,
        normalisation,
        shards,
        ordered,
        len(wanted) - len(run),
    )


def default_lanes(device: str) -> int:
    """One lane per core on a CPU; one on an accelerator."""
    if device != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def default_batch(device: str) -> int:
    """Windows per network call."""
    return {"cpu": 4, "cuda": 64}.get(device, 16)


def _shard(
    layout: ResultLayout,
    lattice: Lattice,
    region: Box,
    position: tuple[int, int],
    run: set[Window],
) -> Shard:
    box = layout.shard_box(*position)
    absolute = box.shifted(region.y0, region.x0)
    first = region.cells()
    cells = layout.shard_cells(*position).shifted(first.y0, first.x0)
    windows = tuple(w for w in lattice.windows_touching(absolute) if w in run)
    return Shard(*position, box, absolute, cells, windows)


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
            f"the region {_plain(roi)} lies outside the image of {height} x {width} pixels"
        )
    return region


def _check_roi(roi: tuple[float, float, float, float]) -> None:
    if len(roi) != 4 or not all(math.isfinite(v) for v in roi):
        raise ValueError(f"roi must be four numbers y0 x0 y1 x1, got {roi}")
    if roi[2] <= roi[0] or roi[3] <= roi[1]:
        raise ValueError(f"roi must have y1 > y0 and x1 > x0, got {_plain(roi)}")


def _plain(roi: tuple[float, float, float, float]) -> str:
    return " ".join(f"{v:g}" for v in roi)


def _ordered(grid: tuple[int, int], order: str) -> list[tuple[int, int]]:
    positions = [(row, col) for row in range(grid[0]) for col in range(grid[1])]
    if order == "rows":
        return positions
    middle = (grid[0] - 1) / 2, (grid[1] - 1) / 2
    return sorted(positions, key=lambda p: (p[0] - middle[0]) ** 2 + (p[1] - middle[1]) ** 2)

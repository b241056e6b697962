"""The lattice of windows that covers a slide, and how windows become one picture.

1. A slide of `shape` model pixels is covered by windows of `window` px that start at multiples of
   `stride` from the absolute origin (0, 0). The last one may overhang (the reader pads by
   reflection); it is never shifted inward, because results depend on the window they come from.
2. `windows_touching(box)` lists the windows that any output box needs, in lexicographic order.
3. `weights` ramp smoothly over the overlap with a neighbour and are flat at the slide's border, so
   that the weights of all windows sum to one everywhere.
4. `blend` gathers a box from its windows: sum of weight x value in lexicographic order, divided by
   the weights of the windows that are there. Every output pixel is computed from the same numbers
   in the same order whatever the box, so a sub-box equals the crop bit for bit.
5. Per-window verdicts (confidence, branch) live on cells of 32 px. Each cell belongs to the window
   in whose undisputed middle it lies; `gather_cells` copies it from there.
6. `shard_boxes` cuts a result into the rectangles that are computed and stored as units.

All positions are model pixels (or cells) from the slide's origin; boxes are half-open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WINDOW = 256
STRIDE = 192
CELL = 32
SHARD = 3072
"""Side of the shards of a result, unless another is given."""
LEAST_WEIGHT = 0.003
"""Pixels of less weight count as not predicted: the outermost two of a window beside background,
which a decoder's zero padding spoils. Everywhere else the weights sum to one."""

Window = tuple[int, int]
"""Row and column of a window in its lattice."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Box:
    """A half-open rectangle [y0, y1) x [x0, x1)."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def empty(self) -> bool:
        """Whether the box holds nothing."""
        return self.y1 <= self.y0 or self.x1 <= self.x0

    @property
    def slices(self) -> tuple[slice, slice]:
        """The box as a numpy index."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def intersect(self, other: Box) -> Box:
        """Return the common part; an empty box (of size 0, never negative) where there is none."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        y1, x1 = min(self.y1, other.y1), min(self.x1, other.x1)
        return Box(y0, x0, max(y0, y1), max(x0, x1))

    def shifted(self, dy: int, dx: int) -> Box:
        """Return the box moved by (dy, dx)."""
        return Box(self.y0 + dy, self.x0 + dx, self.y1 + dy, self.x1 + dx)

    def cells(self) -> Box:
        """Return the cells that a box of pixels touches, as a box of absolute cells."""
        return Box(self.y0 // CELL, self.x0 // CELL, -(-self.y1 // CELL), -(-self.x1 // CELL))


@dataclass(frozen=True)
class Lattice:
    """The windows of one slide.

    Parameters
    ----------
    shape
        Height and width of the whole slide on the model grid (never of a region of it).
    window, stride
        Side of a window and distance between windows, in model pixels.
    """

    shape: tuple[int, int]
    window: int = WINDOW
    stride: int = STRIDE

    def __post_init__(self) -> None:
        """Check that the lattice is one that weights and cells are defined for."""
        if min(self.shape) < 1:
            raise ValueError(f"slide must have at least one pixel, got shape {self.shape}")
        if self.window < CELL or self.window % CELL:
            raise ValueError(f"window must be a multiple of {CELL}, got {self.window}")
        if not self.window <= 2 * self.stride <= 2 * self.window or self.stride % CELL:
            raise ValueError(
                f"stride must be a multiple of {CELL} in window/2..window "
                f"({self.window // 2}..{self.window}), got {self.stride}"
            )

    @property
    def overlap(self) -> int:
        """Pixels that neighbouring windows share."""
        return self.window - self.stride

    @property
    def rows(self) -> int:
        """Number of windows along y."""
        return self._count(0)

    @property
    def cols(self) -> int:
        """Number of windows along x."""
        return self._count(1)

    @property
    def cells(self) -> Box:
        """All cells of the slide."""
        return Box(0, 0, *self.shape).cells()

    def window_box(self, i: int, j: int) -> Box:
        """Return the pixels of window (i, j); they may overhang the slide."""
        y0, x0 = i * self.stride, j * self.stride
        return Box(y0, x0, y0 + self.window, x0 + self.window)

    def windows_touching(self, box: Box) -> list[Window]:
        """Return the windows that share a pixel with `box`, in lexicographic order."""
        if box.empty:
            return []
        rows = self._touching(box.y0, box.y1, self.rows)
        cols = self._touching(box.x0, box.x1, self.cols)
        return [(i, j) for i in rows for j in cols]

    def weights(self, i: int, j: int) -> Floats:
        """Return the blend weights (window, window) of window (i, j), in (0, 1]."""
        ends = i == 0, i == self.rows - 1, j == 0, j == self.cols - 1
        return _weights(self.window, self.overlap, ends)

    def blend(self, box: Box, windows: Mapping[Window, Floats]) -> Floats:
        """Blend a box from the windows present; 0 where there is none.

        Parameters
        ----------
        box
            Pixels to fill, inside the slide.
        windows
            (window, window) float32 by lattice position. Absent ones were skipped as background,
            failed or are not there yet; ones that do not touch the box are ignored.

        Returns
        -------
        float32 array of the box's shape; 0 also in the two pixels beside an absent window.
        """
        total = np.zeros(box.shape, np.float32)
        weight = np.zeros(box.shape, np.float32)
        for i, j in self.windows_touching(box):
            values = windows.get((i, j))
            if values is None:
                continue
            frame = self.window_box(i, j)
            shared = frame.intersect(box)
            source = shared.shifted(-frame.y0, -frame.x0).slices
            target = shared.shifted(-box.y0, -box.x0).slices
            part = self.weights(i, j)[source]
            total[target] += part * values[source]
            weight[target] += part
        seen = weight >= LEAST_WEIGHT
        total[~seen] = 0
        return np.divide(total, weight, out=total, where=seen)

    def owned_cells(self, i: int, j: int) -> Box:
        """Return the absolute cells that belong to window (i, j), clipped to the slide."""
        y, x = _owned(self, 0, i), _owned(self, 1, j)
        return Box(y[0], x[0], y[1], x[1])

    def gather_cells(self, cells: Box, windows: Mapping[Window, NDArray[np.generic]]) -> Floats:
        """Copy a box of absolute cells from the windows that own them; 0 where one is absent.

        `windows` holds (window/32, window/32) values per window; the result is float32.
        """
        gathered = np.zeros(cells.shape, np.float32)
        for i, j in self.windows_touching(
            Box(cells.y0 * CELL, cells.x0 * CELL, cells.y1 * CELL, cells.x1 * CELL)
        ):
            if (i, j) not in windows:
                continue
            shared = self.owned_cells(i, j).intersect(cells)
            corner = i * self.stride // CELL, j * self.stride // CELL
            source = shared.shifted(-corner[0], -corner[1]).slices
            gathered[shared.shifted(-cells.y0, -cells.x0).slices] = windows[i, j][source]
        return gathered

    def _count(self, axis: int) -> int:
        return max(1, -(-(self.shape[axis] - self.window) // self.stride) + 1)

    def _touching(self, start: int, stop: int, count: int) -> range:
        first = (start - self.window) // self.stride + 1
        last = (stop - 1) // self.stride
        return range(max(first, 0), min(last, count - 1) + 1)


def tokens_to_cells(tokens: Floats, cells: int = WINDOW // CELL) -> Floats:
    """Return per-token values (h, w) of one window on its (cells, cells) grid of 32 px cells.

    Coarser tokens (4 x 4 at paper size) are replicated, finer ones averaged.
    """
    for size in tokens.shape:
        if cells % size and size % cells:
            raise ValueError(f"{size} tokens and {cells} cells must divide one another")
    height, width = tokens.shape
    grid = np.repeat(tokens, max(1, cells // height), axis=0)
    grid = np.repeat(grid, max(1, cells // width), axis=1)
    down, across = grid.shape[0] // cells, grid.shape[1] // cells
    pooled = grid.reshape(cells, down, cells, across).mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(pooled, np.float32)


def shard_boxes(shape: tuple[int, int], shard: int) -> Iterator[tuple[int, int, Box]]:
    """Cut (height, width) into squares of `shard` px, clipped at the end: (row, col, box) each."""
    whole = Box(0, 0, *shape)
    for row in range(-(-shape[0] // shard)):
        for col in range(-(-shape[1] // shard)):
            corner = Box(0, 0, shard, shard).shifted(row * shard, col * shard)
            yield row, col, corner.intersect(whole)


@lru_cache(maxsize=1024)
def _owned(lattice: Lattice, axis: int, index: int) -> tuple[int, int]:
    """Return the cells along an axis, from and to, of a row or column of windows."""
    cells = -(-lattice.shape[axis] // CELL)

    def first_after_border(i: int) -> int:
        return -(-(i * lattice.stride + lattice.overlap // 2 - CELL // 2) // CELL)

    start = 0 if index == 0 else first_after_border(index)
    last = index == (lattice.rows, lattice.cols)[axis] - 1
    return start, min(cells if last else first_after_border(index + 1), cells)


@lru_cache(maxsize=64)
def _weights(window: int, overlap: int, ends: tuple[bool, bool, bool, bool]) -> Floats:
    """Weights of a window that is the (first, last) row, (first, last) column of its lattice."""
    rows = _axis_weights(window, overlap, *ends[:2])
    weights = np.multiply.outer(rows, _axis_weights(window, overlap, *ends[2:]))
    weights.setflags(write=False)
    return weights


def _axis_weights(window: int, overlap: int, first: bool, last: bool) -> Floats:
    """Weights along one axis: ramps sampled at pixel centres, flat at the slide's border.

    The ramp is a smoothstep, r^2 (3 - 2r): at the very edge of a window, where a decoder's zero
    padding shows, its weight is close to nothing (a linear ramp left a seam of 5 %).
    """
    weights = np.ones(window, np.float32)
    r = (np.arange(overlap) + 0.5) / max(overlap, 1)
    ramp = (r**2 * (3 - 2 * r)).astype(np.float32)
    # Its second half is made from the first, so that a weight and its mirror image sum to one.
    ramp[overlap - overlap // 2 :] = 1 - ramp[: overlap // 2][::-1]
    if not first:
        weights[:overlap] = ramp
    if not last:
        weights[window - overlap :] = ramp[::-1]
    return weights

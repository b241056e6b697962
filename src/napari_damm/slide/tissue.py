"""What of a slide is tissue: measured once, over the whole slide, in memory of bounded size.

Calling tissue empty would delete it from the result; calling glass tissue only costs time. So a
place is empty only where nothing speaks against it:

1. Divide the slide into cells of 32 model pixels; of a slide so large that these would be more
   than a million, into cells of 64, 128 ...
2. Reduce both channels to 8 x 8 pixels per cell, and these to mean and variance, block by block.
   A pyramid is read at the level that suits.
3. Look at squares of 8 x 8 cells, of 32 px the size of the model's window, at every cell. A
   square holds no structure where its cells differ no more than the noise inside them predicts
   (their variance is that of means of noise, none of them stands out or is grainier), or
   negligibly, compared with tissue.
4. It is empty where, in both channels, it holds no structure and is far darker and far smoother
   than the squares that do.
5. Holes stay tissue: only empty squares that are connected with the slide's border count. What is
   left is widened by one cell.
6. A slide without structure, or without anything that is clearly empty, is tissue all over.
7. Where both channels are fill (`fill`) that reaches in from the edge there is no tissue. One
   alone proves nothing: a stain may be black over tissue.
8. What cannot be read is tissue: whoever needs it will meet the error, and say where.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import integral_image

from napari_damm.slide.fill import TOLERANCE, reaches_the_edge
from napari_damm.slide.raster import Raster
from napari_damm.slide.resample import model_shape, pick_level, read_region
from napari_damm.util.errors import is_out_of_memory
from napari_damm.util.tiling import CELL, Box, Lattice

if TYPE_CHECKING:
    from napari_damm.slide.slide import Slide

Spans = tuple[NDArray[np.int64], NDArray[np.int64]]

CELL_SIDE = 8
CELL_PIXELS = CELL_SIDE**2
MOST_CELLS = 2**20
SQUARE = 8
READ_CELLS = 64
READ_PIXELS = 2048
STRIP = 4
BAND = 128

# Of an F statistic with 63 and thousands of degrees of freedom: six standard deviations.
NOISE_RATIO = 2.0
# Likewise of the variance of 64 pixels.
GRAIN_RATIO = 2.0
STANDS_OUT = 6.0
NEGLIGIBLE = 1 / 20
DARK = 1 / 10
SMOOTH = 1 / 3
TYPICAL_PERCENTILE = 75

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


def tissue_mask(slide: Slide, model_um: float) -> tuple[Mask, int]:
    """Tell tissue from empty glass.

    Returns
    -------
    A boolean array of cells, True = tissue, and the side of a cell in model pixels: 32, or the
    power of two that makes at most a million cells.
    """
    shape = model_shape(slide, model_um)
    cell_px = CELL
    while math.prod(cells := _grid(shape, cell_px)) > MOST_CELLS:
        cell_px *= 2
    empty = np.ones(tuple(max(0, n - SQUARE + 1) for n in cells), bool)
    structure_anywhere = False
    unreadable, filled = np.zeros(cells, bool), np.ones(cells, bool)
    has_fill = bool(slide.vessels.fill.values and slide.nuclei.fill.values)
    for raster in (slide.vessels, slide.nuclei):
        if not empty.any() and not has_fill:
            break
        statistics = _cell_statistics(raster, slide, cell_px * model_um, cells)
        unreadable |= statistics.unreadable
        filled &= statistics.fill
        if not empty.size:
            continue
        squares = _squares(statistics.mean, statistics.variance)
        structure_anywhere |= bool(squares.structured.any())
        part_fill = _over_squares(ndimage.maximum_filter, statistics.part_fill.astype(float)) > 0
        empty &= squares.clearly_empty() & ~part_fill
    mask = np.ones(cells, bool)
    if structure_anywhere and empty.any():
        mask = _cells_of(empty, cells) | unreadable
    if has_fill:
        mask &= ~filled | unreadable
    return (mask if mask.any() else np.ones(cells, bool)), cell_px


def touches_tissue(mask: Mask, cell_px: int, lattice: Lattice) -> Mask:
    """Return for every window (rows, cols) of a lattice whether any of its pixels is tissue."""
    rows = _cell_edges(lattice, lattice.rows, cell_px, mask.shape[0])
    cols = _cell_edges(lattice, lattice.cols, cell_px, mask.shape[1])
    touching: Mask = count_in_boxes(mask, rows, cols) > 0
    return touching


def full_of_tissue(mask: Mask, cell_px: int, lattice: Lattice) -> Mask:
    """Return for every window (rows, cols) of a lattice whether all of its pixels are tissue."""
    return ~touches_tissue(~mask, cell_px, lattice)


def count_in_boxes(mask: Mask, rows: Spans, cols: Spans) -> NDArray[np.int64]:
    """Return how much of a mask (y, x) is set in boxes: (n rows, n cols) for spans (from, to)."""
    # A table of sums over all pixels above and to the left answers any box with four numbers.
    sums = np.pad(integral_image(mask), ((1, 0), (1, 0)))  # type: ignore[no-untyped-call]
    (top, bottom), (left, right) = rows, cols
    count: NDArray[np.int64] = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)]
    count += sums[np.ix_(top, left)] - sums[np.ix_(bottom, left)]
    return count


def _cell_edges(lattice: Lattice, windows: int, cell_px: int, cells: int) -> Spans:
    """Return the first cell of each window along an axis, and the one after its last."""
    start = np.arange(windows, dtype=np.int64) * lattice.stride
    stop = -(-(start + lattice.window) // cell_px)
    return np.minimum(start // cell_px, cells), np.minimum(stop, cells)


def _grid(shape: tuple[int, int], cell_px: int) -> tuple[int, int]:
    return -(-shape[0] // cell_px), -(-shape[1] // cell_px)


@dataclass(frozen=True)
class _Statistics:
    """Mean and variance of the reduced pixels in each cell, and where they could not be read."""

    mean: Floats
    variance: Floats
    unreadable: Mask
    fill: Mask

    @property
    def part_fill(self) -> Mask:
        """Cells of fill, and those beside them: mixtures, as bright and grainy as no tissue is."""
        around: Mask = ndimage.binary_dilation(self.fill, np.ones((3, 3), bool))
        return around

    def filled(self) -> _Statistics:
        """Give cells that show nothing the values of typical others: they stand out nowhere."""
        nothing = self.unreadable | self.part_fill
        if not nothing.any() or nothing.all():
            return self
        for values in (self.mean, self.variance):
            values[nothing] = np.median(values[~nothing])
        return self


def _cell_statistics(
    raster: Raster, slide: Slide, cell_um: float, cells: tuple[int, int]
) -> _Statistics:
    """Reduce a channel to cells; raises the reader's error if nothing can be read."""
    coarse_um = cell_um / CELL_SIDE
    found = _Statistics(*(np.zeros(cells, kind) for kind in (float, float, bool, bool)))
    finest = min(raster.level_pixel_um[pick_level(raster, coarse_um)])
    step = max(1, min(READ_CELLS, int(READ_PIXELS * finest / cell_um)))
    corners = product(*(range(0, n, step) for n in cells))
    whole = Box(0, 0, *cells)
    # In strips, so that the blocks of a file that two boxes share are still at hand for the second.
    for top, left in sorted(corners, key=lambda at: (at[1] // (STRIP * step), at)):
        todo = [Box(top, left, top + step, left + step).intersect(whole)]
        while todo:
            box = todo.pop()
            try:
                _reduce(raster, slide, coarse_um, box, found)
            except Exception as error:
                # Decoders have exceptions of their own for damaged data.
                if is_out_of_memory(error):
                    raise
                if max(box.shape) > SQUARE:
                    todo += _quarters(box)
                    continue
                found.unreadable[box.slices] = True
                if found.unreadable.all():
                    raise
    constant = found.variance <= (TOLERANCE * found.mean) ** 2
    if raster.fill.values:
        filled = constant & raster.fill.covers(found.mean)
        found.fill[:] = reaches_the_edge(filled)
    return found.filled()


def _reduce(raster: Raster, slide: Slide, coarse_um: float, box: Box, found: _Statistics) -> None:
    """Fill in the statistics of a box of cells."""
    pixels_box = Box(*(side * CELL_SIDE for side in (box.y0, box.x0, box.y1, box.x1)))
    shape = model_shape(slide, coarse_um)
    pixels = read_region(raster, pixels_box, coarse_um, slide.origin, shape).astype(np.float64)
    by_cell = pixels.reshape(box.shape[0], CELL_SIDE, box.shape[1], CELL_SIDE)
    found.mean[box.slices] = by_cell.mean(axis=(1, 3))
    found.variance[box.slices] = by_cell.var(axis=(1, 3))


def _quarters(box: Box) -> list[Box]:
    y, x = (box.y0 + box.y1 + 1) // 2, (box.x0 + box.x1 + 1) // 2
    parts = [Box(box.y0, box.x0, y, x), Box(box.y0, x, y, box.x1)]
    parts += [Box(y, box.x0, box.y1, x), Box(y, x, box.y1, box.x1)]
    return [part for part in parts if not part.empty]


@dataclass(frozen=True)
class _Squares:
    """One channel in squares of 8 x 8 cells: level, spread, and whether there is structure."""

    level: Floats
    spread: Floats
    outlier: Floats
    structured: Mask

    def clearly_empty(self) -> Mask:
        """Return the squares of step 4."""
        if not self.structured.any():
            return np.ones(self.level.shape, bool)  # A channel without structure proves nothing.
        tissue_spread = np.percentile(self.spread[self.structured], TYPICAL_PERCENTILE)
        tissue_level = np.percentile(self.level[self.structured], TYPICAL_PERCENTILE)
        darkest = self.level.min()
        negligible = (self.spread <= NEGLIGIBLE * tissue_spread) & (
            self.outlier <= NEGLIGIBLE * tissue_spread
        )
        dark = self.level <= darkest + DARK * (tissue_level - darkest)
        smooth = self.spread <= SMOOTH * tissue_spread
        empty: Mask = (~self.structured | negligible) & dark & smooth
        return empty


def _squares(mean: Floats, variance: Floats) -> _Squares:
    starts = (mean.shape[0] - SQUARE + 1, mean.shape[1] - SQUARE + 1)
    level, spread, outlier = (np.empty(starts) for _ in range(3))
    structured = np.empty(starts, bool)
    average = mean.mean()
    # Rounding of sums must not look like structure where all is exactly constant.
    tiny = 1e-12 * (1.0 + max(abs(mean.max()), abs(mean.min()))) ** 2
    # Band by band: there may be a million cells, and there are many intermediate values.
    for top in range(0, starts[0], BAND):
        bottom = min(top + BAND, starts[0])
        here, cells = slice(top, bottom), slice(top, bottom + SQUARE - 1)
        centred = mean[cells] - average
        offset, between, within, extreme = _square_statistics(centred, variance[cells])
        noise_of_mean = within / CELL_PIXELS
        grain = _over_squares(ndimage.maximum_filter, variance[cells])
        structured[here] = (
            (between > NOISE_RATIO * noise_of_mean + tiny)
            | (extreme**2 > STANDS_OUT**2 * noise_of_mean + tiny)
            | (grain > GRAIN_RATIO * within + tiny)
        )
        level[here] = offset + average
        spread[here], outlier[here] = np.sqrt(between + within), extreme
    return _Squares(level, spread, outlier, structured)


def _square_statistics(centred: Floats, variance: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return of each square its mean, the variance between and in its cells, and its outlier."""
    mean = _square_means(centred)
    between = np.maximum(_square_means(centred**2) - mean**2, 0.0)
    outlier = np.maximum(
        _over_squares(ndimage.maximum_filter, centred) - mean,
        mean - _over_squares(ndimage.minimum_filter, centred),
    )
    return mean, between, _square_means(variance), outlier


def _square_means(cells: Floats) -> Floats:
    """Return the mean over the square of 8 x 8 cells that starts at each cell."""
    for axis in (0, 1):
        lines = np.moveaxis(cells, axis, 0)
        starts = len(lines) - SQUARE + 1
        # Shifted sums: differences of cumulative sums would lose what little varies in glass.
        summed = sum((lines[k : k + starts] for k in range(SQUARE)), np.zeros(()))
        cells = np.moveaxis(summed, 0, axis)
    return cells / SQUARE**2


def _over_squares(extreme: Callable[..., Floats], cells: Floats) -> Floats:
    """Return a maximum or minimum filter, at the square that starts at each cell."""
    half = SQUARE // 2
    filtered = extreme(cells, size=SQUARE)
    return filtered[half : cells.shape[0] - half + 1, half : cells.shape[1] - half + 1]


def _cells_of(empty: Mask, cells: tuple[int, int]) -> Mask:
    """Return the tissue cells, given the empty squares (step 5)."""
    padded = np.zeros(cells, bool)
    padded[: empty.shape[0], : empty.shape[1]] = empty
    # A square covers the cells from its own on: spread each mark down and right.
    half = SQUARE // 2
    glass = ndimage.maximum_filter(padded, size=SQUARE, origin=half - 1, mode="constant", cval=0)
    tissue: Mask = ndimage.binary_dilation(~reaches_the_edge(glass), np.ones((3, 3), bool))
    return tissue

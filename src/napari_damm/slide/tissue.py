"""What of a slide is tissue, and how bright that is: measured once, over the whole slide.

Tissue mask. Calling tissue empty would delete it from the result; calling glass tissue only costs
time. So a place is empty only where nothing speaks against it:

1. Reduce both channels to pixels of four model pixels, and these to mean and variance per cell of
   32 model pixels, block by block.
2. Look at squares of 8 x 8 cells, the size of the model's window, at every cell. A square holds
   no structure where its cells differ no more than the noise inside them predicts (their variance
   is that of means of noise, none of them stands out or is grainier), or negligibly, compared
   with tissue.
3. It is empty where, in both channels, it holds no structure and is far darker and far smoother
   than the squares that do.
4. Holes stay tissue: only empty squares that are connected with the slide's border count. What is
   left is widened by one cell.
5. A slide without structure, or without anything that is clearly empty, is tissue all over.

Normalisation. Percentiles 0.1 and 99.9 of each channel at the model's resolution over tissue, from
all of it, or from blocks spread evenly over it where it is large. Always the same blocks.
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

from napari_damm.slide.raster import Raster
from napari_damm.slide.resample import model_shape, pick_level, read_region
from napari_damm.tiling import CELL, Box

if TYPE_CHECKING:
    from napari_damm.slide.slide import Slide

REDUCTION = 4
CELL_SIDE = CELL // REDUCTION
CELL_PIXELS = CELL_SIDE**2
SQUARE = 8
READ_CELLS = 64
READ_PIXELS = 4096

# Of an F statistic with 63 and thousands of degrees of freedom: six standard deviations.
NOISE_RATIO = 2.0
# Likewise of the variance of 64 pixels.
GRAIN_RATIO = 2.0
STANDS_OUT = 6.0
NEGLIGIBLE = 1 / 20
DARK = 1 / 10
SMOOTH = 1 / 3
TYPICAL_PERCENTILE = 75

PERCENTILES = (0.1, 99.9)
SAMPLE_SIDE = 128
SAMPLE_BLOCKS = 256

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Normalisation:
    """Intensities (low, high) of each channel that the model sees as -1 and 1."""

    vessels: tuple[float, float]
    nuclei: tuple[float, float]

    def __post_init__(self) -> None:
        """Check that low is below high."""
        for role, (low, high) in (("vessels", self.vessels), ("nuclei", self.nuclei)):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(
                    f"intensity limits of {role} must be two rising numbers, got {low:g} and "
                    f"{high:g}"
                )


def normalise(pixels: np.ndarray, low: float, high: float) -> NDArray[np.float32]:
    """Map [low, high] to [-1, 1], float32, and clip what is outside."""
    scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(2.0 / (high - low))
    clipped: NDArray[np.float32] = np.clip(scaled - np.float32(1.0), -1.0, 1.0)
    return clipped


def measure_normalisation(slide: Slide, mask: Mask, cell_px: int, model_um: float) -> Normalisation:
    """Measure the intensity limits of a slide.

    Parameters
    ----------
    slide
        The whole slide, never a region of it.
    mask, cell_px
        What `tissue_mask` returned.
    model_um
        Side of a model pixel in um: limits of smoother pixels would be narrower.

    Raises
    ------
    ValueError
        If a channel is blank.
    """
    blocks = _sample_blocks(mask, SAMPLE_SIDE // cell_px)
    limits = [
        _limits(raster, role, slide, mask, cell_px, model_um, blocks)
        for role, raster in (("vessels", slide.vessels), ("nuclei", slide.nuclei))
    ]
    return Normalisation(limits[0], limits[1])


def tissue_mask(slide: Slide, model_um: float) -> tuple[Mask, int]:
    """Tell tissue from empty glass.

    Returns
    -------
    A boolean array of cells, True = tissue, and the side of a cell in model pixels (32).
    """
    height, width = model_shape(slide, model_um)
    cells = (-(-height // CELL), -(-width // CELL))
    empty = np.ones(tuple(max(0, n - SQUARE + 1) for n in cells), bool)
    structure_anywhere = False
    for raster in (slide.vessels, slide.nuclei):
        if not empty.any():
            break
        mean, variance = _cell_statistics(raster, slide, model_um, cells)
        squares = _squares(mean, variance)
        structure_anywhere |= bool(squares.structured.any())
        empty &= squares.clearly_empty()
    if not structure_anywhere or not empty.any():
        return np.ones(cells, bool), CELL
    mask = _cells_of(empty, cells)
    return mask if mask.any() else np.ones(cells, bool), CELL


def touches_tissue(mask: Mask, cell_px: int, box: Box) -> bool:
    """Return whether any model pixel of a box lies in a cell of tissue."""
    rows = slice(max(0, box.y0 // cell_px), max(0, -(-box.y1 // cell_px)))
    cols = slice(max(0, box.x0 // cell_px), max(0, -(-box.x1 // cell_px)))
    return bool(mask[rows, cols].any())


def _cell_statistics(
    raster: Raster, slide: Slide, model_um: float, cells: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Return mean and variance of the reduced pixels in each cell."""
    coarse_um = REDUCTION * model_um
    shape = model_shape(slide, coarse_um)
    mean, variance = np.zeros(cells), np.zeros(cells)
    finest = min(raster.level_pixel_um[pick_level(raster, coarse_um)])
    step = max(1, min(READ_CELLS, int(READ_PIXELS * finest / (CELL * model_um))))
    for top, left in product(*(range(0, n, step) for n in cells)):
        bottom, right = min(top + step, cells[0]), min(left + step, cells[1])
        box = Box(top * CELL_SIDE, left * CELL_SIDE, bottom * CELL_SIDE, right * CELL_SIDE)
        pixels = read_region(raster, box, coarse_um, slide.origin, shape).astype(np.float64)
        by_cell = pixels.reshape(bottom - top, CELL_SIDE, right - left, CELL_SIDE)
        mean[top:bottom, left:right] = by_cell.mean(axis=(1, 3))
        variance[top:bottom, left:right] = by_cell.var(axis=(1, 3))
    return mean, variance


@dataclass(frozen=True)
class _Squares:
    """One channel in squares of 8 x 8 cells: level, spread, and whether there is structure."""

    level: Floats
    spread: Floats
    outlier: Floats
    structured: Mask

    def clearly_empty(self) -> Mask:
        """Return the squares of step 3."""
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
    centred = mean - mean.mean()
    level = _square_means(centred)
    between = np.maximum(_square_means(centred**2) - level**2, 0.0)
    within = _square_means(variance)
    outlier = np.maximum(
        _over_squares(ndimage.maximum_filter, centred) - level,
        level - _over_squares(ndimage.minimum_filter, centred),
    )
    noise_of_mean = within / CELL_PIXELS
    # Rounding of the sums above must not look like structure where all is exactly constant.
    tiny = 1e-12 * (1.0 + np.abs(mean).max()) ** 2
    structured = (between > NOISE_RATIO * noise_of_mean + tiny) | (
        outlier**2 > STANDS_OUT**2 * noise_of_mean + tiny
    )
    structured |= _over_squares(ndimage.maximum_filter, variance) > GRAIN_RATIO * within + tiny
    return _Squares(level + mean.mean(), np.sqrt(between + within), outlier, structured)


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
    """Return the tissue cells, given the empty squares (step 4)."""
    padded = np.zeros(cells, bool)
    padded[: empty.shape[0], : empty.shape[1]] = empty
    # A square covers the cells from its own on: spread each mark down and right.
    half = SQUARE // 2
    glass = ndimage.maximum_filter(padded, size=SQUARE, origin=half - 1, mode="constant", cval=0)
    regions, _ = ndimage.label(glass)
    rim = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    glass = np.isin(regions, rim[rim > 0])
    tissue: Mask = ndimage.binary_dilation(~glass, np.ones((3, 3), bool))
    return tissue


def _sample_blocks(mask: Mask, side: int) -> list[tuple[int, int]]:
    """Return the first cells of the blocks to sample, spread evenly over those with tissue."""
    tops, lefts = (range(0, n, side) for n in mask.shape)
    blocks = [
        (top, left)
        for top, left in product(tops, lefts)
        if mask[top : top + side, left : left + side].any()
    ]
    if len(blocks) <= SAMPLE_BLOCKS:
        return blocks
    chosen = np.linspace(0, len(blocks) - 1, SAMPLE_BLOCKS).round().astype(int)
    return [blocks[index] for index in chosen]


def _limits(
    raster: Raster,
    role: str,
    slide: Slide,
    mask: Mask,
    cell_px: int,
    model_um: float,
    blocks: list[tuple[int, int]],
) -> tuple[float, float]:
    shape = model_shape(slide, model_um)
    inside = Box(0, 0, *shape)
    values = []
    for top, left in blocks:
        y, x = top * cell_px, left * cell_px
        box = Box(y, x, y + SAMPLE_SIDE, x + SAMPLE_SIDE).intersect(inside)
        pixels = read_region(raster, box, model_um, slide.origin, shape)
        side = SAMPLE_SIDE // cell_px
        tissue = mask[top : top + side, left : left + side]
        where = tissue.repeat(cell_px, 0).repeat(cell_px, 1)[: pixels.shape[0], : pixels.shape[1]]
        values.append(pixels[where])
    low, high = (float(v) for v in np.percentile(np.concatenate(values), PERCENTILES))
    if not low < high:
        raise ValueError(
            f"channel {raster.name!r} ({role}) is blank, nearly all its pixels are {low:g}: choose "
            f"another with --{role}-channel"
        )
    return low, high

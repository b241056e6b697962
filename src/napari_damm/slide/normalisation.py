"""How bright tissue is, measured once over the whole slide, and intensities as the model sees them.

1. Of the blocks of 128 model pixels that hold tissue take all, or 256 spread evenly over the slide
   where it is large. Always the same blocks.
2. Percentiles 0.1 and 99.9 of each channel, at the model's resolution, over tissue in these
   blocks. Pixels that are fill (`fill`), and those that the image does not reach, are no part of
   them.
3. The model sees them as -1 and 1, and nothing beyond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_damm.slide.fill import REACH_PX, Fill
from napari_damm.slide.raster import Raster
from napari_damm.slide.resample import covered, model_shape, read_region
from napari_damm.slide.tissue import Mask
from napari_damm.util.advice import Advice
from napari_damm.util.errors import is_out_of_memory
from napari_damm.util.tiling import Box

if TYPE_CHECKING:
    from napari_damm.slide.slide import Slide

PERCENTILES = (0.1, 99.9)
SAMPLE_SIDE = 128
SAMPLE_BLOCKS = 256


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
    scaled = pixels.astype(np.float32)
    scaled -= np.float32(low)
    scaled *= np.float32(2.0 / (high - low))
    scaled -= np.float32(1.0)
    return np.clip(scaled, -1.0, 1.0, out=scaled)


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
    vessels, nuclei = (
        intensity_limits(
            tissue_values(raster, slide, model_um, mask, cell_px),
            f"channel {raster.name!r} ({role})",
            f"choose another {{{role}_channel}}",
            raster.fill,
        )
        for role, raster in (("vessels", slide.vessels), ("nuclei", slide.nuclei))
    )
    return Normalisation(vessels, nuclei)


def intensity_limits(
    values: np.ndarray, what: str, remedy: str, fill: Fill | None = None
) -> tuple[float, float]:
    """Return the intensities that the model sees as -1 and 1, from those of tissue.

    Raises
    ------
    ValueError
        If the image, called `what`, is blank, or patches of several values of `fill` all over:
        then the remedy applies, a template of `Advice`.
    """
    low, high = (float(v) for v in np.percentile(values, PERCENTILES))
    if not low < high:
        if fill is not None and len(fill.values) > 1 and len(values) == 1:  # nothing else is left
            listed = ", ".join(f"{value:g}" for value in fill.values[:3])
            raise ValueError(
                Advice(f"{what} is nothing but patches of few values ({listed}), as a mask", remedy)
            )
        raise ValueError(Advice(f"{what} is blank, nearly all its pixels are {low:g}", remedy))
    return low, high


def tissue_values(
    raster: Raster, slide: Slide, model_um: float, mask: Mask, cell_px: int
) -> NDArray[np.float32]:
    """Return model pixels (n,) of a channel that lie in tissue, from blocks all over the slide."""
    corners = _sample_corners(mask, cell_px)
    return _tissue_values(raster, slide, model_um, (mask, cell_px), corners)


def _sample_corners(mask: Mask, cell_px: int) -> NDArray[np.intp]:
    """Return the upper left corners (n, 2) in model pixels of the blocks of step 1."""
    cells = max(1, SAMPLE_SIDE // cell_px)
    tops, lefts = (range(0, length, cells) for length in mask.shape)
    tissue = np.logical_or.reduceat(np.logical_or.reduceat(mask, tops, axis=0), lefts, axis=1)
    corners = cells * cell_px * np.argwhere(tissue)
    # Cells of a huge slide are larger than a block, and hold several.
    across = max(1, cell_px // SAMPLE_SIDE)
    total = len(corners) * across**2
    chosen = np.arange(total)
    if total > SAMPLE_BLOCKS:
        chosen = np.linspace(0, total - 1, SAMPLE_BLOCKS).round().astype(int)
    which, part = np.divmod(chosen, across**2)
    inner: NDArray[np.intp] = SAMPLE_SIDE * np.stack(np.divmod(part, across), axis=1)
    return corners[which] + inner


def _tissue_values(
    raster: Raster,
    slide: Slide,
    model_um: float,
    tissue: tuple[Mask, int],
    corners: NDArray[np.intp],
) -> NDArray[np.float32]:
    """Return the model pixels in the blocks at `corners` that lie in tissue (mask, cell_px)."""
    mask, cell_px = tissue
    shape = model_shape(slide, model_um)
    values: list[NDArray[np.float32]] = []
    unreadable: Exception | None = None
    for y, x in corners.tolist():
        box = Box(y, x, y + SAMPLE_SIDE, x + SAMPLE_SIDE).intersect(Box(0, 0, *shape))
        if box.empty:
            continue  # The last cell of a huge slide reaches beyond it.
        rows, cols = np.arange(box.y0, box.y1) // cell_px, np.arange(box.x0, box.x1) // cell_px
        # What is mixed with fill may lie in this block, and the fill in the next.
        more = REACH_PX if raster.fill.values else 0
        wide = Box(box.y0 - more, box.x0 - more, box.y1 + more, box.x1 + more).intersect(
            Box(0, 0, *shape)
        )
        try:
            pixels = read_region(raster, wide, model_um, slide.origin, shape)
        except Exception as error:
            # The window that needs this place will say so; the limits can do without it.
            if is_out_of_memory(error):
                raise
            unreadable = error
            continue
        tissue_here = mask[np.ix_(rows, cols)] & covered(raster, box, model_um, slide.origin, shape)
        at_border = wide.y0 == 0, wide.y1 == shape[0], wide.x0 == 0, wide.x1 == shape[1]
        inside = box.shifted(-wide.y0, -wide.x0).slices
        fill = raster.fill.solid(pixels, at_border)[inside]
        values.append(pixels[inside][tissue_here & ~fill])
    if not values and unreadable is not None:
        raise unreadable
    found = np.concatenate(values)
    # a blank channel is all fill: what it is blank with is to be said, not that nothing is left
    return found if found.size else np.asarray(raster.fill.values[:1] or [0.0], np.float32)

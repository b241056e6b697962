"""From the pixels of a raster to the model's pixels, the same whichever window asks.

1. Model pixel i is centred on source position c = (i + 0.5) s - 0.5 plus the offset of the two
   origins, with s model pixels per source pixel; all from the slide's absolute origin.
2. Its value is the linear interpolant of the source, averaged over a box of sqrt(s^2 - 1) source
   pixels where s > 1. So a source of the model's pixel size is copied, a finer one is smoothed as
   if by larger camera pixels (variance (s^2 + 1) / 12 of pixel and box together), and a ramp
   stays a ramp. Beyond its border the source goes on with its last pixel.
3. A pyramid is entered at the coarsest level that is not coarser than the model.
4. Weights depend on i alone and are summed in float64, tap by tap in ascending order, rows before
   columns: two boxes that share a pixel agree on it bit for bit.
5. A window that overhangs the slide is completed by reflection at the border of the *model* grid,
   as numpy.pad(mode="reflect") does.

Where a raster does not reach (nuclei that cover less than the vessels) the value is 0: no stain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_damm.slide.fill import reaches_the_edge
from napari_damm.slide.raster import Raster, Scale

if TYPE_CHECKING:
    from napari_damm.slide.slide import Slide
    from napari_damm.util.tiling import Box

# Sizes are computed from decimal numbers: 1000 px of 0.325 um are 650.0000000000001 um.
ROUNDING = 1e-6
# Grids that drift apart by less than this, in source pixels over the slide, are one grid.
SAME_GRID_PX = 0.01
# A level may miss its last pixel to rounding, and the model grid overhangs by up to one pixel.
REACH_PX = 2.0
CHECK_ALL_PIXELS = 64 * 2**20
CHECK_BLOCK = 2048
CHECK_SAMPLES = 4
FLOAT32_MAX = float(np.finfo(np.float32).max)


def model_shape(slide: Slide, model_um: float) -> tuple[int, int]:
    """Return height and width of a slide in pixels of `model_um`, rounded up."""
    height, width = (max(1, math.ceil(um / model_um - ROUNDING)) for um in slide.vessels.extent_um)
    return height, width


def read_region(
    raster: Raster, box: Box, model_um: float, origin: Scale, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Read a box of the model grid from a raster.

    Parameters
    ----------
    raster
        The channel.
    box
        Half-open box in model pixels; may overhang the slide (reflected).
    model_um
        Side of a model pixel in um.
    origin
        World position (y, x) in um of the corner of model pixel (0, 0): the vessels' origin.
    shape
        Height and width of the whole slide in model pixels.

    Returns
    -------
    Array of the box's shape, float32, in the raster's intensities. Bit-identical wherever two
    boxes meet.

    Raises
    ------
    ValueError
        If the source has NaN or infinite pixels there.
    OSError
        If it cannot be read.
    """
    rows = _reflected(box.y0, box.y1, shape[0])
    cols = _reflected(box.x0, box.x1, shape[1])
    if not rows.size or not cols.size:
        return np.zeros((rows.size, cols.size), np.float32)
    top, left = int(rows.min()), int(cols.min())
    inside = _resample(
        raster,
        (top, int(rows.max()) + 1),
        (left, int(cols.max()) + 1),
        _Grid(model_um, origin, shape),
    )
    if min(box.y0, box.x0) >= 0 and box.y1 <= shape[0] and box.x1 <= shape[1]:
        return inside
    return inside[np.ix_(rows - top, cols - left)]


def check_finite(slide: Slide) -> None:
    """Refuse NaN and infinite pixels before work starts.

    Integer channels have none. Of floating point channels up to 64 megapixels everything is read;
    of larger ones the coarsest level if that is smaller, else blocks spread over the slide.
    (`read_region` checks what it reads in any case.)

    Raises
    ------
    ValueError
        Naming the channel and the place.
    """
    for raster in (slide.vessels, slide.nuclei):
        check_raster_finite(raster)


def check_raster_finite(raster: Raster) -> None:
    """Refuse NaN and infinite pixels of one channel; see `check_finite`."""
    if raster.dtype.kind != "f":
        return
    sizes = [plane.shape[0] * plane.shape[1] for plane in raster.planes]
    small = [level for level, size in enumerate(sizes) if size <= CHECK_ALL_PIXELS]
    level = small[0] if small else len(sizes) - 1
    height, width = raster.planes[level].shape
    tops, lefts = (range(0, length, CHECK_BLOCK) for length in (height, width))
    if not small:
        tops, lefts = (r[:: -(-len(r) // CHECK_SAMPLES)] for r in (tops, lefts))
    elif raster.fill.nan_as is not None:
        _refuse_inner_nan(raster, level)
    for top, left in product(tops, lefts):
        _read(raster, level, (top, top + CHECK_BLOCK), (left, left + CHECK_BLOCK))


def _refuse_inner_nan(raster: Raster, level: int) -> None:
    """Refuse NaN that is not connected with the border: no program fills with it there."""
    missing = np.isnan(np.asarray(raster.planes[level][:, :]))
    inside = np.argwhere(missing & ~reaches_the_edge(missing))
    if len(inside):
        y, x = inside[0]
        raise ValueError(
            f"channel {raster.name!r} has NaN pixels inside the picture, the first at y {y}, "
            f"x {x} of level {level}: replace them by numbers, or cut that part off"
        )


@dataclass(frozen=True)
class _Grid:
    """The model grid of a slide."""

    pixel_um: float
    origin: Scale
    shape: tuple[int, int]


@dataclass(frozen=True)
class _Axis:
    """How model positions along one axis map to source pixels: centre of i is first + i step."""

    first: float
    step: float
    length: int

    def reaches(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Return which of the model pixels [start, stop) lie on the source, or hardly beyond."""
        centre = self.first + np.arange(start, stop) * self.step
        tolerance = REACH_PX * max(1.0, self.step)
        found: NDArray[np.bool_] = (centre >= -0.5 - tolerance) & (
            centre <= self.length - 0.5 + tolerance
        )
        return found

    def taps(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return source pixels and weights (n, taps) of the model pixels [start, stop)."""
        centre = self.first + np.arange(start, stop) * self.step
        outside = ~self.reaches(start, stop)
        box = math.sqrt(self.step**2 - 1.0) if self.step > 1.0 else 0.0
        reach = box / 2 + 1.0
        lowest = np.floor(centre - reach).astype(np.int64) + 1
        count = math.ceil(2 * reach)
        if self.step == 1.0 and self.first == round(self.first):
            lowest, count = centre.astype(np.int64), 1  # Grids coincide: nothing else is read.
        pixels = lowest[:, None] + np.arange(count)
        distance = pixels - centre[:, None]
        if box:
            weights = (_hat_integral(distance + box / 2) - _hat_integral(distance - box / 2)) / box
        else:
            weights = np.maximum(0.0, 1.0 - np.abs(distance))
        weights[outside] = 0.0
        return np.clip(pixels, 0, self.length - 1), weights


def covered(
    raster: Raster, box: Box, model_um: float, origin: Scale, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return which pixels of a box of the model grid a raster reaches; elsewhere it reads as 0.

    Parameters are those of `read_region`; the box must not overhang the slide.
    """
    grid = _Grid(model_um, origin, shape)
    rows, cols = _axes(raster, pick_level(raster, model_um), grid)
    found: NDArray[np.bool_] = np.logical_and.outer(
        rows.reaches(box.y0, box.y1), cols.reaches(box.x0, box.x1)
    )
    return found


def _hat_integral(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the integral from minus infinity to x of the hat max(0, 1 - |x|)."""
    x = np.clip(x, -1.0, 1.0)
    integral: NDArray[np.float64] = 0.5 + x - np.copysign(0.5 * x * x, x)
    return integral


def _reflected(start: int, stop: int, length: int) -> NDArray[np.int64]:
    """Return the indices in [0, length) that numpy.pad(mode="reflect") shows at [start, stop)."""
    if length == 1:
        return np.zeros(max(0, stop - start), np.int64)
    period = 2 * (length - 1)
    position = np.arange(start, stop, dtype=np.int64) % period
    return np.minimum(position, period - position)


def _resample(
    raster: Raster, rows: tuple[int, int], cols: tuple[int, int], grid: _Grid
) -> NDArray[np.float32]:
    """Return model pixels inside the slide (steps 1 to 4)."""
    level = pick_level(raster, grid.pixel_um)
    y_axis, x_axis = _axes(raster, level, grid)
    y_pixels, y_weights = y_axis.taps(*rows)
    x_pixels, x_weights = x_axis.taps(*cols)
    if not y_weights.any() or not x_weights.any():
        return np.zeros((rows[1] - rows[0], cols[1] - cols[0]), np.float32)
    top, left = int(y_pixels.min()), int(x_pixels.min())
    source = _read(raster, level, (top, int(y_pixels.max()) + 1), (left, int(x_pixels.max()) + 1))
    if not source.any():  # Sparse slides are mostly this, and it is what sums of zeros give.
        return np.zeros((rows[1] - rows[0], cols[1] - cols[0]), np.float32)
    if _is_copy(y_pixels, y_weights) and _is_copy(x_pixels, x_weights):
        return np.array(source, dtype=np.float32, order="C")  # never the raster's own memory
    out = _gather(_gather(source, y_pixels - top, y_weights).T, x_pixels - left, x_weights).T
    return np.ascontiguousarray(out, dtype=np.float32)


def _is_copy(pixels: NDArray[np.int64], weights: NDArray[np.float64]) -> bool:
    """Return whether each model pixel is a source pixel, and the next one the next."""
    count = len(pixels)
    alone = pixels.shape[1] == 1 and int(pixels[-1, 0] - pixels[0, 0]) == count - 1
    return alone and bool(weights.all())


def _gather(
    source: np.ndarray, pixels: NDArray[np.int64], weights: NDArray[np.float64]
) -> np.ndarray:
    """Return the weighted sum of rows: out[i] = sum over taps of weights[i] source[pixels[i]]."""
    if pixels.shape[1] == 1 and weights.all():
        return source[pixels[:, 0]]  # One weight is 1.
    out = np.zeros((len(pixels), source.shape[1]))
    # A matrix product would be shorter, but how it rounds depends on the size of the box.
    for tap in range(pixels.shape[1]):
        out += weights[:, tap, None] * source[pixels[:, tap]]
    return out


def pick_level(raster: Raster, model_um: float) -> int:
    """Return the coarsest level that is not coarser than `model_um`, else the finest."""
    fine_enough = [
        level
        for level, size in enumerate(raster.level_pixel_um)
        if max(size) <= model_um * (1 + ROUNDING)
    ]
    return fine_enough[-1] if fine_enough else 0


def _axes(raster: Raster, level: int, grid: _Grid) -> Iterator[_Axis]:
    for axis in (0, 1):
        pixel_um = raster.level_pixel_um[level][axis]
        step = grid.pixel_um / pixel_um
        corner = (grid.origin[axis] - raster.origin[axis]) / pixel_um
        first = corner + 0.5 * step - 0.5
        # Whether grids coincide is decided for the slide, never for a box of it.
        drift = abs(step - 1.0) * grid.shape[axis]
        if drift < SAME_GRID_PX and abs(first - round(first)) < SAME_GRID_PX:
            first, step = float(round(first)), 1.0
        yield _Axis(first, step, raster.planes[level].shape[axis])


def _read(raster: Raster, level: int, rows: tuple[int, int], cols: tuple[int, int]) -> np.ndarray:
    """Return source pixels; whatever goes wrong names the channel and the place."""
    where = f"y {rows[0]}..{rows[1]}, x {cols[0]}..{cols[1]} of level {level}"
    try:
        pixels = raster.planes[level][slice(*rows), slice(*cols)]
    except MemoryError:
        raise
    except Exception as error:
        raise OSError(
            f"channel {raster.name!r} cannot be read at {where} ({error}): check the file"
        ) from error
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        pixels = raster.fill.without_nan(pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        y, x = np.argwhere(~np.isfinite(pixels))[0]
        raise ValueError(
            f"channel {raster.name!r} has NaN or infinite pixels, the first at y {rows[0] + y}, "
            f"x {cols[0] + x} of level {level}: replace them by numbers, or cut "
            "that part off"
        )
    if pixels.dtype.itemsize > 4 and pixels.dtype.kind == "f" and pixels.size:
        _refuse_beyond_float32(pixels, raster.name, rows, cols, level)
    return pixels


def _refuse_beyond_float32(
    pixels: np.ndarray, name: str, rows: tuple[int, int], cols: tuple[int, int], level: int
) -> None:
    """Refuse what is infinite to a model: GIS programs mark empty pixels by -1.8e308."""
    if max(pixels.max(), -pixels.min()) <= FLOAT32_MAX:
        return
    y, x = np.argwhere(np.abs(pixels) > FLOAT32_MAX)[0]
    raise ValueError(
        f"channel {name!r} has values beyond {FLOAT32_MAX:.1e}, the first {pixels[y, x]:.2g} at y "
        f"{rows[0] + y}, x {cols[0] + x} of level {level}: replace them by NaN where there is no "
        "picture, by numbers elsewhere"
    )

"""Where a target has no picture: fill and NaN at its border, which would count as "no particles".

1. NaN is no picture wherever it is let through (`slide.fill`).
2. A constant value that the border shows is fill where squares of it, 4 model pixels wide, reach
   in from the edge: over half of a side, or over a whole cell of 32 px. Less of it is dark tissue
   that happens to lie at the border.
3. It is no fill where pixels beside those squares often have that value, too: then it is how this
   picture shows nothing. Particles may be few, and the background of their image subtracted. Nor is
   an image of one value: that shows no particles at all.
4. Cells that hold fill, or lie so near that a measure would look at it, may not be used.

An image without fill at its border costs nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.dataset.sections import Section
from napari_damm.slide import model_shape, read_region
from napari_damm.slide.fill import reaches_the_edge
from napari_damm.slide.planes import Plane
from napari_damm.slide.raster import Raster
from napari_damm.util.tiling import CELL, Box

Mask = NDArray[np.bool_]

SQUARE_PX = 4
MOST_SQUARES = 2**24
NEAR_SQUARES = 2
"""What resampling mixes with fill, and the 5 px that SSIM looks at."""
READ_PX = 2048
WHOLLY = 0.999
OWN_SHARE, LEAST_OF_A_SIDE = 0.1, 0.5


def cells_of_fill(section: Section, um: float, cells: tuple[int, int]) -> Mask:
    """Return the cells of 32 px of `um` in which, or beside which, the target is fill."""
    found = np.zeros(cells, bool)
    shape = model_shape(section.slide, um)
    for part in parts_of_fill(section.target, um, cells, shape, section.slide.origin):
        found |= part.cells
    return found


class FillPart(NamedTuple):
    """One value of fill, the cells in which or beside which it is, and how often it is near them.

    `near` is its share of the pixels a little beyond, 0..1.
    """

    value: float
    cells: Mask
    near: float


def parts_of_fill(
    raster: Raster,
    um: float,
    cells: tuple[int, int],
    shape: tuple[int, int],
    origin: tuple[float, float],
) -> Iterator[FillPart]:
    """Yield the cells (rows, cols) in which, or beside which, an image is fill, value by value.

    Parameters
    ----------
    raster
        The image.
    um, shape, origin
        A grid: side of its pixels in um, pixels (y, x), and upper left corner (y, x) in um.
    cells
        How many cells of 32 of those pixels.
    """
    fill = raster.fill
    if not fill.values and fill.nan_as is None:
        return
    side = SQUARE_PX
    while cells[0] * cells[1] * (CELL // side) ** 2 > MOST_SQUARES and side < CELL:
        side *= 2
    missing = [] if fill.nan_as is None else [np.nan]
    for value in (*missing, *fill.values):
        squares = (-(-shape[0] // side), -(-shape[1] // side))
        share = _shares(raster, um * side, value, squares, origin)
        where = share > 0 if np.isnan(value) else _reaching(share, CELL // side)
        near = ndimage.binary_dilation(where, np.ones((3, 3), bool), NEAR_SQUARES)
        per_cell = CELL // side
        whole = np.zeros((cells[0] * per_cell, cells[1] * per_cell), bool)
        part = near[: whole.shape[0], : whole.shape[1]]
        whole[: part.shape[0], : part.shape[1]] = part
        around = ndimage.binary_dilation(near, np.ones((3, 3), bool), NEAR_SQUARES) & ~near
        taken: Mask = np.any(whole.reshape(cells[0], per_cell, cells[1], per_cell), axis=(1, 3))
        yield FillPart(value, taken, float(share[around].mean()) if around.any() else 0.0)


def _reaching(share: NDArray[np.float32], cell: int) -> Mask:
    """Return the squares of fill (steps 2 and 3)."""
    reaching = reaches_the_edge(share > WHOLLY)
    beside = share[~reaching]
    if not beside.size or float(beside.mean()) > OWN_SHARE:
        return np.zeros_like(reaching)
    parts, _ = ndimage.label(reaching, np.ones((3, 3), bool))
    whole_cells = ndimage.binary_erosion(reaching, np.ones((cell, cell), bool))
    large = set(parts[whole_cells].tolist())
    for side in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        counts = np.bincount(side)[1:]  # 0 is no fill
        large |= set((1 + np.flatnonzero(counts >= LEAST_OF_A_SIDE * side.size)).tolist())
    found: Mask = np.isin(parts, list(large - {0}))
    return found


def _shares(
    raster: Raster, um: float, value: float, shape: tuple[int, int], origin: tuple[float, float]
) -> NDArray[np.float32]:
    """Return how much of each square (rows, cols) of `um` has a value (or is NaN)."""
    planes = tuple(_ValuePlane(plane, value) for plane in raster.planes)
    marked = Raster(raster.name, planes, raster.pixel_size_um, raster.origin)
    found = np.zeros(shape, np.float32)
    step = READ_PX // SQUARE_PX
    for top, left in product(*(range(0, n, step) for n in shape)):
        box = Box(top, left, top + step, left + step).intersect(Box(0, 0, *shape))
        with suppress(OSError, ValueError):  # whoever needs the place says where it is
            found[box.slices] = read_region(marked, box, um, origin, shape)
    return found


class _ValuePlane:
    """1 where a plane has a value, or NaN, and 0 elsewhere."""

    dtype = np.dtype(np.float32)

    def __init__(self, plane: Plane, value: float) -> None:
        self.plane, self.value = plane, value
        self.shape = plane.shape

    def __getitem__(self, key: tuple[slice, slice], /) -> NDArray[np.float32]:
        pixels = np.asarray(self.plane[key])
        same: Mask = np.isnan(pixels) if np.isnan(self.value) else pixels == self.value
        return same.astype(np.float32)

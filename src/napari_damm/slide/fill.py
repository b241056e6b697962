"""What a program put where it had no picture: constant borders, and NaN.

1. Registration and stitching leave a border of one value (0, -9999, 255) or of NaN. A value is
   fill if the picture's edge shows it unchanged over a run of pixels; a camera never does that.
2. Where such a value reaches in from the edge there is no tissue (`tissue`), and solid patches of
   it (5 x 5 model pixels, or at the slide's border), with the mixtures around them, are no part of
   intensity limits (`normalisation`). Tissue in a JPEG has single pixels of any value.
3. NaN at the edge is read as the darkest number of the picture. NaN elsewhere is a fault, and is
   refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.slide.planes import Plane

RUN_PX = 32
"""Equal neighbours along the edge that make a value fill."""
PATCH_PX = 5
MIXED_PX = 2
REACH_PX = PATCH_PX + MIXED_PX
SMALLEST_SIDE = 64
LONGEST_EDGE = 8192
STRETCHES = 32
LOOKED_AT_PX = 2048
TOLERANCE = 1e-4

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fill:
    """The values of a picture that are fill; NaN is read as `nan_as`, None where it is a fault."""

    values: tuple[float, ...] = ()
    nan_as: float | None = None

    def covers(self, pixels: NDArray[np.floating]) -> Mask:
        """Return where pixels are fill, up to the rounding of a resampler."""
        found = np.zeros(pixels.shape, bool)
        for value in self.values:
            found |= np.abs(pixels - value) <= TOLERANCE * max(1e-6, abs(value))
        return found

    def solid(self, pixels: NDArray[np.floating], at_border: tuple[bool, bool, bool, bool]) -> Mask:
        """Return where patches of fill are, and what resampling has mixed with them.

        `at_border`: whether the block's top, bottom, left and right edge is the slide's border,
        where fill may be a strip of a single pixel.
        """
        found = self.covers(pixels)
        if not found.any():
            return found
        padded = np.pad(found, PATCH_PX, mode="edge")
        top, bottom, left, right = at_border
        padded[:PATCH_PX] |= top
        padded[-PATCH_PX:] |= bottom
        padded[:, :PATCH_PX] |= left
        padded[:, -PATCH_PX:] |= right
        square = np.ones((PATCH_PX, PATCH_PX), bool)
        patches = ndimage.binary_opening(padded, square)
        patches = patches[PATCH_PX:-PATCH_PX, PATCH_PX:-PATCH_PX] & found
        around: Mask = ndimage.binary_dilation(patches, np.ones((3, 3), bool), MIXED_PX)
        return around

    def without_nan(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels with NaN read as what it stands for."""
        if self.nan_as is None or not np.isnan(pixels).any():
            return pixels
        return np.where(np.isnan(pixels), np.asarray(self.nan_as, pixels.dtype), pixels)


def border_fill(planes: Sequence[Plane]) -> Fill:
    """Find the fill of a picture from the edges of its coarsest level of some size.

    Parameters
    ----------
    planes
        Levels (y, x), finest first.
    """
    plane = next((p for p in reversed(planes) if min(p.shape) >= SMALLEST_SIDE), planes[0])
    found: set[float] = set()
    has_nan = False
    for line in _edges(plane):
        values = line.astype(np.float64)
        has_nan |= bool(_runs(np.isnan(values).astype(np.float64)) & {1.0})
        found |= _runs(values)
    if not has_nan:
        return Fill(tuple(sorted(found)))
    height, width = (min(n, LOOKED_AT_PX) for n in plane.shape)
    top, left = (plane.shape[0] - height) // 2, (plane.shape[1] - width) // 2
    seen = np.asarray(plane[top : top + height, left : left + width], np.float64)
    finite = seen[np.isfinite(seen)]
    dark = float(finite.min()) if finite.size else 0.0
    return Fill(tuple(sorted({*found, dark})), dark)


def reaches_the_edge(where: Mask) -> Mask:
    """Return the parts of a mask that are connected with its edge."""
    regions, _ = ndimage.label(where)
    rim = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    reaching: Mask = np.isin(regions, rim[rim > 0])
    return reaching


def _edges(plane: Plane) -> Iterator[np.ndarray]:
    """Yield the four edges of a picture, of long ones stretches spread along them."""
    height, width = plane.shape
    for along, length in ((1, width), (0, height)):
        last = (height, width)[1 - along] - 1
        for start, stop in _stretches(length):
            for at in {0, last}:
                box = ((at, at + 1), (start, stop)) if along else ((start, stop), (at, at + 1))
                try:
                    yield np.asarray(plane[slice(*box[0]), slice(*box[1])]).ravel()
                except MemoryError:
                    raise
                except Exception:  # decoders' own: whoever needs the place says where it is
                    continue


def _stretches(length: int) -> Iterator[tuple[int, int]]:
    if length <= LONGEST_EDGE:
        yield 0, length
        return
    side = LONGEST_EDGE // STRETCHES
    for start in np.linspace(0, length - side, STRETCHES).astype(int):
        yield int(start), int(start) + side


def _runs(values: NDArray[np.float64]) -> set[float]:
    """Return the finite values that fill a run of neighbours, or all of a shorter line."""
    needed = min(RUN_PX, len(values))
    ends = np.flatnonzero(values[1:] != values[:-1])
    starts = np.concatenate([[0], ends + 1])
    lengths = np.diff(np.concatenate([starts, [len(values)]]))
    found = values[starts[lengths >= needed]]
    return {float(value) for value in found if np.isfinite(value)}

"""How far each pixel is from the nearest edge of a mask, in um: positive outside, negative inside.

Distances run from a pixel's centre to the edge of the nearest pixel of the mask, taken to lie half
a pixel before that one's centre. They are exact up to a limit, and infinite beyond: so a tile that
is read with a halo of the limit finds the same numbers as the whole picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
PixelSize = tuple[float, float]
"""Height and width of a pixel in um."""


def signed_distance(mask: Mask, pixel_um: PixelSize, limit_um: float) -> Floats:
    """Return the distance (y, x) in um to the mask's edge, negative inside.

    Parameters
    ----------
    mask
        (y, x) bool, such as vessels.
    pixel_um
        Height and width of a pixel.
    limit_um
        What is farther is inf, inside -inf; so is everything where the mask has no edge.
    """
    outside = distance_to(mask, pixel_um)
    outside[outside > limit_um] = np.inf
    if mask.any():
        inside = distance_to(~mask, pixel_um)[mask]
        inside[inside > limit_um] = np.inf
        outside[mask] = -inside
    return outside


def distance_to(mask: Mask, pixel_um: PixelSize) -> Floats:
    """Return the distance (y, x) in um from each pixel's centre to the edge of the mask.

    0 inside the mask; inf everywhere where the mask is empty.
    """
    if not mask.any():
        return np.full(mask.shape, np.inf)
    height, width = pixel_um
    if height == width:
        centres: Floats = ndimage.distance_transform_edt(~mask)
        return np.maximum(centres - 0.5, 0.0) * height
    centres, nearest = ndimage.distance_transform_edt(~mask, sampling=pixel_um, return_indices=True)
    rows, cols = np.ogrid[: mask.shape[0], : mask.shape[1]]
    # Half a pixel along the way there: half of its height straight up, half of its width across.
    steps = np.hypot(nearest[0] - rows, nearest[1] - cols)
    half = np.divide(0.5 * centres, steps, out=np.zeros_like(centres), where=steps > 0)
    edge: Floats = np.maximum(centres - half, 0.0)
    return edge

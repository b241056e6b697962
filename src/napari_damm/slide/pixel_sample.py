"""What an image shows, whatever file it is in: the hash of some of its pixels.

A picture that was saved anew without loss (a JPEG as TIFF, a slide as OME-Zarr) has other bytes and
the same pixels. Compressed anew, scaled or cropped it has others.

1. A small image is hashed whole, of a large one small squares spread all over it.
2. Values count, not their type: 8 bits that were saved as 16 are the same.
3. Where all values are equal nothing is known: blank images are like each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from napari_damm.slide.planes import Plane
from napari_damm.slide.raster import Raster

WHOLE_PIXELS = 2**20
SQUARES = 4
SQUARE_PX = 64


def pixel_sample(raster: Raster) -> str:
    """Return the hash of an image's size and of some of its pixels; "" where these are equal.

    Raises
    ------
    OSError, ValueError
        If they cannot be read.
    """
    plane = raster.planes[0]
    digest = hashlib.sha256(f"{plane.shape[0]} {plane.shape[1]}".encode())
    low, high = np.inf, -np.inf
    for values in _parts(plane):
        digest.update(values.tobytes())
        low, high = min(low, values.min()), max(high, values.max())
    return digest.hexdigest() if low < high else ""


def _parts(plane: Plane) -> Iterator[np.ndarray]:
    height, width = plane.shape
    if height * width <= WHOLE_PIXELS:
        yield np.ascontiguousarray(plane[0:height, 0:width], np.float64)
        return
    for row in range(SQUARES):
        y = int((row + 0.5) / SQUARES * height)
        for col in range(SQUARES):
            x = int((col + 0.5) / SQUARES * width)
            square = plane[y : min(y + SQUARE_PX, height), x : min(x + SQUARE_PX, width)]
            yield np.ascontiguousarray(square, np.float64)

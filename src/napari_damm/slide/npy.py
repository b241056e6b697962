"""Numpy files (`.npy`) of one picture with channels, (1, channel, y, x), read plane by plane.

1. The header is parsed by numpy, within bounds and with pickled objects forbidden; whatever it says
   of size is compared with the file before any of it is believed.
2. A plane is read when it is asked for, from the file alone: no map of it is kept, which a file
   that shrinks would turn into a crash.
"""

from __future__ import annotations

import math
import os
import warnings
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from napari_damm.slide.planes import LazyPlane, block_size
from napari_damm.util.files import open_regular
from napari_damm.util.text import printable

LONGEST_HEADER = 10_000
LONGEST_SIDE = 2**15
MOST_PIXELS = 2**28
"""As of pictures: 16,384 x 16,384."""

_READERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


class NpyPlaneSource:
    """One channel of a numpy file."""

    def __init__(self, path: Path, start: int, shape: tuple[int, int], stored: np.dtype[Any]):
        self.path = path
        self.start = start
        self.shape = shape
        self.stored = stored
        self.dtype = stored.newbyteorder("=")
        self.block: tuple[int, int] | None = block_size((256, shape[1]), shape)

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""
        row = self.shape[1] * self.stored.itemsize
        with open_regular(self.path) as file:
            file.seek(self.start + y0 * row)
            data = file.read((y1 - y0) * row)
        if len(data) != (y1 - y0) * row:
            raise OSError(f"{self.path} was cut short while it was read: get it again")
        rows = np.frombuffer(data, self.stored).reshape(y1 - y0, self.shape[1])
        return rows[:, x0:x1].astype(self.dtype)


def read_npy_planes(path: Path, channels: int) -> list[LazyPlane]:
    """Return the channels of a file that holds (1, `channels`, y, x).

    Raises
    ------
    ValueError
        In one sentence, if it is no such file.
    OSError
        If it cannot be read, or is no regular file.
    """
    with open_regular(path) as file:
        shape, stored = _header(file, path)
        start, size = file.tell(), os.fstat(file.fileno()).st_size
    expected = f"(1, {channels}, height, width)"
    if len(shape) != 4 or shape[:2] != (1, channels):
        raise ValueError(f"{path} must hold an array {expected}, got shape {_shown(shape)}")
    height, width = shape[2:]
    if not (1 <= height <= LONGEST_SIDE and 1 <= width <= LONGEST_SIDE):
        raise ValueError(f"{path} must be 1 to {LONGEST_SIDE} px a side, got {_shown(shape[2:])}")
    if height * width * channels > MOST_PIXELS:
        raise ValueError(f"{path} holds more than {MOST_PIXELS} pixels: cut it into patches")
    plane_bytes = height * width * stored.itemsize
    if size != start + channels * plane_bytes:
        raise ValueError(
            f"{path} has {size} bytes and should have {start + channels * plane_bytes}: "
            "it is cut short or damaged, get it again"
        )
    return [
        LazyPlane(NpyPlaneSource(path, start + k * plane_bytes, (height, width), stored))
        for k in range(channels)
    ]


def _header(file: BufferedReader, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the array; the file is left where its numbers begin."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that Python 2 wrote
            read = _READERS[npy_format.read_magic(file)]
            shape, fortran, dtype = read(file, max_header_size=LONGEST_HEADER)
    except OSError:
        raise
    except Exception as error:  # a header is parsed as Python: it may fail in many ways
        reason = printable(str(error).partition("\n")[0][:100]) or type(error).__name__
        raise ValueError(f"{path} is not a numpy file (.npy) that can be read: {reason}") from None
    if dtype.hasobject or dtype.kind not in "uif" or dtype.itemsize > 8:
        raise ValueError(
            f"{path} must hold integer or floating point intensities, got {str(dtype)[:60]}"
        )
    if fortran:
        raise ValueError(
            f"{path} is stored column by column: save it again with numpy.ascontiguousarray"
        )
    return shape, dtype


def _shown(shape: tuple[int, ...]) -> str:
    digits = sum(max(1, int(math.log10(abs(n) + 1))) if n < 10**300 else 300 for n in shape[:8])
    return str(shape) if len(shape) <= 8 and digits < 100 else f"of {len(shape)} absurd sizes"

"""Where the pixels of a TIFF plane come from.

1. A plane that lies in the file as it does in memory is mapped for the moment of reading.
2. Any other lies in segments (tiles or strips). Where they are is noted when the slide is opened;
   each read opens the file, takes the segments that touch the box, decodes and assembles them.
3. How segments are decoded is asked of tifffile once per process and file, so that a source is
   plain data and can be sent to another process.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tifffile import TiffFile, TiffFrame, TiffPage

from napari_damm.slide import codestreams
from napari_damm.slide.planes import block_size
from napari_damm.util.errors import is_out_of_memory

Page = TiffPage | TiffFrame

PACKED = (1, 5, 8, 32773, 32946, 34925, 34926, 50000)
"""None, LZW, deflate, PackBits, LZMA, zstd: their decoders unpack as much as they are told."""
PICTURES = (
    dict.fromkeys((6, 7, 33007), codestreams.jpeg)
    | dict.fromkeys((33003, 33004, 33005, 34712), codestreams.jpeg2000)
    | dict.fromkeys((22610, 34934), codestreams.jpeg_xr)
    | {50001: codestreams.webp}
)
"""Schemes whose segments are pictures with a size of their own, and how that is read."""
LARGER = 4
"""Times the pixels of a tile that a picture in it may state: some writers pad."""
SLACK = 2**20


def keyframe_of(page: Page) -> TiffPage:
    """Return the page whose layout this one shares."""
    if page.keyframe is None:
        raise ValueError(f"page {page.index} has no layout")
    return page.keyframe


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """Keep tifffile's log off the terminal: what matters is raised as one sentence."""

    def drop(record: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(drop)
    try:
        yield
    finally:
        logger.removeFilter(drop)


class MappedSource:
    """A plane that is stored in one piece, `layer` planes after byte `offset`."""

    block: tuple[int, int] | None = None

    def __init__(self, page: Page, offset: int, layer: int) -> None:
        keyframe = keyframe_of(page)
        _, _, height, width, samples = keyframe.shaped
        self.path = Path(page.parent.filehandle.path)
        self.shape = (height, width)
        self.dtype = np.dtype(keyframe.dtype)
        self._stored = self.dtype.newbyteorder(keyframe.parent.byteorder)
        self._shape = (height, width, samples) if samples > 1 else (height, width)
        self._offset = offset + layer * math.prod(self._shape) * self.dtype.itemsize

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""
        mapped = np.memmap(self.path, self._stored, "r", self._offset, self._shape)
        return np.array(mapped[y0:y1, x0:x1], dtype=self.dtype)


class SegmentSource:
    """A plane in tiles or strips, the `layer`-th of its page."""

    def __init__(self, page: Page, layer: int) -> None:
        keyframe = keyframe_of(page)
        _, _, height, width, self._samples = keyframe.shaped
        if keyframe.is_tiled:
            self._size = (keyframe.tilelength, keyframe.tilewidth)
        else:
            self._size = (min(keyframe.rowsperstrip, height), width)
        self._columns = -(-width // self._size[1])
        per_layer = self._columns * -(-height // self._size[0])
        self._first = layer * per_layer
        here = slice(self._first, self._first + per_layer)
        self._offsets = np.asarray(page.dataoffsets[here], dtype=np.int64)
        self._counts = np.asarray(page.databytecounts[here], dtype=np.int64)
        self._jpegtables = page.jpegtables
        self._keyframe = keyframe.offset
        self._compression = int(keyframe.compression)
        self.path = Path(page.parent.filehandle.path)
        self.shape = (height, width)
        self.dtype = np.dtype(keyframe.dtype)
        self.block: tuple[int, int] | None = block_size(self._size, self.shape)

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""
        height, width = self._size
        out = np.zeros((y1 - y0, x1 - x0, self._samples), self.dtype)
        rows = range(y0 // height, -(-y1 // height))
        columns = range(x0 // width, -(-x1 // width))
        with self.path.open("rb") as file:
            for row, column in product(rows, columns):
                tile = self._segment(file, row * self._columns + column)
                if tile is None:
                    continue
                top, left = row * height, column * width
                ys = slice(max(y0, top), min(y1, top + tile.shape[0]))
                xs = slice(max(x0, left), min(x1, left + tile.shape[1]))
                out[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0] = tile[
                    ys.start - top : ys.stop - top, xs.start - left : xs.stop - left
                ]
        return out if self._samples > 1 else out[..., 0]

    def _segment(self, file: BinaryIO, index: int) -> np.ndarray | None:
        """Return a decoded tile or strip (y, x, samples); None where the writer left it out."""
        if index >= len(self._offsets) or not self._counts[index]:
            return None
        file.seek(int(self._offsets[index]))
        data = file.read(int(self._counts[index]))
        if len(data) < self._counts[index]:
            raise OSError(f"{self.path} is truncated: copy or export the file again")
        decode, jpegheader = _decoder(self.path, self.path.stat().st_mtime_ns, self._keyframe)
        self._check(data, jpegheader)
        tables = {"jpegtables": self._jpegtables, "jpegheader": jpegheader}
        try:
            pixels: np.ndarray | None = decode(data, self._first + index, **tables)[0]
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise OSError(f"a tile of {self.path} is damaged, {error}") from error
        return None if pixels is None else pixels[0]

    def _check(self, data: bytes, jpegheader: bytes | None) -> None:
        """Refuse a picture that states a size far beyond its tile's."""
        read = PICTURES.get(self._compression)
        if read is None:
            return
        try:
            stated = read((jpegheader or b"") + data)
        except codestreams.NoSizeError as error:
            raise OSError(f"a tile of {self.path} is damaged, {error}") from error
        area = self._size[0] * self._size[1]
        if stated.samples > max(4, self._samples) or not (
            0 < stated.height * stated.width <= LARGER * area + SLACK
        ):
            raise OSError(
                f"a tile of {self.path}, {self._size[0]:,} x {self._size[1]:,} px, states "
                f"{stated.height:,} x {stated.width:,} px in {stated.samples:,} channels"
            )


@lru_cache(maxsize=64)
def _decoder(path: Path, mtime_ns: int, keyframe: int) -> tuple[Callable[..., Any], bytes | None]:
    """Return how segments of the page at byte `keyframe` are decoded, and what JPEG needs."""
    with quiet_tifffile(), TiffFile(path) as tif:
        tif.filehandle.seek(keyframe)
        page = TiffPage(tif, index=0)
        return page.decode, page.jpegheader

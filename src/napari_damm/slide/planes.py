"""Pictures of any size that are read piece by piece.

1. A `Plane` is anything 2-D that can be sliced: a numpy array, or a `LazyPlane`, which fetches
   blocks from its source (a file, or a dask or zarr array) when it is sliced.
2. Windows overlap and files are compressed in blocks, so a `LazyPlane` keeps the blocks that were
   decoded last in one cache of bounded size, shared by all slides of the process.
3. `as_dask` shows a plane to those who want a dask array: viewers, and work on all of it.

Reading is thread-safe: nobody keeps an open file, and only the cache is shared.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import dask.array as da
import numpy as np

from napari_damm.util.errors import is_out_of_memory

CACHE_BYTES = 128 * 2**20
BLOCK_PIXELS = 2**20
PREVIEW_CHUNK = 1024


class Plane(Protocol):
    """What a level of a raster must offer; numpy arrays do."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Height and width in pixels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""

    def __getitem__(self, key: tuple[slice, slice], /) -> np.ndarray:
        """Return the pixels of a box."""


class BlockSource(Protocol):
    """Where a `LazyPlane` gets its pixels from.

    `load` returns the pixels of a box as (h, w), or (h, w, samples) where a file interleaves its
    channels. `block` is the grid on which reading is cheapest; None where any box is (no cache).
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    block: tuple[int, int] | None

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""


class BlockCache:
    """The decoded blocks used last, at most `limit` bytes of them (but always the last two)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._blocks: OrderedDict[tuple[str, int, int], np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int, int], load: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the block `key`; `load` it, outside the lock, where it is not at hand."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self._blocks.move_to_end(key)
                return block
        block = load()
        with self._lock:
            if key not in self._blocks:
                self._blocks[key] = block
                self._bytes += block.nbytes
            # Two blocks larger than the limit, one per channel, beat decoding both for each window.
            while self._bytes > self.limit and len(self._blocks) > 2:
                self._bytes -= self._blocks.popitem(last=False)[1].nbytes
        return block


_CACHE = BlockCache(CACHE_BYTES)


def block_size(chunk: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """Return a multiple of `chunk` of about a megapixel: small chunks are fetched together."""
    y, x = min(chunk[0], shape[0]), min(chunk[1], shape[1])
    while y * x < BLOCK_PIXELS and (y < shape[0] or x < shape[1]):
        if x >= shape[1] or (y <= x and y < shape[0]):
            y *= 2
        else:
            x *= 2
    return y, x


class LazyPlane:
    """A 2-D image (y, x) that reads what it is sliced for.

    Parameters
    ----------
    source
        Where pixels come from. Planes that differ in `sample` share it, and its blocks.
    sample
        Which of the interleaved channels this plane is.
    key
        Under which its blocks are cached: that of another plane of the same source, or a new one.
    """

    ndim = 2

    def __init__(self, source: BlockSource, sample: int | None = None, key: str = "") -> None:
        self.source = source
        self.sample = sample
        # Never a file's name: a file written anew under the same name must not meet old blocks.
        self.key = key or uuid.uuid4().hex

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel, in native byte order."""
        return self.source.dtype

    def __getitem__(self, key: tuple[slice | int, slice | int], /) -> np.ndarray:
        """Return the pixels of slices or numbers: dask fuses both, steps too, into one index."""
        (y0, y1, rows), (x0, x1, cols) = map(_span, key, self.shape)
        pixels: np.ndarray = self._box(y0, y1, x0, x1)[rows, cols]
        return pixels

    def _box(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        if self.source.block is None:
            return self._native(self.source.load(y0, y1, x0, x1))
        out = np.empty((y1 - y0, x1 - x0), self.dtype)
        by, bx = self.source.block
        for row in range(y0 // by, -(-y1 // by)):
            for col in range(x0 // bx, -(-x1 // bx)):
                ys = slice(max(y0, row * by), min(y1, (row + 1) * by))
                xs = slice(max(x0, col * bx), min(x1, (col + 1) * bx))
                target = out[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0]
                try:
                    block = self._block(row, col, by, bx)
                except Exception as error:
                    if is_out_of_memory(error):
                        raise
                    # A block is many chunks of a file: a damaged one must not take others with it.
                    target[:] = self._native(self.source.load(*_ends(ys), *_ends(xs)))
                    continue
                target[:] = block[
                    ys.start - row * by : ys.stop - row * by,
                    xs.start - col * bx : xs.stop - col * bx,
                ]
        return out

    def _block(self, row: int, col: int, by: int, bx: int) -> np.ndarray:
        y0, x0 = row * by, col * bx
        y1, x1 = min(y0 + by, self.shape[0]), min(x0 + bx, self.shape[1])
        block = _CACHE.get((self.key, row, col), lambda: self.source.load(y0, y1, x0, x1))
        return block if self.sample is None else block[..., self.sample]

    def _native(self, pixels: np.ndarray) -> np.ndarray:
        if self.sample is not None:
            pixels = pixels[..., self.sample]
        return np.ascontiguousarray(pixels, dtype=self.dtype)


def _ends(part: slice) -> tuple[int, int]:
    return part.start, part.stop


def _span(index: slice | int, length: int) -> tuple[int, int, slice | int]:
    """Return what to read for an index (start, stop), and the index into that."""
    if not isinstance(index, slice):
        position = range(length)[index]
        return position, position + 1, 0
    positions = range(length)[index]
    if not positions:
        return 0, 0, slice(None)
    first, last = min(positions[0], positions[-1]), max(positions[0], positions[-1])
    return first, last + 1, slice(None, None, positions.step)


class ArraySource:
    """Pixels of an N-D dask or zarr array, of which `index` picks a plane (None = y, then x)."""

    def __init__(self, array: Any, index: tuple[int | None, ...] = (None, None)) -> None:
        self.array = array
        self.index = index
        axes = [axis for axis, at in enumerate(index) if at is None]
        height, width = (int(array.shape[axis]) for axis in axes)
        chunks = getattr(array, "chunksize", None) or array.chunks
        self.shape = (height, width)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        chunk = (int(chunks[axes[0]]), int(chunks[axes[1]]))
        self.block: tuple[int, int] | None = block_size(chunk, self.shape)

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""
        box = iter((slice(y0, y1), slice(x0, x1)))
        part = self.array[tuple(next(box) if at is None else at for at in self.index)]
        if isinstance(part, da.Array):
            # Readers are threads already; a pool per block would only multiply them.
            part = part.compute(scheduler="synchronous")  # type: ignore[no-untyped-call]
        return np.asarray(part, dtype=self.dtype)


def as_dask(plane: Plane) -> da.Array:
    """Return a plane as a lazy dask array (y, x)."""
    from_array: Callable[..., da.Array] = da.from_array
    if isinstance(plane, LazyPlane):
        array = getattr(plane.source, "array", None)
        if isinstance(array, da.Array) and array.ndim == 2:
            return array
        block = plane.source.block or (PREVIEW_CHUNK, PREVIEW_CHUNK)
        name = f"{plane.key}-{plane.sample}"
        meta = np.empty((0, 0), plane.dtype)
        return from_array(plane, chunks=block, name=name, meta=meta, asarray=False)
    # Without a name dask would hash every pixel to make one.
    return from_array(plane, chunks=PREVIEW_CHUNK, name=False)

"""What a viewer shows of a running job: stored shards, and tiles of shards still in work.

1. `LivePreview.add(tile)` copies a tile into the buffers of the shards it touches, and brings the
   pyramid above it up to date (2 x 2 means, as the store makes them).
2. `LivePreview.shard_done` drops a shard's buffers once it is stored, so that memory is bounded by
   the shards in work, not by the slide.
3. `LiveArray` is what a napari layer gets: it answers an index with the stored values, covered by
   the buffers. It never copies more than was asked for.
4. The small maps are plain arrays that change in place: uncertainty and branch, because reading
   them from a thousand little files takes too long for a viewer; and the coarsest level of the
   pyramid, because napari converts it to an array once and shows that array ever after.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.events import Tile
from napari_damm.store import ResultStore, ShardStatus, halve, to_half
from napari_damm.util.tiling import Box

if TYPE_CHECKING:
    from zarr import Array

    from napari_damm.store import ResultLayout

Shard = tuple[int, int]


class LiveArray:
    """A two-dimensional read-only array: what is stored, covered by buffers of shards in work."""

    ndim = 2

    def __init__(self, stored: Array[Any], lock: RLock) -> None:
        """Show `stored`; `lock` guards the buffers."""
        self.shape: tuple[int, int] = (stored.shape[0], stored.shape[1])
        self.dtype: np.dtype[Any] = np.dtype(stored.dtype)
        self._stored = stored
        self._lock = lock
        self._buffers: dict[Shard, tuple[Box, NDArray[Any]]] = {}

    def __repr__(self) -> str:
        return f"LiveArray(shape={self.shape}, dtype={self.dtype})"

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array, were it in memory."""
        return self.size * self.dtype.itemsize

    @property
    def buffered_bytes(self) -> int:
        """Bytes that the buffers take now."""
        with self._lock:
            return sum(values.nbytes for _, values in self._buffers.values())

    def __getitem__(self, index: Any) -> Any:
        (rows, drop_row), (cols, drop_col) = _normalised(index, self.shape)
        (y0, y1), (x0, x1) = _hull(rows), _hull(cols)
        values = self.read(Box(y0, x0, y1, x1))[:: rows.step, :: cols.step]
        return values[0 if drop_row else slice(None), 0 if drop_col else slice(None)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a live array has no memory to share: ask for a copy")
        return self.read(Box(0, 0, *self.shape)).astype(dtype or self.dtype, copy=False)

    def read(self, box: Box) -> NDArray[Any]:
        """Return the values in `box`, which must lie inside the array."""
        # Buffers first: a shard finished in between is then covered by its last buffer, and not
        # missing from both.
        with self._lock:
            covers = [
                (shared, values[shared.shifted(-frame.y0, -frame.x0).slices].copy())
                for frame, values in self._buffers.values()
                if not (shared := frame.intersect(box)).empty
            ]
        read = np.array(self._stored[box.slices], self.dtype)
        for shared, values in covers:
            read[shared.shifted(-box.y0, -box.x0).slices] = values
        return read

    def buffer(self, shard: Shard, frame: Box) -> NDArray[Any]:
        """Return the buffer of a shard, which covers `frame` of this array; the lock is held."""
        if shard not in self._buffers:
            self._buffers[shard] = frame, np.zeros(frame.shape, self.dtype)
        return self._buffers[shard][1]

    def drop(self, shard: Shard) -> None:
        """Forget a shard's buffer."""
        with self._lock:
            self._buffers.pop(shard, None)


LiveLevel = LiveArray | NDArray[np.float16]
Stored = tuple[NDArray[Any], tuple[slice, slice], NDArray[Any]]
"""An array, a place in it, and what is stored of that place."""


class LivePreview:
    """The maps of a running job.

    Attributes
    ----------
    np_levels
        The nanoparticle map as a pyramid of array-likes, finest first; the last is a numpy array
        that changes in place.
    std_levels
        The standard deviation over samples, likewise; empty where a single one is drawn.
    uncertainty, branch, familiarity
        The cell maps, numpy arrays that change in place; the last is None where there is none.
    """

    def __init__(self, store: ResultStore) -> None:
        """Show `store` and the tiles to come."""
        self._layout = store.layout
        self._stored = store.arrays
        self._lock = RLock()
        self._np = _LivePyramid(self._layout, store.arrays.levels, self._lock)
        self._std: _LivePyramid | None = None
        if self._layout.with_std:
            self._std = _LivePyramid(self._layout, store.arrays.std_levels, self._lock)
        self._pyramids = [self._np] if self._std is None else [self._np, self._std]
        self.np_levels: list[LiveLevel] = self._np.levels
        self.std_levels: list[LiveLevel] = [] if self._std is None else self._std.levels
        # Pages of zeros take no memory until they are written to.
        self.uncertainty = np.zeros(self._layout.cells_shape, np.float16)
        self.branch = np.zeros(self._layout.cells_shape, np.uint8)
        self.familiarity: NDArray[np.float16] | None = None
        if self._stored.familiarity is not None:
            self.familiarity = np.zeros(self._layout.cells_shape, np.float16)
        self._settled = {
            (int(row), int(col)) for row, col in np.argwhere(store.status != ShardStatus.PENDING)
        }
        if self._settled:
            for pyramid in self._pyramids:
                pyramid.read_overview()
            self.uncertainty[:] = np.asarray(self._stored.uncertainty[:])
            self.branch[:] = np.asarray(self._stored.branch[:])
            if self.familiarity is not None and self._stored.familiarity is not None:
                self.familiarity[:] = np.asarray(self._stored.familiarity[:])

    @property
    def cells_origin_um(self) -> tuple[float, float]:
        """World position (y, x), in um, of the upper left corner of the two cell maps."""
        return self._layout.cells_origin_um

    @property
    def buffered_bytes(self) -> int:
        """Bytes held for shards in work."""
        return sum(pyramid.buffered_bytes for pyramid in self._pyramids)

    def add(self, tile: Tile) -> None:
        """Show a tile; parts of it that lie in shards already stored are left out."""
        height, width = tile.np.shape
        pixels = Box(tile.y, tile.x, tile.y + height, tile.x + width)
        height, width = tile.branch.shape
        cells = Box(tile.cell_y, tile.cell_x, tile.cell_y + height, tile.cell_x + width)
        with self._lock:
            for shard in self._shards_in(pixels):
                self._np.add(shard, pixels, tile.np)
                if self._std is not None and tile.np_std is not None:
                    self._std.add(shard, pixels, tile.np_std)
            for shard in self._shards_in(cells, of_cells=True):
                frame = self._layout.shard_cells(*shard)
                _paste(self.uncertainty[frame.slices], frame, cells, tile.uncertainty)
                _paste(self.branch[frame.slices], frame, cells, tile.branch)
                if self.familiarity is not None and tile.familiarity is not None:
                    _paste(self.familiarity[frame.slices], frame, cells, tile.familiarity)

    def shard_done(self, row: int, col: int) -> None:
        """Show a shard from the store from now on: call it once the shard is there."""
        cells = self._layout.shard_cells(row, col).slices
        final: list[Stored] = [
            (self.uncertainty, cells, np.asarray(self._stored.uncertainty[cells])),
            (self.branch, cells, np.asarray(self._stored.branch[cells])),
            *(pyramid.stored_overview((row, col)) for pyramid in self._pyramids),
        ]
        if self.familiarity is not None and self._stored.familiarity is not None:
            stored = np.asarray(self._stored.familiarity[cells])
            final.append((self.familiarity, cells, stored))
        with self._lock:
            self._settled.add((row, col))
            for array, where, values in final:
                array[where] = values
            for pyramid in self._pyramids:
                pyramid.drop((row, col))

    def _shards_in(self, box: Box, of_cells: bool = False) -> list[Shard]:
        """Unsettled shards that own pixels (or cells) of `box`."""
        frame_of = self._layout.shard_cells if of_cells else self._layout.shard_box
        first = frame_of(0, 0)
        rows, cols = (
            range(max(0, min(start // step, count - 1)), min(-(-stop // step), count))
            for start, stop, step, count in zip(
                (box.y0, box.x0), (box.y1, box.x1), first.shape, self._layout.grid, strict=True
            )
        )
        return [
            (row, col)
            for row in rows
            for col in cols
            if (row, col) not in self._settled and not frame_of(row, col).intersect(box).empty
        ]


class _LivePyramid:
    """One image of a running job: buffered levels, and the coarsest as a plain array."""

    def __init__(self, layout: ResultLayout, stored: Sequence[Array[Any]], lock: RLock) -> None:
        self._layout = layout
        self._finer = [LiveArray(level, lock) for level in stored[:-1]]
        self._stored = stored[-1]
        # Pages of zeros take no memory until they are written to.
        self._coarsest = np.zeros(self._stored.shape, np.float16)
        self.levels: list[LiveLevel] = [*self._finer, self._coarsest]

    @property
    def buffered_bytes(self) -> int:
        return sum(array.buffered_bytes for array in self._finer)

    def read_overview(self) -> None:
        """Show what is stored of the coarsest level."""
        self._coarsest[:] = np.asarray(self._stored[:])

    def stored_overview(self, shard: Shard) -> Stored:
        """Return the coarsest level, where in it a shard lies, and what is stored there."""
        where = self._level_box(shard, len(self._finer)).slices
        return self._coarsest, where, np.asarray(self._stored[where])

    def add(self, shard: Shard, tile_box: Box, image: NDArray[np.float32]) -> None:
        """Show the part of a tile that lies in a shard; the lock is held."""
        fine = self._level_buffer(shard, 0)
        changed = _paste(fine, self._layout.shard_box(*shard), tile_box, image)
        for k in range(1, len(self.levels)):
            coarse = self._level_buffer(shard, k)
            changed = _coarsen(fine, changed, coarse)
            fine = coarse

    def drop(self, shard: Shard) -> None:
        """Forget a shard's buffers."""
        for live in self._finer:
            live.drop(shard)

    def _level_buffer(self, shard: Shard, k: int) -> NDArray[Any]:
        frame = self._level_box(shard, k)
        if k < len(self._finer):
            return self._finer[k].buffer(shard, frame)
        return self._coarsest[frame.slices]

    def _level_box(self, shard: Shard, k: int) -> Box:
        """Pixels of a shard in level k."""
        frame, factor = self._layout.shard_box(*shard), 2**k
        return Box(
            frame.y0 // factor, frame.x0 // factor, -(-frame.y1 // factor), -(-frame.x1 // factor)
        )


def _paste(buffer: NDArray[Any], frame: Box, box: Box, values: NDArray[Any]) -> Box:
    """Copy the part of `values` (at `box`) that lies in `frame`; return where, in the buffer."""
    shared = frame.intersect(box)
    part = values[shared.shifted(-box.y0, -box.x0).slices]
    inside = shared.shifted(-frame.y0, -frame.x0)
    buffer[inside.slices] = to_half(part) if buffer.dtype == np.float16 else part
    return inside


def _coarsen(fine: NDArray[Any], changed: Box, coarse: NDArray[Any]) -> Box:
    """Bring a pyramid level up to date where the finer one has changed; return where."""
    above = Box(changed.y0 // 2, changed.x0 // 2, -(-changed.y1 // 2), -(-changed.x1 // 2))
    below = fine[2 * above.y0 : 2 * above.y1, 2 * above.x0 : 2 * above.x1]
    coarse[above.slices] = to_half(halve(below))
    return above


def _normalised(index: Any, shape: tuple[int, int]) -> list[tuple[range, bool]]:
    """Return per axis the positions that an index asks for, and whether the axis disappears."""
    parts = list(index) if isinstance(index, tuple) else [index]
    at = next((k for k, part in enumerate(parts) if part is Ellipsis), None)
    if at is not None:
        parts[at : at + 1] = [slice(None)] * (len(shape) - len(parts) + 1)
    parts += [slice(None)] * (len(shape) - len(parts))
    if len(parts) != len(shape):
        raise IndexError(f"a live array has {len(shape)} axes, got index {index!r}")
    return [_positions(part, length) for part, length in zip(parts, shape, strict=True)]


def _positions(part: Any, length: int) -> tuple[range, bool]:
    if isinstance(part, slice):
        return range(length)[part], False
    try:
        position = range(length)[operator.index(part)]
    except TypeError:
        raise IndexError(f"a live array takes integers and slices, got {part!r}") from None
    return range(position, position + 1), True


def _hull(positions: range) -> tuple[int, int]:
    """Return the smallest half-open interval that contains all positions."""
    if not positions:
        return 0, 0
    low, high = min(positions[0], positions[-1]), max(positions[0], positions[-1])
    return low, high + 1

"""Reading a result: lazy dask arrays, world position, the job record.

1. `open_result(path)` checks that the group is one of ours and restores everything from it.
2. Maps are stored as float16 and given as float32: the sum of 65,504 ones is the largest number
   that float16 knows. They are converted chunk by chunk, when they are read.
3. `Result.digest` hashes the content, whatever the shards it was written in: two runs that must be
   equal are equal if their digests are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from napari_damm.store.arrays import (
    Array,
    damage_named,
    layout_of,
    open_arrays,
    open_group,
    record_of,
)
from napari_damm.store.layout import ResultLayout, ShardStatus

_BAND = 512

_Status = NDArray[np.uint8]


@dataclass(frozen=True)
class Result:
    """What a run computed.

    Attributes
    ----------
    levels
        The nanoparticle map (relative intensity, float32): a dask pyramid, finest first.
    std_levels
        The standard deviation over samples, likewise; empty where a single one was drawn.
    uncertainty, branch
        Dask arrays on cells of 32 px: 0..1, float32; and 0 not predicted, 1 uni-modal, 2
        multi-modal, uint8.
    familiarity
        How familiar the images are to the model, on the same cells: 0..1, float32, 0 where not
        predicted. None where the model does not say which images it knows.
    samples
        Each sample on its own, float32: means of 4 x 4 pixels of `np`'s grid, from its corner.
        Empty where a single one was drawn, or by an earlier version.
    status
        `ShardStatus` of every shard when the result was opened.
    record
        The job record.
    layout
        Sizes and world position.
    path
        Where it is stored; None in memory.
    """

    levels: list[da.Array]
    std_levels: list[da.Array]
    uncertainty: da.Array
    branch: da.Array
    status: _Status
    record: dict[str, Any]
    layout: ResultLayout
    path: Path | None
    familiarity: da.Array | None = None
    samples: tuple[da.Array, ...] = ()

    @property
    def np(self) -> da.Array:
        """The nanoparticle map at full resolution."""
        return self.levels[0]

    @property
    def np_std(self) -> da.Array | None:
        """The standard deviation of `np` over the samples; None where a single one was drawn.

        It is scaled by the model's spread factor: `np` plus and minus 1.645 of it is the nominal
        90 % interval.
        """
        return self.std_levels[0] if self.std_levels else None

    @property
    def pixel_size_um(self) -> float:
        """Side of a pixel of `np`; a cell's side is 32 times that."""
        return self.layout.pixel_size_um

    @property
    def origin(self) -> tuple[float, float]:
        """World position (y, x), in um, of the upper left corner of `np`."""
        return self.layout.origin

    @property
    def cells_origin_um(self) -> tuple[float, float]:
        """World position (y, x), in um, of the upper left corner of the two cell maps."""
        return self.layout.cells_origin_um

    @property
    def complete(self) -> bool:
        """Whether the run went to its end; a result can be looked at before."""
        return self.record.get("finished") is not None

    @property
    def shards(self) -> int:
        """How many shards the result is cut into."""
        return int(self.status.size)

    @property
    def shards_done(self) -> int:
        """How many shards have been dealt with: done, background or failed."""
        return int((self.status != ShardStatus.PENDING).sum())

    def settled(self) -> set[tuple[int, int]]:
        """Return the shards (row, col) that need no more work: done or background."""
        return settled_in(self.status)

    def digest(self) -> str:
        """Return the sha256 of all maps as they are stored, however they were cut up."""
        content = hashlib.sha256()
        for given in (self.np, self.uncertainty, self.branch, *self.std_levels[:1]):
            array = _as_type(given, np.float16)
            content.update(f"{array.dtype.str}{array.shape}".encode())
            for start in range(0, array.shape[0], _BAND):
                band = array[start : start + _BAND].compute(scheduler="threads")
                content.update(band.tobytes())
        return content.hexdigest()


def settled_in(status: _Status) -> set[tuple[int, int]]:
    """Return the positions (row, col) of the shards that need no more work."""
    settled = np.isin(status, (ShardStatus.DONE, ShardStatus.BACKGROUND))
    return {(int(row), int(col)) for row, col in np.argwhere(settled)}


def open_result(path: str | Path) -> Result:
    """Open a stored result, finished or not; a run may be writing it.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If what is there is not a result store.
    """
    path = Path(path)
    group = open_group(path)
    with damage_named(path):
        return read_result(group, path)


def read_result(group: zarr.Group, path: Path | None) -> Result:
    """Return the result in an open group of ours."""
    layout = layout_of(group)
    arrays = open_arrays(group, layout)
    return Result(
        levels=[_lazy(level) for level in arrays.levels],
        std_levels=[_lazy(level) for level in arrays.std_levels],
        uncertainty=_lazy(arrays.uncertainty),
        branch=_lazy(arrays.branch),
        status=np.asarray(arrays.status[:], np.uint8),
        record=record_of(group),
        layout=layout,
        path=path,
        familiarity=None if arrays.familiarity is None else _lazy(arrays.familiarity),
        samples=tuple(_lazy(sample) for sample in arrays.samples),
    )


def _lazy(array: Array) -> da.Array:
    # A fresh name each time: napari caches dask blocks by name, and a path may be written anew.
    lazy: da.Array = da.from_array(array, chunks=array.chunks, name=False)  # type: ignore[no-untyped-call]
    return _as_type(lazy, np.float32)


def _as_type(array: da.Array, dtype: type[np.floating[Any]]) -> da.Array:
    """Return an array of floats in another precision, lazily; whole numbers as they are."""
    if array.dtype.kind != "f":
        return array
    converted: da.Array = array.astype(dtype)  # type: ignore[no-untyped-call]
    return converted

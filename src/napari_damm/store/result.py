"""Reading a result: lazy dask arrays, world position, the job record.

1. `open_result(path)` checks that the group is one of ours and restores everything from it.
2. `Result.digest` hashes the content, whatever the shards it was written in: two runs that must be
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
from zarr.storage import LocalStore

from napari_damm.store.arrays import FORMAT, RECORD, STORE, Array, open_arrays
from napari_damm.store.layout import ResultLayout

_BAND = 512

_Status = NDArray[np.uint8]


@dataclass(frozen=True)
class Result:
    """What a run computed.

    Attributes
    ----------
    levels
        The nanoparticle map (relative intensity, float16): a dask pyramid, finest first.
    uncertainty, branch
        Dask arrays on cells of 32 px: 0..1, and 0 not predicted, 1 uni-modal, 2 multi-modal.
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
    uncertainty: da.Array
    branch: da.Array
    status: _Status
    record: dict[str, Any]
    layout: ResultLayout
    path: Path | None

    @property
    def np(self) -> da.Array:
        """The nanoparticle map at full resolution."""
        return self.levels[0]

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

    def digest(self) -> str:
        """Return the sha256 of `np`, `uncertainty` and `branch`, however they were cut up."""
        content = hashlib.sha256()
        for array in (self.np, self.uncertainty, self.branch):
            content.update(f"{array.dtype.str}{array.shape}".encode())
            for start in range(0, array.shape[0], _BAND):
                band = array[start : start + _BAND].compute(scheduler="threads")
                content.update(band.tobytes())
        return content.hexdigest()


def open_result(path: str | Path) -> Result:
    """Open a stored result.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If what is there is not a result store.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give the path of a result (.ome.zarr)")
    refusal = f"{path} is not a napari-damm result: give the folder that predict wrote"
    try:
        group = zarr.open_group(LocalStore(path, read_only=True), mode="r", zarr_format=3)
        own = group.attrs.get(STORE)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(refusal) from error
    if not isinstance(own, dict):
        raise ValueError(refusal)
    if own.get("format") != FORMAT:
        raise ValueError(
            f"{path} has result format {own.get('format')}, this version reads {FORMAT}: "
            "open it with the napari-damm version that wrote it"
        )
    try:
        return read_result(group, path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): predict it again") from error


def read_result(group: zarr.Group, path: Path | None) -> Result:
    """Return the result in an open group of ours."""
    attributes: dict[str, Any] = dict(group.attrs.asdict())
    layout = ResultLayout.from_json(attributes[STORE]["layout"])
    arrays = open_arrays(group, layout)
    return Result(
        levels=[_lazy(level) for level in arrays.levels],
        uncertainty=_lazy(arrays.uncertainty),
        branch=_lazy(arrays.branch),
        status=np.asarray(arrays.status[:], np.uint8),
        record=attributes[RECORD],
        layout=layout,
        path=path,
    )


def _lazy(array: Array) -> da.Array:
    # A fresh name each time: napari caches dask blocks by name, and a path may be written anew.
    lazy: da.Array = da.from_array(array, chunks=array.chunks, name=False)  # type: ignore[no-untyped-call]
    return lazy

"""Writing one run's result, shard by shard.

1. `create` claims the path (never an existing one), writes group, arrays and the job record.
2. `write_shard` writes a whole shard: all pyramid levels, its uncertainty and its branch cells;
   syncs and hashes the files; then commits it with a journal line and its status.
3. `mark` commits a shard that has no pixels (background) or failed.
4. `finish` replaces the record by the final one; `discard` undoes `create`.
5. `verify` names the shards whose files still match the journal: where a resumed run starts from.

One writer per shard. Shards may be written from several threads at a time. Without a path the same
code runs on a memory store, without a journal.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_damm.store.arrays import RECORD, create_group, open_arrays
from napari_damm.store.durable import Journal, disk_full_named, seal, sync_files, unharmed
from napari_damm.store.layout import ResultLayout, ShardStatus, halve, to_half
from napari_damm.store.result import Result, read_result
from napari_damm.tiling import Box

_FREE = "free some space and start again"
_SETTLED = (ShardStatus.DONE, ShardStatus.BACKGROUND)


class ResultStore:
    """The writer of one result; made by `create`."""

    def __init__(self, group: zarr.Group, layout: ResultLayout, path: Path | None) -> None:
        """Write into an open group of ours."""
        self.layout = layout
        self.path = path
        self.arrays = open_arrays(group, layout)
        self._group = group
        self._journal = None if path is None else Journal(path)
        self._status: NDArray[np.uint8] = np.asarray(self.arrays.status[:], np.uint8)
        self._commit_lock = Lock()

    @classmethod
    def create(
        cls, location: str | Path | None, layout: ResultLayout, record: Mapping[str, Any]
    ) -> ResultStore:
        """Create an empty store.

        Parameters
        ----------
        location
            Folder to create; None keeps the result in memory.
        layout
            Sizes and world position.
        record
            Job record, plain JSON values.

        Raises
        ------
        FileExistsError, FileNotFoundError
            If `location` exists, or the folder it is to be in does not.
        DiskFull
            If there is no room even for the empty store.
        """
        plain = json.loads(json.dumps(dict(record), allow_nan=False))
        path = None if location is None else Path(location)
        if path is None:
            return cls(create_group(None, layout, plain), layout, None)
        _claim(path)
        try:
            with disk_full_named("the result", path, "free some space or choose another --out"):
                group = create_group(path, layout, plain)
                made = [file.relative_to(path.parent) for file in path.rglob("zarr.json")]
                sync_files(path.parent, [file.as_posix() for file in made])
            return cls(group, layout, path)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise

    @property
    def status(self) -> NDArray[np.uint8]:
        """`ShardStatus` of every shard, as a copy."""
        with self._commit_lock:
            return self._status.copy()

    def write_shard(
        self,
        row: int,
        col: int,
        image: NDArray[np.float32],
        uncertainty: NDArray[np.floating[Any]],
        branch: NDArray[np.integer[Any]],
        status: ShardStatus = ShardStatus.DONE,
    ) -> None:
        """Write a whole shard and commit it.

        Parameters
        ----------
        row, col
            Which shard.
        image
            Nanoparticle map over `layout.shard_box(row, col)`, finite where predicted, else 0.
        uncertainty, branch
            Cells over `layout.shard_cells(row, col)`.
        status
            `FAILED` where windows are missing that should be there.

        Raises
        ------
        ValueError
            For a wrong shape or NaN.
        DiskFull
            If the disk is full; shards committed before stay valid.
        """
        box, cells = self.layout.shard_box(row, col), self.layout.shard_cells(row, col)
        _check(f"image of shard ({row}, {col})", image, box)
        _check(f"uncertainty of shard ({row}, {col})", uncertainty, cells)
        _check(f"branch of shard ({row}, {col})", branch, cells)
        with disk_full_named(f"shard ({row}, {col})", self.path, _FREE):
            level_image = image
            for level, array in zip(self.layout.levels, self.arrays.levels, strict=True):
                if level.factor > 1:
                    level_image = halve(level_image)
                corner = box.y0 // level.factor, box.x0 // level.factor
                array[Box(0, 0, *level_image.shape).shifted(*corner).slices] = to_half(level_image)
            self.arrays.uncertainty[cells.slices] = to_half(uncertainty)
            self.arrays.branch[cells.slices] = branch.astype(np.uint8)
            files = {} if self.path is None else seal(self.path, self._files(row, col))
            self._commit(row, col, status, files)

    def mark(self, row: int, col: int, status: ShardStatus) -> None:
        """Commit a shard without pixels: background, or failed altogether."""
        self.layout.shard_box(row, col)
        with disk_full_named(f"status of shard ({row}, {col})", self.path, _FREE):
            self._commit(row, col, status, {})

    def finish(self, extra: Mapping[str, Any] | None = None) -> None:
        """Add what is known only now (timings, ...) to the job record, atomically."""
        extra = json.loads(json.dumps(dict(extra or {}), allow_nan=False))
        attributes: dict[str, Any] = dict(self._group.attrs.asdict())
        record = attributes[RECORD] | extra
        with disk_full_named("the job record", self.path, _FREE):
            self._group = self._group.update_attributes({RECORD: record})
            if self.path is not None:
                names = ["zarr.json", "status/c/0/0"]
                sync_files(self.path, [name for name in names if (self.path / name).exists()])

    def discard(self) -> None:
        """Remove what `create` made: for a job that fails before anything is computed."""
        if self.path is not None:
            shutil.rmtree(self.path)

    def result(self) -> Result:
        """Return what is stored, as readers see it."""
        return read_result(self._group, self.path)

    def verify(self) -> set[tuple[int, int]]:
        """Return the shards that are settled and whose files are as they were written."""
        if self._journal is None or self.path is None:
            settled = np.isin(self.status, _SETTLED)
            return {(int(row), int(col)) for row, col in np.argwhere(settled)}
        last = {tuple(entry["shard"]): entry for entry in self._journal.entries()}
        return {
            (row, col)
            for (row, col), entry in last.items()
            if entry["status"] in _SETTLED and unharmed(self.path, entry["files"])
        }

    def _commit(
        self, row: int, col: int, status: ShardStatus, files: dict[str, str | None]
    ) -> None:
        with self._commit_lock:
            if self._journal is not None:
                entry = {"shard": [row, col], "status": int(status), "files": files}
                self._journal.append(entry)
            self._status[row, col] = status
            self.arrays.status[:] = self._status

    def _files(self, row: int, col: int) -> list[str]:
        """Names of the files that hold a shard, relative to the group."""
        names = [f"{level.path}/c/{row}/{col}" for level in self.layout.levels]
        cells, (height, width) = self.layout.shard_cells(row, col), self.layout.cells_chunk
        for i in range(cells.y0 // height, -(-cells.y1 // height)):
            for j in range(cells.x0 // width, -(-cells.x1 // width)):
                names += [f"uncertainty/c/{i}/{j}", f"branch/c/{i}/{j}"]
        return names


def _claim(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"folder {path.parent} does not exist: create it or choose another --out"
        )
    try:
        path.mkdir()
    except FileExistsError:
        raise FileExistsError(f"{path} exists already: choose another --out") from None


def _check(name: str, values: NDArray[Any], box: Box) -> None:
    if values.shape != box.shape:
        raise ValueError(f"{name} must have shape {box.shape}, got {values.shape}")
    if np.isnan(values).any():
        raise ValueError(f"{name} holds NaN: write 0 where nothing was predicted")

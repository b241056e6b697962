"""Writing one run's result, shard by shard: the coordinator.

1. `create` makes group, arrays and job record beside the path (never one that exists), renames the
   whole into place and locks it. `reopen` locks an existing store instead and recovers it:
   leftovers of a kill are swept; shards not as the journal says are pending again.
2. `write_shard` writes a whole shard (`ShardWriter`) and commits it with a journal line and its
   status. A shard whose files a worker process wrote is only committed.
3. `mark` and `mark_many` commit shards that have no pixels (background) or failed.
4. `update_record` adds to the job record, `finish` for the last time; `discard` undoes `create`.
5. `verify` names the settled shards whose files still match the journal.
6. `close` releases the lock. Reading needs none.

Shards may be written and committed from several threads at a time. Without a path the same code
runs on a memory store, without journal and lock.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_damm.store.arrays import (
    Arrays,
    create_group,
    damage_named,
    layout_of,
    open_group,
    record_of,
    with_record,
)
from napari_damm.store.checking import check_own_files
from napari_damm.store.journal import Entry, Journal
from napari_damm.store.layout import ResultLayout, ShardStatus
from napari_damm.store.result import Result, read_result, settled_in
from napari_damm.store.shard_files import RESUME, ShardMaps, ShardWriter
from napari_damm.util.errors import disk_full_named
from napari_damm.util.files import (
    RESUME_OR_REMOVE,
    check_new,
    sweep,
    sync_files,
    unharmed,
    written_folder,
)
from napari_damm.util.lock import WriterLock

_SETTLED = (ShardStatus.DONE, ShardStatus.BACKGROUND)


class ResultStore:
    """The coordinator of one result; made by `create` or `reopen`, one per run.

    Attributes
    ----------
    writer
        Writes the files of shards, here; worker processes open their own.
    """

    def __init__(
        self,
        group: zarr.Group,
        layout: ResultLayout,
        path: Path | None,
        lock: WriterLock | None = None,
    ) -> None:
        """Coordinate writing into an open group of ours; on disk its `lock` must be held."""
        self.writer = ShardWriter(group, layout, path)
        self._group = group
        self._lock = lock
        self._journal = None if path is None else Journal(path, layout.grid)
        self._status: NDArray[np.uint8] = np.full(layout.grid, ShardStatus.PENDING, np.uint8)
        self._commit_lock = Lock()

    @classmethod
    def create(
        cls, location: str | Path | None, layout: ResultLayout, record: Mapping[str, Any]
    ) -> ResultStore:
        """Create an empty store and lock it.

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
        OutputExists, FileNotFoundError
            If `location` exists, or the folder it is to be in does not.
        DiskFull
            If there is no room even for the empty store.
        """
        plain = _plain(record)
        path = None if location is None else Path(location)
        if path is None:
            return cls(create_group(None, layout, plain), layout, None)
        check_new(path, RESUME_OR_REMOVE)
        with disk_full_named("the result", path, "free some space or choose another {store}"):
            # A kill half-way must not leave what is neither a result nor nothing.
            with written_folder(path) as fresh:
                create_group(fresh, layout, plain)
            lock = WriterLock(path)
        return cls(open_group(path, writable=True), layout, path, lock)

    @classmethod
    def reopen(cls, location: str | Path) -> ResultStore:
        """Lock and recover an existing store, to go on writing it.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is nothing at `location`, or something that is not a result store.
        StoreLocked
            If another run is writing it.
        DiskFull
            If there is no room to note what was recovered.
        """
        path = Path(location)
        open_group(path)  # nothing is put, not even a lock, into a folder that is not ours
        check_own_files(path)
        with ExitStack() as undo, disk_full_named("the result", path, RESUME):
            lock = WriterLock(path)
            undo.callback(lock.release)
            # Only now it holds still.
            group = open_group(path, writable=True)
            with damage_named(path):
                record_of(group)
                store = cls(group, layout_of(group), path, lock)
            store._recover(path)
            undo.pop_all()
        return store

    @property
    def layout(self) -> ResultLayout:
        """Sizes and world position."""
        return self.writer.layout

    @property
    def path(self) -> Path | None:
        """Where the store is; None in memory."""
        return self.writer.path

    @property
    def arrays(self) -> Arrays:
        """The zarr arrays, as they fill."""
        return self.writer.arrays

    @property
    def record(self) -> dict[str, Any]:
        """The job record as stored, as a copy."""
        return deepcopy(record_of(self._group))

    @property
    def status(self) -> NDArray[np.uint8]:
        """`ShardStatus` of every shard, as a copy."""
        with self._commit_lock:
            return self._status.copy()

    def settled(self) -> set[tuple[int, int]]:
        """Return the shards (row, col) that need no more work: done or background."""
        return settled_in(self.status)

    def write_shard(
        self,
        row: int,
        col: int,
        maps: ShardMaps,
        status: ShardStatus = ShardStatus.DONE,
        windows: int = 0,
    ) -> None:
        """Write a whole shard (see `ShardWriter.write`) and commit it (see `commit`).

        `status` is `FAILED` where windows are missing that should be there.

        Raises
        ------
        ValueError
            For maps that do not fit the layout, and NaN.
        DiskFull
            If the disk is full; shards committed before stay valid.
        """
        files = self.writer.write(row, col, maps)
        self.commit(row, col, status, files, windows)

    def commit(
        self,
        row: int,
        col: int,
        status: ShardStatus,
        files: Mapping[str, str | None],
        windows: int = 0,
    ) -> None:
        """Make a shard count whose files are written.

        Parameters
        ----------
        row, col
            Which shard.
        status
            What became of it.
        files
            What `ShardWriter.write` returned.
        windows
            How many windows were computed for it.

        Raises
        ------
        DiskFull
            If the disk is full; the shard is pending then.
        """
        self._commit([Entry(int(row), int(col), ShardStatus(status), files, windows)])

    def mark(self, row: int, col: int, status: ShardStatus) -> None:
        """Commit a shard without pixels: background, or failed altogether."""
        self.mark_many([(row, col)], status)

    def mark_many(self, positions: Iterable[tuple[int, int]], status: ShardStatus) -> None:
        """Commit many shards without pixels at the price of one."""
        status = ShardStatus(status)
        self._commit([Entry(int(row), int(col), status, {}) for row, col in positions])

    def update_record(self, extra: Mapping[str, Any]) -> None:
        """Merge plain JSON values into the job record, atomically."""
        extra = _plain(extra)
        with self._commit_lock, disk_full_named("the job record", self.path, RESUME):
            self._check_open()
            record = record_of(self._group) | extra
            self._group = with_record(self._group, self.path, record)

    def finish(self, extra: Mapping[str, Any] | None = None) -> None:
        """Add what is known only now (timings, ...) to the job record, for the last time."""
        self.update_record(extra or {})
        if self.path is not None:
            with disk_full_named("the job record", self.path, RESUME):
                sync_files(self.path, filter(self._exists, ["status/c/0/0"]))
                sweep(self.path)  # a worker that was killed on the way may have left some

    def discard(self) -> None:
        """Remove what `create` made: for a job that fails before anything is computed."""
        self.close()
        if self.path is not None:
            shutil.rmtree(self.path)

    def close(self) -> None:
        """Release the lock; what is stored can still be read, and nothing more be written."""
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        """Return the store itself; leaving closes it."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def result(self) -> Result:
        """Return what is stored, as readers see it."""
        return read_result(self._group, self.path)

    def verify(self) -> set[tuple[int, int]]:
        """Return the shards that are settled and whose files are as they were written."""
        if self.path is None:
            return self.settled()
        entries = self._unharmed(self.path)
        return {(entry.row, entry.col) for entry in entries if entry.status in _SETTLED}

    def _commit(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.layout.shard_box(entry.row, entry.col)
        if not entries:
            return
        what = f"status of shard ({entries[0].row}, {entries[0].col})"
        with self._commit_lock, disk_full_named(what, self.path, RESUME):
            self._check_open()
            if self._journal is not None:
                self._journal.append(entries)
            for entry in entries:
                self._status[entry.row, entry.col] = entry.status
            self.arrays.status[:] = self._status

    def _recover(self, path: Path) -> None:
        """Believe the journal where the files bear it out, and nothing else."""
        sweep(path)
        vouched = np.zeros(self.layout.grid, bool)
        for entry in self._unharmed(path):
            # What a failed shard has is right, only not all: it stays until it is written anew.
            vouched[entry.row, entry.col] = True
            if entry.status in _SETTLED:
                self._status[entry.row, entry.col] = entry.status
        for row, col in np.argwhere(~vouched):
            self.writer.erase(int(row), int(col))
        self.arrays.status[:] = self._status

    def _unharmed(self, path: Path) -> Iterator[Entry]:
        """Yield the last word on each shard whose files are (or are missing) as it says."""
        if self._journal is None:
            return
        for entry in self._journal.latest():
            names = self.writer.files(entry.row, entry.col)
            if unharmed(path, {name: entry.files.get(name) for name in names}):
                yield entry

    def _exists(self, name: str) -> bool:
        return self.path is not None and (self.path / name).exists()

    def _check_open(self) -> None:
        if self._lock is not None and not self._lock.held:
            raise ValueError(f"{self.path} is closed: reopen it to write more")


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that holds nothing but what JSON holds."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(record), allow_nan=False))
    return plain

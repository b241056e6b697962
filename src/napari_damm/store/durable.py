"""What makes written data safe: fsync, hashes, a journal, and one error for a full disk.

1. zarr renames files into place atomically but never syncs them, reads an empty shard file as zeros
   and misses a flipped bit. So every file of a shard is synced, with the directories above it,
   and hashed.
2. Only then a line in the journal says so; the journal is synced as well. A shard without a line,
   or whose files no longer match it, was never written.
3. The journal is JSON lines, appended only. A torn last line (power cut) is skipped.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

JOURNAL = "journal.jsonl"

_FULL = {errno.ENOSPC, errno.EFBIG} | {getattr(errno, "EDQUOT", errno.ENOSPC)}


class DiskFull(OSError):
    """The disk, a quota or a file-size limit is exhausted; what is stored already stays valid."""


@contextmanager
def disk_full_named(what: str, path: Path | None, remedy: str) -> Iterator[None]:
    """Turn every way in which a disk can be full into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        full = DiskFull(f"disk is full: {what} could not be written to {path}; {remedy}")
        full.errno = error.errno
        raise full from error


def sync_files(root: Path, names: Iterable[str]) -> None:
    """Force files (relative names) and the directories from them up to `root` onto the disk."""
    folders = {root}
    for name in names:
        with (root / name).open("rb+") as file:
            os.fsync(file.fileno())
        folders.update(root / parent for parent in PurePosixPath(name).parents)
    for folder in folders:
        _sync_folder(folder)


def file_hash(path: Path) -> str | None:
    """Return the sha256 of a file's bytes; None where there is no file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def seal(root: Path, names: list[str]) -> dict[str, str | None]:
    """Sync files (relative names) and return their hashes; None for one that does not exist.

    A file is missing by design where a shard is all zeros.
    """
    hashes = {name: file_hash(root / name) for name in names}
    sync_files(root, [name for name, value in hashes.items() if value is not None])
    return hashes


def unharmed(root: Path, hashes: dict[str, str | None]) -> bool:
    """Whether all files are (or are missing) as they were sealed."""
    return all(file_hash(root / name) == value for name, value in hashes.items())


class Journal:
    """The append-only list of what is safely stored in a group."""

    def __init__(self, root: Path) -> None:
        """Use the journal of the group at `root`; it need not exist yet."""
        self._path = root / JOURNAL
        self._root = root

    def append(self, entry: dict[str, Any]) -> None:
        """Add an entry, with the time, and sync it."""
        stamped = entry | {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        with self._path.open("a+b") as file:
            line = json.dumps(stamped, sort_keys=True).encode() + b"\n"
            file.write(line if _ends_clean(self._path) else b"\n" + line)
        sync_files(self._root, [JOURNAL])

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries, oldest first; lines that were torn are not entries."""
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and "shard" in entry:
                yield entry


def _ends_clean(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _sync_folder(path: Path) -> None:
    # Windows cannot open a directory; NTFS journals its names itself.
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

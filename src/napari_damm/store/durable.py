"""What makes written files safe: fsync, hashes, and one error for a full disk.

1. zarr renames files into place atomically but never syncs them, reads an empty shard file as zeros
   and misses a flipped bit. So every file of a shard is synced, with the directories above it,
   and hashed.
2. A file that is replaced is synced before its new content takes the name.
3. A writer that is killed leaves files under temporary names; they are swept.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

RESUME = "free some space and run again with --resume (resume=True in Python)"

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.partial$")
"""zarr's `LocalStore` writes to such names before it renames, and so do we."""

_FULL = {errno.ENOSPC, errno.EFBIG} | {getattr(errno, "EDQUOT", errno.ENOSPC)}


class DiskFull(OSError):
    """The disk, a quota or a file-size limit is exhausted; what is stored already stays valid."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the number when a worker process sends the error: OSError itself would lose it."""
        return _disk_full, (str(self), self.errno)


def _disk_full(message: str, number: int | None) -> DiskFull:
    full = DiskFull(message)
    full.errno = number
    return full


@contextmanager
def disk_full_named(what: str, path: Path | None, remedy: str) -> Iterator[None]:
    """Turn every way in which a disk can be full into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        message = f"disk is full: {what} could not be written to {path}; {remedy}"
        raise _disk_full(message, error.errno) from error


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


def unharmed(root: Path, hashes: Mapping[str, str | None]) -> bool:
    """Whether all files are (or are missing) as they were sealed."""
    return all(file_hash(root / name) == value for name, value in hashes.items())


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file so that a crash at any time leaves either the old content or the new."""
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.partial")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def sweep(root: Path) -> None:
    """Remove the half-written files that a killed writer left, ours and zarr's."""
    for file in root.rglob("*.partial"):
        if _TEMPORARY.search(file.name):
            file.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    # Windows cannot open a directory; NTFS journals its names itself.
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Files that are written completely or not at all, and are there after a power cut.

1. Nothing is written over: `check_new` refuses an output that exists, in the same words everywhere.
2. `written_whole` writes a file, `written_folder` a folder, under a temporary name beside it;
   forced onto the disk it takes its name in one step. A link in its place is replaced.
3. zarr renames files into place but never forces them onto the disk, reads an empty shard file as
   zeros and misses a flipped bit. So every file of a shard is synced, with the folders above it,
   and hashed (`seal`).
4. A writer that is killed leaves files under temporary names; `sweep` removes them.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO

from napari_damm.util.advice import Advice

REMOVE = "remove it or choose another name"
RESUME_OR_REMOVE = f"continue it with {{resume}}, {REMOVE}"

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.partial$")
"""zarr's `LocalStore` writes to such names before it renames, and so do we."""

LONGEST_NAME = 255
"""Bytes of a name that file systems take."""
_LONGEST_STEM = 160
"""Bytes of a name that its temporary name repeats: a name may have 255 in all."""


class OutputExists(FileExistsError, ValueError):
    """Something is there already where a result is to go."""


LEFTOVERS = {
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon", "__macosx",
    "lost+found", "system volume information",
}  # fmt: skip
"""What Windows, macOS and Linux leave in folders (macOS's "Icon" ends in a line break)."""
LEFTOVER_STARTS = (
    ".",
    "@eadir",
    "#recycle",
    "@recycle",
    "#snapshot",
    "@snapshot",
    "$recycle",
    "~$",
)
"""Hidden files, what a NAS (Synology, QNAP) keeps for itself, the wastebasket, files in use."""


def check_new(path: Path, remedy: str = REMOVE) -> Path:
    """Return `path` if something new can be put there.

    Raises
    ------
    OutputExists
        If it exists, if only as a link that leads nowhere; `remedy` is a template of `Advice`.
    FileNotFoundError, PermissionError
        If the folder around it does not exist, or may not be written.
    """
    if os.path.lexists(path):
        raise output_exists(path, remedy)
    check_folder(path)
    return path


def output_exists(path: Path, remedy: str = REMOVE) -> OutputExists:
    """Say that an output is there already, and what to do."""
    return OutputExists(Advice(f"{path} already exists", remedy))


def check_folder(path: Path) -> None:
    """Refuse an output whose folder is not there, or may not be written.

    Raises
    ------
    FileNotFoundError, PermissionError
        If so.
    """
    parent = path.absolute().parent
    if not parent.is_dir():
        raise FileNotFoundError(f"the folder {parent} does not exist: create it first")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Refuse a place in a folder that may not be written, before work is done for it.

    Raises
    ------
    PermissionError
        Naming that folder: the place itself, if it is one, or the nearest above that there is.
    """
    path = path.absolute()
    nearest = next(place for place in (path, *path.parents) if place.exists())
    if nearest.is_dir() and not os.access(nearest, os.W_OK):
        raise PermissionError(f"the folder {nearest} may not be written: choose another place")


def check_own(*paths: Path) -> None:
    """Refuse names in a folder of ours that lead elsewhere, and what is neither file nor folder.

    Raises
    ------
    OSError
        If one is a link, a pipe or a device; what does not exist is well.
    """
    for path in paths:
        if not os.path.lexists(path):
            continue
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            what = "a link" if stat.S_ISLNK(mode) else "a pipe or a device"
            raise OSError(f"{path} is {what}, which nothing is read from or written to: remove it")


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Write beside `path`, flush to the disk, then rename: never leaves a partial file.

    Raises
    ------
    OSError
        With the system's number, if it cannot be written: what was there before stays.
    """
    check_folder(path)
    partial = _temporary(path)
    try:
        with partial.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno is None:  # not the system's: it speaks for itself
            raise
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from None
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_folder(path.absolute().parent)


@contextmanager
def written_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill; flushed to the disk it takes the name `path`, whole or not at all.

    Raises
    ------
    OutputExists
        If `path` exists.
    OSError
        If it cannot be written; nothing is left then.
    """
    partial = _temporary(check_new(path))
    try:
        partial.mkdir()
        yield partial
        written = [file for file in partial.rglob("*") if file.is_file()]
        sync_files(partial, [file.relative_to(partial).as_posix() for file in written])
        partial.rename(path)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            said = f"cannot be written: {error.strerror}"  # a full disk does not say where
            raise OSError(error.errno, said, str(path)) from None
        raise
    _sync_folder(path.absolute().parent)
    for left in path.parent.glob(".*.partial"):  # of one that was killed on the way
        if left.is_dir() and _TEMPORARY.sub("", left.name) == f".{_stem(path)}":
            shutil.rmtree(left, ignore_errors=True)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file so that a crash at any time leaves either the old content or the new."""
    with written_whole(path) as stream:
        stream.write(content)


def copy_file(source: Path, target: Path, expected: str | None = None) -> None:
    """Copy a file, whole or not at all; `expected` is its SHA-256 where it was read before.

    Raises
    ------
    ValueError
        If its bytes are others by now.
    """
    with open_regular(source) as original, written_whole(target) as copy:
        digest = hashlib.sha256()
        while piece := original.read(2**20):
            digest.update(piece)
            copy.write(piece)
        if expected not in (None, digest.hexdigest()):
            raise ValueError(f"{source} changed while it was read: try again")


def open_regular(path: str | Path) -> BufferedReader:
    """Open a file to read it; a pipe would block for ever, a device never end.

    Raises
    ------
    OSError
        If it cannot be opened, or is a folder, a pipe, a device.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def is_leftover(name: str) -> bool:
    """Return whether a system, a NAS or a program keeps its own things under this name."""
    plain = name.strip().casefold()
    return plain in LEFTOVERS or plain.startswith(LEFTOVER_STARTS)


def sha256(path: str | Path) -> str:
    """Sum up a file as hexadecimal digits, reading it piece by piece."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(root: Path, names: list[str]) -> dict[str, str | None]:
    """Sync files (relative names) and return their hashes; None for one that does not exist.

    A file is missing by design where a shard is all zeros.
    """
    hashes = {name: _hash_if_there(root / name) for name in names}
    sync_files(root, [name for name, value in hashes.items() if value is not None])
    return hashes


def unharmed(root: Path, hashes: Mapping[str, str | None]) -> bool:
    """Whether all files are (or are missing) as they were sealed."""
    return all(_hash_if_there(root / name) == value for name, value in hashes.items())


def sync_files(root: Path, names: Iterable[str]) -> None:
    """Force files (relative names) and the directories from them up to `root` onto the disk."""
    folders = {root}
    for name in names:
        with (root / name).open("rb+") as file:
            os.fsync(file.fileno())
        folders.update(root / parent for parent in PurePosixPath(name).parents)
    for folder in folders:
        _sync_folder(folder)


def sweep(root: Path) -> None:
    """Remove the half-written files that a killed writer left, ours and zarr's."""
    for file in root.rglob("*.partial"):
        if _TEMPORARY.search(file.name):
            file.unlink(missing_ok=True)


def _hash_if_there(path: Path) -> str | None:
    try:
        return sha256(path)
    except FileNotFoundError:
        return None


def _temporary(path: Path) -> Path:
    return path.with_name(f".{_stem(path)}.{uuid.uuid4().hex}.partial")


def _stem(path: Path) -> str:
    return path.name.encode(errors="surrogateescape")[:_LONGEST_STEM].decode(errors="ignore")


def _sync_folder(path: Path) -> None:
    # Windows cannot open a directory; NTFS journals its names itself.
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

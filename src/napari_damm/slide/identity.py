"""What tells one input from another, as plain JSON: it is saved with every result.

1. A file is known by its path, size, modification time, and the hash of its content: of all its
   bytes, or, where it is larger than 64 MiB, of 64 blocks of 1 MiB from its first to its last;
   of a stack, the z plane and time point count, too.
2. An OME-Zarr directory likewise, over all its files: hashed are its metadata files, and names
   and sizes of all files; with their content, or, where they hold more than 64 MiB, the first MiB
   of 64 of them.
3. Arrays are known by the hash of their content, read in bands of rows; of those too large to
   read for this, the coarsest level and five samples of the finest are hashed, and it says so.
4. Files may be copied: what has another modification time but the same size and hash is the same
   (`without_times`). `check_files` compares what an identity says with the files as they are now:
   a job asks before it stores anything.
"""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.slide.planes import Plane
from napari_damm.slide.raster import Raster
from napari_damm.util.errors import JobFault
from napari_damm.util.files import is_leftover

ChosenFile = tuple[Path, dict[str, int], tuple[Path, ...]]

ALL_BYTES = "all bytes"
MIB = 2**20
HASHED_BLOCKS = 64
HASHED_BYTES = HASHED_BLOCKS * MIB
LARGEST_HASHED_PIXELS = 256 * MIB
MOST_REMEMBERED = 4096
BAND_PIXELS = 4 * MIB
SAMPLE_SIDE = 512
ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
HIDDEN_METADATA = (*ZARR_METADATA, ".zmetadata")


def identify_files(files: dict[str, ChosenFile], rasters: dict[str, Raster]) -> dict[str, Any]:
    """Identify an input from files: `files` and `rasters` by role.

    A file is its path, where it is a stack the numbers of the planes chosen by axis, and the files
    beside it that hold planes of the same image.
    """
    states = {path: file_identity(path) for path in {path for path, _, _ in files.values()}}
    roles = {
        role: states[path] | _place(rasters[role]) | chosen | _set(beside)
        for role, (path, chosen, beside) in files.items()
    }
    return {"kind": "files", **roles}


def identify_arrays(
    rasters: dict[str, Raster], titles: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Identify an input from arrays, by role. Reads them.

    `titles` are what people call the pictures, by channel: they are no part of the identity.
    """
    known = titles or {}
    named = {
        role: {"name": known[raster.name]} if raster.name in known else {}
        for role, raster in rasters.items()
    }
    return {
        "kind": "arrays",
        **{
            role: _content(raster) | _place(raster) | named[role]
            for role, raster in rasters.items()
        },
    }


def _set(beside: tuple[Path, ...]) -> dict[str, Any]:
    return {"set": [file_identity(path) for path in beside]} if beside else {}


def _place(raster: Raster) -> dict[str, Any]:
    return {
        "channel": raster.name,
        "pixel_size_um": raster.pixel_size_um,
        "origin_um": [float(value) for value in raster.origin],
    }


def check_files(identity: Mapping[str, Any], whole: bool = False) -> None:
    """Check that the files which an identity names are still those it was made of.

    Parameters
    ----------
    identity
        What `identify_files` returned; that of arrays names no files, and is not checked.
    whole
        Look at every file of a directory, not at its metadata alone: there may be a million.

    Raises
    ------
    JobFault
        Naming the file that was replaced, changed or removed.
    """
    roles = [v for v in identity.values() if isinstance(v, Mapping) and "path" in v]
    entries = {v["path"]: v for v in (*roles, *(o for v in roles for o in v.get("set", ())))}
    for path, entry in entries.items():
        try:
            changed = _has_changed(Path(path), entry, whole)
        except OSError as error:
            reason = error.strerror or error
            raise JobFault(f"{path} cannot be read any more ({reason}): put it back") from error
        if changed:
            raise JobFault(
                f"{path} was changed or replaced while it was read: put the file back that the "
                "result was begun with to go on, or begin another result"
            )


def without_times(identity: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return `identity` as far as it can be compared with `other`.

    Where both know a file by its content, when it was written does not matter; where one is of a
    version that knew the first and last MiB alone, it does.
    """
    return {
        role: _comparable(entry, other.get(role)) if isinstance(entry, Mapping) else entry
        for role, entry in identity.items()
    }


def _comparable(entry: Mapping[str, Any], other: Any) -> dict[str, Any]:
    both = isinstance(other, Mapping) and all("sha256_content" in e for e in (entry, other))
    left_out = ("mtime_ns", "sha256_ends") if both else ("sha256_content", "hashed")
    kept = {key: value for key, value in entry.items() if key not in left_out}
    if "set" in kept:
        kept["set"] = [[one["name"], one["size"], one["sha256_content"]] for one in kept["set"]]
    return kept


def _has_changed(path: Path, entry: Mapping[str, Any], whole: bool) -> bool:
    if path.is_dir() and not whole:
        # Metadata are rewritten with an image; chunks alone are looked at before the end.
        return bool(_hash_files(path, _top_metadata(path)) != entry["sha256_top"])
    state = _Folder.of(path) if path.is_dir() else _File.of(path)
    if (state.size, state.mtime_ns) == (entry["size"], entry["mtime_ns"]):
        return False
    return bool(state.size != entry["size"] or state.content() != entry["sha256_content"])


def file_identity(path: Path) -> dict[str, Any]:
    """Return what tells a file, or an OME-Zarr directory, from others."""
    state = _Folder.of(path) if path.is_dir() else _File.of(path)
    entry = {
        "path": str(path),
        "name": path.name,
        "size": state.size,
        "mtime_ns": state.mtime_ns,
        "sha256_ends": state.ends(),
        "sha256_content": state.content(),
        "hashed": ALL_BYTES if state.size <= HASHED_BYTES else f"{HASHED_BLOCKS} parts of it",
    }
    return entry | ({"sha256_top": _hash_files(path, _top_metadata(path))} if path.is_dir() else {})


@dataclass(frozen=True)
class _File:
    """A file as it is now."""

    path: Path
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> _File:
        stat = path.stat()
        return cls(path, stat.st_size, stat.st_mtime_ns)

    def ends(self) -> str:
        return _hash_blocks(self.path, (0, max(MIB, self.size - MIB)))

    def content(self) -> str:
        return _content_hash(self)


@lru_cache(maxsize=64)
def _content_hash(file: _File) -> str:
    """Return the hash of a file's content (step 1); size and time say when to read it anew."""
    if file.size <= HASHED_BYTES:
        return _hash_blocks(file.path, range(0, file.size, MIB))
    last = file.size - MIB
    return _hash_blocks(file.path, [k * last // (HASHED_BLOCKS - 1) for k in range(HASHED_BLOCKS)])


def _hash_blocks(path: Path, starts: Iterable[int]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in starts:
            file.seek(start)
            digest.update(file.read(MIB))
    return digest.hexdigest()


@dataclass(frozen=True)
class _Folder:
    """All files below a directory as they are now, in one walk: there may be a million.

    `listing` is the sum of the hashes of their names and sizes, as they come in any order;
    `chosen` are those to hash, by that hash.
    """

    path: Path
    size: int
    mtime_ns: int
    metadata: tuple[Path, ...]
    listing: int
    chosen: tuple[tuple[str, Path], ...]

    @classmethod
    def of(cls, path: Path) -> _Folder:
        size, mtime_ns, listing = 0, 0, 0
        metadata: list[Path] = []
        chosen: list[tuple[str, Path]] = []
        for entry in _files_below(path):
            stat, file = entry.stat(), Path(entry.path)
            size, mtime_ns = size + stat.st_size, max(mtime_ns, stat.st_mtime_ns)
            name = f"{file.relative_to(path).as_posix()} {stat.st_size}"
            own = hashlib.sha256(name.encode()).hexdigest()
            listing += int(own, 16)
            chosen.append((own, file))
            if size > HASHED_BYTES and len(chosen) > MOST_REMEMBERED:
                chosen = heapq.nsmallest(HASHED_BLOCKS, chosen)
            if entry.name in ZARR_METADATA:
                metadata.append(file)
        if size > HASHED_BYTES:
            chosen = heapq.nsmallest(HASHED_BLOCKS, chosen)
        return cls(path, size, mtime_ns, tuple(metadata), listing, tuple(sorted(chosen)))

    def ends(self) -> str:
        return _hash_files(self.path, self.metadata)

    def content(self) -> str:
        digest = hashlib.sha256(f"{self.listing:x}".encode())
        for name, path in self.chosen:
            with path.open("rb") as file:
                part = file.read(MIB if self.size > HASHED_BYTES else HASHED_BYTES)
            digest.update(name.encode() + part)
        return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    todo = [os.fspath(folder)]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if is_leftover(entry.name) and entry.name not in HIDDEN_METADATA:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.is_file():
                    yield entry


def _hash_files(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _top_metadata(folder: Path) -> Iterator[Path]:
    """Yield the metadata of an image and of its levels, which lie right below it."""
    for place in (folder, *(Path(e.path) for e in os.scandir(folder) if e.is_dir())):
        yield from (file for name in ZARR_METADATA if (file := place / name).is_file())


def _content(raster: Raster) -> dict[str, Any]:
    finest, coarsest = raster.planes[0], raster.planes[-1]
    height, width = raster.shape
    digest = hashlib.sha256(f"{finest.dtype.str} {height} {width}".encode())
    whole = height * width <= LARGEST_HASHED_PIXELS
    if whole:
        _hash_box(digest, finest, (0, height), (0, width))
    else:
        side = SAMPLE_SIDE
        for y, x in ((0, 0), (0, 1), (0.5, 0.5), (1, 0), (1, 1)):
            top, left = int(y * (height - side)), int(x * (width - side))
            _hash_box(digest, finest, (top, top + side), (left, left + side))
        if coarsest.shape[0] * coarsest.shape[1] <= LARGEST_HASHED_PIXELS:
            _hash_box(digest, coarsest, (0, coarsest.shape[0]), (0, coarsest.shape[1]))
    return {
        "shape": [height, width],
        "dtype": finest.dtype.name,
        "sha256": digest.hexdigest(),
        "hashed": "all pixels" if whole else "coarsest level and samples",
    }


def _hash_box(digest: Any, plane: Plane, rows: tuple[int, int], cols: tuple[int, int]) -> None:
    """Hash a box row by row, so that the digest does not depend on how the array is chunked."""
    step = max(1, BAND_PIXELS // max(1, cols[1] - cols[0]))
    for top in range(rows[0], rows[1], step):
        band = plane[top : min(top + step, rows[1]), cols[0] : cols[1]]
        digest.update(np.ascontiguousarray(band).data)

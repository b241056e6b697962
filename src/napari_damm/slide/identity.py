"""What tells one input from another, as plain JSON: it is saved with every result.

1. A file is known by its path, size, modification time and the hash of its first and last MiB; of
   a stack, the z plane and time point count, too.
2. An OME-Zarr directory likewise, over all its files; hashed are its metadata files.
3. Arrays are known by the hash of their content, read in bands of rows; of those too large to
   read for this, the coarsest level and five samples of the finest are hashed, and it says so.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.slide.planes import Plane
from napari_damm.slide.raster import Raster

ChosenFile = tuple[Path, dict[str, int]]

MIB = 2**20
LARGEST_HASHED_PIXELS = 256 * MIB
BAND_PIXELS = 4 * MIB
SAMPLE_SIDE = 512
ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


def identify_files(files: dict[str, ChosenFile], rasters: dict[str, Raster]) -> dict[str, Any]:
    """Identify an input from files: `files` and `rasters` by role.

    A file is its path and, where it is a stack, the numbers of the planes chosen by axis.
    """
    states = {path: _file(path) for path in {path for path, _ in files.values()}}
    roles = {
        role: states[path] | _place(rasters[role]) | chosen
        for role, (path, chosen) in files.items()
    }
    return {"kind": "files", **roles}


def identify_arrays(rasters: dict[str, Raster]) -> dict[str, Any]:
    """Identify an input from arrays, by role. Reads them."""
    return {
        "kind": "arrays",
        **{role: _content(raster) | _place(raster) for role, raster in rasters.items()},
    }


def _place(raster: Raster) -> dict[str, Any]:
    return {
        "channel": raster.name,
        "pixel_size_um": raster.pixel_size_um,
        "origin_um": [float(value) for value in raster.origin],
    }


def _file(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    if path.is_dir():
        size, mtime_ns, metadata = _walk(path)
        for item in sorted(metadata):
            digest.update(item.relative_to(path).as_posix().encode() + item.read_bytes())
    else:
        size, mtime_ns = path.stat().st_size, path.stat().st_mtime_ns
        with path.open("rb") as file:
            digest.update(file.read(MIB))
            file.seek(max(MIB, size - MIB))
            digest.update(file.read(MIB))
    return {
        "path": str(path),
        "name": path.name,
        "size": size,
        "mtime_ns": mtime_ns,
        "sha256_ends": digest.hexdigest(),
    }


def _walk(folder: Path) -> tuple[int, int, list[Path]]:
    """Return the bytes and the last change of all files below, and those that are metadata.

    Chunks are counted as they come: there may be a million of them.
    """
    size, mtime_ns, metadata, todo = 0, 0, [], [folder]
    while todo:
        with os.scandir(todo.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    todo.append(Path(entry.path))
                elif entry.is_file():
                    stat = entry.stat()
                    size, mtime_ns = size + stat.st_size, max(mtime_ns, stat.st_mtime_ns)
                    if entry.name in ZARR_METADATA:
                        metadata.append(Path(entry.path))
    return size, mtime_ns, metadata


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

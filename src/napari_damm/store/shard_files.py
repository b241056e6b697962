"""Writing the files of whole shards; knows neither journal nor status nor lock.

1. A shard (`ShardMaps`) is all pyramid levels over its pixels, its uncertainty and branch cells.
   Level k is made from level k - 1 before that is rounded.
2. The files are synced and hashed. The hashes go to the coordinator, `ResultStore.commit`: a shard
   without its commit was never written.

One writer per shard and whole shards only: shards share no file, so any number of threads and
processes may write different ones at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_damm.store.arrays import Array, damage_named, layout_of, open_arrays, open_group
from napari_damm.store.layout import SAMPLE_PX, Level, ResultLayout, halve, to_half
from napari_damm.util.errors import disk_full_named
from napari_damm.util.files import seal
from napari_damm.util.tiling import Box

RESUME = "free some space and run again with {resume}"


@dataclass(frozen=True)
class ShardMaps:
    """What a shard holds.

    Attributes
    ----------
    image
        Nanoparticle map over `layout.shard_box(row, col)`, finite where predicted, else 0.
    uncertainty, branch
        Cells over `layout.shard_cells(row, col)`.
    std
        Standard deviation over samples, like `image`; None where the layout has no such map.
    familiarity
        Cells like `uncertainty`; None where the layout has no such map.
    samples
        Each sample in means of 4 x 4 pixels from the shard's corner; none where the layout has
        none.
    """

    image: NDArray[np.floating[Any]]
    uncertainty: NDArray[np.floating[Any]]
    branch: NDArray[np.integer[Any]]
    std: NDArray[np.floating[Any]] | None = None
    familiarity: NDArray[np.floating[Any]] | None = None
    samples: Sequence[NDArray[np.floating[Any]]] = ()


class ShardWriter:
    """Writes whole shards into a group of ours."""

    def __init__(self, group: zarr.Group, layout: ResultLayout, path: Path | None) -> None:
        """Write into an open group; without a path it is in memory."""
        self.layout = layout
        self.path = path
        self.arrays = open_arrays(group, layout)

    @classmethod
    def open(cls, path: str | Path) -> ShardWriter:
        """Open an existing store to write shards, in a worker process for instance.

        Raises
        ------
        FileNotFoundError, ValueError
            As `result.open_result`.
        """
        path = Path(path)
        group = open_group(path, writable=True)
        with damage_named(path):
            return cls(group, layout_of(group), path)

    def write(self, row: int, col: int, maps: ShardMaps) -> dict[str, str | None]:
        """Write a whole shard and make it durable.

        Returns
        -------
        dict
            sha256 of each file, by name relative to the group; None for one that is missing because
            all in it is zero. Empty in memory.

        Raises
        ------
        ValueError
            For a wrong shape, NaN, or a standard deviation where none is expected or vice versa.
        DiskFull
            If the disk is full.
        """
        shard = f"shard ({row}, {col})"
        box, cells = self.layout.shard_box(row, col), self.layout.shard_cells(row, col)
        _check(f"image of {shard}", maps.image, box)
        _check(f"uncertainty of {shard}", maps.uncertainty, cells)
        _check(f"branch of {shard}", maps.branch, cells)
        if (maps.std is not None) != self.layout.with_std:
            verdict = "is not in the layout" if maps.std is not None else "is missing"
            raise ValueError(f"std of {shard} {verdict}")
        if maps.std is not None:
            _check(f"std of {shard}", maps.std, box)
        familiarity = maps.familiarity if self.layout.with_familiarity else None
        if self.layout.with_familiarity:
            if familiarity is None:
                raise ValueError(f"familiarity of {shard} is missing")
            _check(f"familiarity of {shard}", familiarity, cells)
        corners = box.y0 // SAMPLE_PX, box.x0 // SAMPLE_PX
        small = Box(0, 0, *(-(-n // SAMPLE_PX) for n in box.shape)).shifted(*corners)
        if len(maps.samples) != self.layout.samples:
            count = self.layout.samples
            raise ValueError(f"{shard} must have {count} samples, got {len(maps.samples)}")
        for k, sample in enumerate(maps.samples):
            _check(f"sample {k} of {shard}", sample, small)
        with disk_full_named(shard, self.path, RESUME):
            _write_pyramid(self.layout.levels, self.arrays.levels, box, maps.image)
            if maps.std is not None:
                _write_pyramid(self.layout.std_levels, self.arrays.std_levels, box, maps.std)
            for sample, array in zip(maps.samples, self.arrays.samples, strict=True):
                array[small.slices] = to_half(sample)
            self.arrays.uncertainty[cells.slices] = to_half(maps.uncertainty)
            self.arrays.branch[cells.slices] = maps.branch.astype(np.uint8)
            if familiarity is not None and self.arrays.familiarity is not None:
                self.arrays.familiarity[cells.slices] = to_half(familiarity)
            return {} if self.path is None else seal(self.path, self.files(row, col))

    def files(self, row: int, col: int) -> list[str]:
        """Names of the files that hold a shard, relative to the group."""
        names = [f"{level.path}/c/{row}/{col}" for level in self.layout.all_levels]
        cells, (height, width) = self.layout.shard_cells(row, col), self.layout.cells_chunk
        for i in range(cells.y0 // height, -(-cells.y1 // height)):
            for j in range(cells.x0 // width, -(-cells.x1 // width)):
                names += [f"{name}/c/{i}/{j}" for name in self._cell_maps]
        return names

    @property
    def _cell_maps(self) -> tuple[str, ...]:
        more = ("familiarity",) if self.layout.with_familiarity else ()
        return ("uncertainty", "branch", *more)

    def erase(self, row: int, col: int) -> None:
        """Remove the files of a shard that nobody vouches for.

        A shard at the edge is merged into the file that is there, and would stumble over a torn
        one; so would whoever reads the maps.
        """
        if self.path is not None:
            for name in self.files(row, col):
                (self.path / name).unlink(missing_ok=True)


def _write_pyramid(
    levels: Sequence[Level], arrays: Sequence[Array], box: Box, image: NDArray[np.floating[Any]]
) -> None:
    for level, array in zip(levels, arrays, strict=True):
        if level.factor > 1:
            image = halve(image)
        corner = box.y0 // level.factor, box.x0 // level.factor
        array[Box(0, 0, *image.shape).shifted(*corner).slices] = to_half(image)


def _check(name: str, values: NDArray[Any], box: Box) -> None:
    if values.shape != box.shape:
        raise ValueError(f"{name} must have shape {box.shape}, got {values.shape}")
    if np.isnan(values).any():
        raise ValueError(f"{name} holds NaN: write 0 where nothing was predicted")

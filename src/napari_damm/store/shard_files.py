"""Writing the files of whole shards; knows neither journal nor status nor lock.

1. A shard is all pyramid levels over its pixels, its uncertainty and its branch cells. Level k is
   made from level k - 1 before that is rounded.
2. The files are synced and hashed. The hashes go to the coordinator, `ResultStore.commit`: a shard
   without its commit was never written.

One writer per shard and whole shards only: shards share no file, so any number of threads and
processes may write different ones at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_damm.store.arrays import damage_named, layout_of, open_arrays, open_group
from napari_damm.store.durable import RESUME, disk_full_named, seal
from napari_damm.store.layout import ResultLayout, halve, to_half
from napari_damm.tiling import Box


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
        FileNotFoundError
            If there is nothing at `path`.
        ValueError
            If what is there is not a result store.
        """
        path = Path(path)
        group = open_group(path, writable=True)
        with damage_named(path):
            return cls(group, layout_of(group), path)

    def write(
        self,
        row: int,
        col: int,
        image: NDArray[np.float32],
        uncertainty: NDArray[np.floating[Any]],
        branch: NDArray[np.integer[Any]],
    ) -> dict[str, str | None]:
        """Write a whole shard and make it durable.

        Parameters
        ----------
        row, col
            Which shard.
        image
            Nanoparticle map over `layout.shard_box(row, col)`, finite where predicted, else 0.
        uncertainty, branch
            Cells over `layout.shard_cells(row, col)`.

        Returns
        -------
        dict
            sha256 of each file, by name relative to the group; None for one that is missing because
            all in it is zero. Empty in memory.

        Raises
        ------
        ValueError
            For a wrong shape or NaN.
        DiskFull
            If the disk is full.
        """
        box, cells = self.layout.shard_box(row, col), self.layout.shard_cells(row, col)
        _check(f"image of shard ({row}, {col})", image, box)
        _check(f"uncertainty of shard ({row}, {col})", uncertainty, cells)
        _check(f"branch of shard ({row}, {col})", branch, cells)
        with disk_full_named(f"shard ({row}, {col})", self.path, RESUME):
            level_image = image
            for level, array in zip(self.layout.levels, self.arrays.levels, strict=True):
                if level.factor > 1:
                    level_image = halve(level_image)
                corner = box.y0 // level.factor, box.x0 // level.factor
                array[Box(0, 0, *level_image.shape).shifted(*corner).slices] = to_half(level_image)
            self.arrays.uncertainty[cells.slices] = to_half(uncertainty)
            self.arrays.branch[cells.slices] = branch.astype(np.uint8)
            return {} if self.path is None else seal(self.path, self.files(row, col))

    def files(self, row: int, col: int) -> list[str]:
        """Names of the files that hold a shard, relative to the group."""
        names = [f"{level.path}/c/{row}/{col}" for level in self.layout.levels]
        cells, (height, width) = self.layout.shard_cells(row, col), self.layout.cells_chunk
        for i in range(cells.y0 // height, -(-cells.y1 // height)):
            for j in range(cells.x0 // width, -(-cells.x1 // width)):
                names += [f"uncertainty/c/{i}/{j}", f"branch/c/{i}/{j}"]
        return names

    def erase(self, row: int, col: int) -> None:
        """Remove the files of a shard that nobody vouches for.

        A shard at the edge is merged into the file that is there, and would stumble over a torn
        one; so would whoever reads the maps.
        """
        if self.path is not None:
            for name in self.files(row, col):
                (self.path / name).unlink(missing_ok=True)


def _check(name: str, values: NDArray[Any], box: Box) -> None:
    if values.shape != box.shape:
        raise ValueError(f"{name} must have shape {box.shape}, got {values.shape}")
    if np.isnan(values).any():
        raise ValueError(f"{name} holds NaN: write 0 where nothing was predicted")

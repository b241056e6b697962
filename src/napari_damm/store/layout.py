"""Where everything in a result lies.

1. The nanoparticle map has the shape of the computed region; pixel (0, 0) has its upper left corner
   at `origin` (um). Where several samples were drawn, their spread has a map of its own like it,
   and each sample a small one of 4 x 4 means, from which measures are computed sample by sample.
2. It is cut into shards; level k of the pyramid halves level k - 1 by 2 x 2 means, so a shard of
   level k depends on its level-0 shard alone and is written with it.
3. Uncertainty and branch have cells of 32 px that lie on the slide's own lattice. A region may
   start inside a cell: `cells_origin` says how far.
4. Each cell belongs to one shard, so that one writer owns each file.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.util.tiling import CELL, SHARD, Box, shard_boxes

COARSE_ENOUGH = 512
"""The pyramid ends with the first level whose sides are no longer than this."""

SAMPLE_PX = 4
"""Side, in pixels, of what a pixel of a sample's own map is the mean of."""

LONGEST_SIDE = 2**24
LARGEST_SHARD = 2**15
MOST_SHARDS = 2**20
MOST_SAMPLES = 64
"""Bounds for a layout that a file states: sixteen metres of tissue at 1 um."""

_LARGEST_CHUNKS = 512, 512, 384, 384, 192
_SHARD_UNIT = 64
_MINUS_ZERO = 0x8000
_HALF_MAX = float(np.finfo(np.float16).max)


class ShardStatus(IntEnum):
    """State of one shard, as stored in `status`."""

    PENDING = 0
    DONE = 1
    BACKGROUND = 2
    FAILED = 3


@dataclass(frozen=True)
class Level:
    """One pyramid level: its path in the group, sizes in its own pixels, and how much coarser."""

    path: str
    shape: tuple[int, int]
    shard: tuple[int, int]
    chunk: tuple[int, int]
    factor: int


@dataclass(frozen=True)
class ResultLayout:
    """Sizes and world position of one result.

    Parameters
    ----------
    shape
        (height, width) of the nanoparticle map in model pixels.
    pixel_size_um
        Side of a model pixel.
    origin
        World position (y, x), in um, of the upper left corner of pixel (0, 0).
    cells_origin
        Offset (y, x), in pixels, of pixel (0, 0) inside its cell of the slide's lattice.
    shard
        Side of a shard in pixels, a multiple of 64.
    with_std
        Whether there is a map of the standard deviation over samples.
    with_familiarity
        Whether there is a cell map of how familiar the images are to the model.
    samples
        How many samples have a small map of their own.
    """

    shape: tuple[int, int]
    pixel_size_um: float
    origin: tuple[float, float] = (0.0, 0.0)
    cells_origin: tuple[int, int] = (0, 0)
    shard: int = SHARD
    with_std: bool = False
    with_familiarity: bool = False
    samples: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        if min(self.shape) < 1:
            raise ValueError(f"result must have at least one pixel, got shape {self.shape}")
        if max(self.shape) > LONGEST_SIDE:
            raise ValueError(f"result must be at most {LONGEST_SIDE} px long, got {self.shape}")
        if not all(map(math.isfinite, self.origin)):
            raise ValueError(f"origin must be two numbers, got {self.origin}")
        if not (math.isfinite(self.pixel_size_um) and self.pixel_size_um > 0):
            raise ValueError(f"pixel size must be a positive number, got {self.pixel_size_um} um")
        if not all(0 <= offset < CELL for offset in self.cells_origin):
            raise ValueError(f"cells_origin must be in 0..{CELL - 1}, got {self.cells_origin}")
        if not _SHARD_UNIT <= self.shard <= LARGEST_SHARD or self.shard % _SHARD_UNIT:
            raise ValueError(
                f"shard must be a multiple of {_SHARD_UNIT} px up to {LARGEST_SHARD}, "
                f"got {self.shard}"
            )
        if not 0 <= self.samples <= MOST_SAMPLES:
            raise ValueError(f"samples must be in 0..{MOST_SAMPLES}, got {self.samples}")
        rows, cols = self.grid
        if rows * cols > MOST_SHARDS:
            raise ValueError(f"result must have at most {MOST_SHARDS} shards, got {rows} x {cols}")

    @classmethod
    def for_region(
        cls,
        region: Box,
        pixel_size_um: float,
        slide_origin: tuple[float, float],
        shard: int = SHARD,
        with_std: bool = False,
        with_familiarity: bool = False,
    ) -> ResultLayout:
        """Lay out the result of `region` (model pixels) of a slide with corner `slide_origin`."""
        origin = (
            slide_origin[0] + region.y0 * pixel_size_um,
            slide_origin[1] + region.x0 * pixel_size_um,
        )
        offset = region.y0 % CELL, region.x0 % CELL
        return cls(region.shape, pixel_size_um, origin, offset, shard, with_std, with_familiarity)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of shards."""
        return -(-self.shape[0] // self.shard), -(-self.shape[1] // self.shard)

    @property
    def cells_shape(self) -> tuple[int, int]:
        """Shape of `uncertainty` and `branch`."""
        (y, x), (dy, dx) = self.shape, self.cells_origin
        return -(-(dy + y) // CELL), -(-(dx + x) // CELL)

    @property
    def cells_origin_um(self) -> tuple[float, float]:
        """World position (y, x) of the upper left corner of cell (0, 0)."""
        (y, x), (dy, dx) = self.origin, self.cells_origin
        return y - dy * self.pixel_size_um, x - dx * self.pixel_size_um

    @property
    def cells_chunk(self) -> tuple[int, int]:
        """Chunk of `uncertainty` and `branch`: the cells of one shard."""
        height, width = self.levels[0].shard
        return height // CELL, width // CELL

    @property
    def levels(self) -> tuple[Level, ...]:
        """Pyramid levels of the nanoparticle map, finest first."""
        return self._pyramid("np")

    @property
    def std_levels(self) -> tuple[Level, ...]:
        """Pyramid levels of the standard deviation, finest first; none where there is no map."""
        return self._pyramid("np_std") if self.with_std else ()

    @property
    def sample_levels(self) -> tuple[Level, ...]:
        """The small maps of the samples, each a single level; none where one was drawn."""
        if not self.samples:
            return ()
        shard = [_clipped(self.shard, length) // SAMPLE_PX for length in self.shape]
        height, width = (-(-length // SAMPLE_PX) for length in self.shape)
        chunk = _divisor(shard[0], _LARGEST_CHUNKS[0]), _divisor(shard[1], _LARGEST_CHUNKS[0])
        size = shard[0], shard[1]
        return tuple(
            Level(f"samples/{k}", (height, width), size, chunk, SAMPLE_PX)
            for k in range(self.samples)
        )

    @property
    def all_levels(self) -> tuple[Level, ...]:
        """Every array of pixels, in the order in which they are written."""
        return *self.levels, *self.std_levels, *self.sample_levels

    def _pyramid(self, name: str) -> tuple[Level, ...]:
        shard = _clipped(self.shard, self.shape[0]), _clipped(self.shard, self.shape[1])
        levels: list[Level] = []
        for k, largest in enumerate(_LARGEST_CHUNKS):
            height, width = -(-self.shape[0] // 2**k), -(-self.shape[1] // 2**k)
            size = shard[0] >> k, shard[1] >> k
            chunk = _divisor(size[0], largest), _divisor(size[1], largest)
            levels.append(Level(f"{name}/{k}", (height, width), size, chunk, 2**k))
            if max(height, width) <= COARSE_ENOUGH:
                break
        return tuple(levels)

    def shards(self) -> Iterator[tuple[int, int, Box]]:
        """Yield (row, col, box of pixels) of every shard."""
        return shard_boxes(self.shape, self.shard)

    def shard_box(self, row: int, col: int) -> Box:
        """Return the pixels of a shard."""
        self._check_shard(row, col)
        square = Box(0, 0, self.shard, self.shard).shifted(row * self.shard, col * self.shard)
        return square.intersect(Box(0, 0, *self.shape))

    def shard_cells(self, row: int, col: int) -> Box:
        """Return the cells of a shard, in the cell maps; each overlaps the shard's pixels."""
        self._check_shard(row, col)
        step = self.shard // CELL
        (rows, cols), (height, width) = self.grid, self.cells_shape
        # With a region that starts inside a cell there may be one cell more than the shards span:
        # it goes to the last shard.
        y1 = height if row == rows - 1 else (row + 1) * step
        x1 = width if col == cols - 1 else (col + 1) * step
        return Box(row * step, col * step, y1, x1)

    def ome_attributes(self) -> dict[str, Any]:
        """Return the OME-Zarr 0.5 metadata: pixel CENTRES in um, for every level."""
        axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
        pyramids = [
            {"name": name, "type": "mean", "axes": axes, "datasets": [*map(self._dataset, levels)]}
            for name, levels in (("np", self.levels), ("np_std", self.std_levels))
            if levels
        ]
        return {"version": "0.5", "multiscales": pyramids}

    def _dataset(self, level: Level) -> dict[str, Any]:
        size = self.pixel_size_um * level.factor
        centre = [corner + size / 2 for corner in self.origin]
        transforms = [
            {"type": "scale", "scale": [size, size]},
            {"type": "translation", "translation": centre},
        ]
        return {"path": level.path, "coordinateTransformations": transforms}

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` restores."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ResultLayout:
        """Restore what `to_json` gave, after a trip through JSON.

        Raises
        ------
        KeyError, TypeError, ValueError
            If an entry is missing, of another kind or out of bounds.
        """
        height, width = map(operator.index, values["shape"])
        y, x = map(float, values["origin"])
        dy, dx = map(operator.index, values["cells_origin"])
        return cls(
            shape=(height, width),
            pixel_size_um=float(values["pixel_size_um"]),
            origin=(y, x),
            cells_origin=(dy, dx),
            shard=operator.index(values["shard"]),
            with_std=bool(values.get("with_std", False)),  # results of before samples lack it
            with_familiarity=bool(values.get("with_familiarity", False)),
            samples=operator.index(values.get("samples", 0)),
        )

    def _check_shard(self, row: int, col: int) -> None:
        rows, cols = self.grid
        if not (0 <= row < rows and 0 <= col < cols):
            raise ValueError(f"shard must be in 0..{rows - 1}, 0..{cols - 1}, got ({row}, {col})")


def halve(image: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the next pyramid level, float32 of half size (rounded up): 2 x 2 means.

    An odd last row or column is averaged over what is there.
    """
    odd = image.shape[0] % 2, image.shape[1] % 2
    even = np.pad(image, ((0, odd[0]), (0, odd[1])), mode="edge") if any(odd) else image
    even = even.astype(np.float32, copy=False)
    rows = even[0::2] + even[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25))


def to_half(image: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Return float16, values beyond its range cut off rather than made infinite."""
    half: NDArray[np.float16] = np.clip(image, -_HALF_MAX, _HALF_MAX).astype(np.float16)
    # -0.0 becomes 0.0: a chunk of zeros is not stored, and must read back as it was.
    bits = half.view(np.uint16)
    bits[bits == _MINUS_ZERO] = 0
    return half


def _clipped(shard: int, length: int) -> int:
    """Shorten a shard that is longer than the whole map, to a size that still halves evenly."""
    unit = COARSE_ENOUGH if length > COARSE_ENOUGH else _SHARD_UNIT
    return min(shard, -(-length // unit) * unit)


def _divisor(size: int, largest: int) -> int:
    """Return the largest divisor of `size` that is at most `largest`."""
    return next(size // n for n in range(1, size + 1) if size % n == 0 and size // n <= largest)

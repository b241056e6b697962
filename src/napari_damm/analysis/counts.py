"""What is added up over the pixels of one region, tile by tile.

Everything here is a count or a sum, so that the order and the size of tiles change nothing but the
last bits of sums.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_damm.analysis.distance import PixelSize
from napari_damm.analysis.profile import FARTHEST_UM, Shells
from napari_damm.analysis.structures import Structures
from napari_damm.util.tiling import Box

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCK_UM = 32.0
FINE_UM = 0.5
"""Width of the bins that the median distance is read from."""
FINE_BINS = round(FARTHEST_UM / FINE_UM)
ACCESS_UM = (100.0, 50.0)


@dataclass(frozen=True, eq=False)
class Tile:
    """The pixels of a tile, all of shape (y, x): what regions add up.

    `distance_um` is signed and inf beyond 250 um, None where there are no vessels to measure from;
    so are `vessels`, `lines` (their skeletons) and `access_um` (distance to the nearest
    particle-positive spot beside a vessel). `bright` is where particles are above the threshold,
    `perfused` the marker; `rim` the outer fifth of the tissue's depth.
    """

    box: Box
    signal: Floats
    bright: Mask
    trusted: Mask
    vessels: Mask | None = None
    distance_um: Floats | None = None
    lines: Mask | None = None
    access_um: Floats | None = None
    perfused: Mask | None = None
    rim: Mask | None = None


@dataclass
class Blocks:
    """Mean signal of square blocks of 32 um."""

    shape: tuple[int, int]
    pixel_um: PixelSize
    signal: Floats = field(init=False)
    pixels: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Lay the blocks out from the section's corner."""
        rows, cols = (-(-n // side) for n, side in zip(self.shape, self.sides, strict=True))
        self.signal, self.pixels = np.zeros((rows, cols)), np.zeros((rows, cols))

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of a block in pixels."""
        height, width = (max(1, round(BLOCK_UM / um)) for um in self.pixel_um)
        return height, width

    def add(self, signal: Floats, inside: Mask, box: Box) -> None:
        """Add the pixels of a tile that are inside."""
        rows = np.arange(box.y0, box.y1) // self.sides[0]
        cols = np.arange(box.x0, box.x1) // self.sides[1]
        part = Box(int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1)
        which = (rows - part.y0)[:, None] * part.shape[1] + (cols - part.x0)
        size = part.shape[0] * part.shape[1]
        chosen = which[inside]
        self.pixels[part.slices] += np.bincount(chosen, minlength=size).reshape(part.shape)
        sums = np.bincount(chosen, signal[inside], size)
        self.signal[part.slices] += sums.reshape(part.shape)

    def means(self) -> Floats:
        """Return the mean (n,) of each block of which more than half is inside."""
        counts = self.pixels > 0.5 * self.sides[0] * self.sides[1]
        return self.signal[counts] / self.pixels[counts]


@dataclass
class Counts:
    """Sums over one region of a section of `shape` pixels."""

    shape: tuple[int, int]
    pixel_um: PixelSize
    pixels: int = 0
    signal: float = 0.0
    trusted: int = 0
    bright_outside: int = 0
    vessels: int = 0
    perfused: int = 0
    line_pixels: int = 0
    line_depth_um: float = 0.0
    beyond: int = 0
    within: dict[float, int] = field(default_factory=lambda: dict.fromkeys(ACCESS_UM, 0))
    rim: list[float] = field(default_factory=lambda: [0.0, 0.0])
    core: list[float] = field(default_factory=lambda: [0.0, 0.0])
    fine: NDArray[np.int64] = field(default_factory=lambda: np.zeros(FINE_BINS, np.int64))
    shells: Shells = field(default_factory=Shells)
    structures: Structures = field(default_factory=Structures)
    blocks: Blocks = field(init=False)

    def __post_init__(self) -> None:
        """Lay out the blocks."""
        self.blocks = Blocks(self.shape, self.pixel_um)

    def add(self, tile: Tile, inside: Mask) -> None:
        """Add the pixels of a tile that are inside the region."""
        count = int(inside.sum())
        if not count:
            return
        signal = tile.signal[inside]
        self.pixels += count
        self.signal += float(signal.sum())
        self.trusted += int((tile.trusted & inside).sum())
        self.blocks.add(tile.signal, inside, tile.box)
        if tile.rim is not None:
            for sums, where in ((self.rim, tile.rim & inside), (self.core, ~tile.rim & inside)):
                sums[0] += float(tile.signal[where].sum())
                sums[1] += int(where.sum())
        if tile.vessels is not None:
            self._add_vessels(tile, inside, tile.vessels & inside)
        else:
            self.bright_outside += int((tile.bright & inside).sum())

    def _add_vessels(self, tile: Tile, inside: Mask, vessels: Mask) -> None:
        assert tile.distance_um is not None
        assert tile.lines is not None
        assert tile.access_um is not None
        self.vessels += int(vessels.sum())
        self.structures.add(vessels, tile.box)
        self.bright_outside += int((tile.bright & inside & ~vessels).sum())
        if tile.perfused is not None:
            self.perfused += int((tile.perfused & vessels).sum())
        distance = tile.distance_um[inside]
        self.shells.add(tile.signal[inside], distance)
        outside = distance[distance > 0]
        near = outside[outside < FARTHEST_UM]
        self.beyond += outside.size - near.size
        self.fine += np.bincount((near / FINE_UM).astype(np.int64), minlength=FINE_BINS)
        lines = tile.distance_um[tile.lines & inside]
        lines = lines[np.isfinite(lines)]
        self.line_pixels += lines.size
        self.line_depth_um += float(-lines.sum())
        reached = tile.access_um[inside]
        for limit in ACCESS_UM:
            self.within[limit] += int((reached <= limit).sum())

    def median_distance_um(self) -> float | None:
        """Return the median distance of tissue outside vessels; None beyond 250 um, or of none."""
        total = int(self.fine.sum()) + self.beyond
        half = total / 2
        summed = np.cumsum(self.fine)
        if not total or summed[-1] < half:
            return None
        k = int(np.searchsorted(summed, half))
        before = summed[k] - self.fine[k]
        return float((k + (half - before) / self.fine[k]) * FINE_UM)


def gini(values: Floats) -> float | None:
    """Return the Gini coefficient (0: all alike) of values (n,); None where their mean is not > 0.

    Half of the mean difference between two values, over their mean.
    """
    if not values.size or values.mean() <= 0:
        return None
    ordered = np.sort(np.maximum(values, 0.0))
    n = ordered.size
    ranks = 2 * np.arange(1, n + 1) - n - 1
    return float((ranks @ ordered) / (n * ordered.sum()))


def variation(values: Floats) -> float | None:
    """Return the coefficient of variation: standard deviation over mean; None where mean <= 0."""
    if not values.size or values.mean() <= 0:
        return None
    return float(values.std() / values.mean())

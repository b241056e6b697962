"""Thresholds by Otsu's method, found tile by tile.

1. A first pass over the pixels finds their range, a second counts them in 256 bins of it.
2. The threshold is the bin's centre that separates best (Otsu 1979), the same number as
   `skimage.filters.threshold_otsu` of all pixels at once.
3. How well it separates is said, too: eta, the share of the variance that lies between the two
   classes (1: two sharp levels; a bright and a dark half of one broad hump reach about 0.65).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.filters import threshold_otsu

BINS = 256


@dataclass(frozen=True)
class Threshold:
    """What counts as bright: above `value`, in units of the image.

    `method` says how it was found; `eta` how well it separates, None where it was given.
    """

    value: float
    method: str = "given"
    eta: float | None = None


@dataclass
class PixelRange:
    """The lowest and highest of the pixels seen so far."""

    low: float = np.inf
    high: float = -np.inf

    def add(self, values: ArrayLike) -> None:
        """See more pixels (any shape)."""
        pixels = np.asarray(values)
        if pixels.size:
            self.low = min(self.low, float(pixels.min()))
            self.high = max(self.high, float(pixels.max()))

    @property
    def varies(self) -> bool:
        """Whether there are two different pixels."""
        return self.low < self.high


@dataclass
class Histogram:
    """How many pixels fall into each of 256 bins between two intensities."""

    low: float
    high: float
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: ArrayLike) -> None:
        """Count more pixels (any shape)."""
        pixels = np.asarray(values, dtype=np.float64)
        self.counts += np.histogram(pixels, BINS, (self.low, self.high))[0]

    def threshold(self) -> Threshold:
        """Return Otsu's threshold."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        centres = (edges[:-1] + edges[1:]) / 2
        found = threshold_otsu(hist=(self.counts, centres))  # type: ignore[no-untyped-call]
        return Threshold(float(found), "Otsu", _separability(self.counts, centres, float(found)))


def _separability(
    counts: NDArray[np.int64], centres: NDArray[np.float64], threshold: float
) -> float:
    """Return eta: the variance between the two classes over the variance of all."""
    share = counts / counts.sum()
    mean = float(share @ centres)
    variance = float(share @ (centres - mean) ** 2)
    dark = centres <= threshold
    between = 0.0
    for chosen in (dark, ~dark):
        weight = float(share[chosen].sum())
        if weight > 0:
            between += weight * (float(share[chosen] @ centres[chosen]) / weight - mean) ** 2
    return between / variance if variance > 0 else 0.0

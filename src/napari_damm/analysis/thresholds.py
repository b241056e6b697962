"""Thresholds by Otsu's method, found tile by tile.

1. A first pass over the pixels finds their range, a second counts them in 256 bins of it.
2. The threshold is the bin's centre that separates best (Otsu 1979), the same number as
   `skimage.filters.threshold_otsu` of all pixels at once.
3. A few pixels far off all others (a hot one of a camera, a fleck of dye) would win that choice
   alone, and squeeze the rest into few bins. Where all but 1 in 10,000 on either side (of a blurred
   image, which spreads each, 1 in 1000) lie in less than a quarter of the range, the bins are laid
   anew over what these span, and what lies beyond counts as its ends.
4. How well it separates is said, too: eta, the share of the variance that lies between the two
   classes (1: two sharp levels; a bright and a dark half of one broad hump reach about 0.65).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.filters import threshold_otsu

BINS = 256
FEW, FEW_BLURRED = 1e-4, 1e-3
"""Share of the pixels, at either end, that may lie far off all others."""
SQUEEZED = 1 / 4
FEWEST_LEVELS = 256
"""As many as 8 bits have; single precision must tell so many apart."""
FINEST = 1e-9
"""Share of the whole range below which nothing is looked for."""
OTSU = "Otsu"
WITHOUT_FEW = "Otsu, a few pixels far off all others left aside"


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

    def check_levels(self, what: str) -> None:
        """Refuse pixels that differ by little more than single precision tells apart.

        Raises
        ------
        ValueError
            If so, naming the image as `what` and what to subtract from it.
        """
        step = float(np.spacing(np.float32(max(abs(self.low), abs(self.high)))))
        if self.varies and self.high - self.low < FEWEST_LEVELS * step:
            raise ValueError(
                f"{what} lie between {self.low:.10g} and {self.high:.10g}, and numbers that large "
                f"are only known to {step:.3g}: subtract {self.low:.10g} from them"
            )


@dataclass
class Histogram:
    """How many pixels fall into each of 256 bins between two intensities.

    Up to a share `few` of the pixels may be far off all others. What lies beyond the two counts as
    the nearest; `whole` is the histogram between all pixels, None where this is it.
    """

    low: float
    high: float
    few: float = FEW
    whole: Histogram | None = None
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: ArrayLike) -> None:
        """Count more pixels (any shape)."""
        pixels = np.asarray(values, dtype=np.float64)
        if self.whole is not None:
            pixels = np.clip(pixels, self.low, self.high)
        self.counts += np.histogram(pixels, BINS, (self.low, self.high))[0]

    def narrowed(self) -> Histogram | None:
        """Return an empty histogram of what all but a few pixels span; None where this one will do.

        All pixels are to be counted in it, and it is to be asked again.
        """
        first, last = self._bulk()
        if not 0 <= last - first < SQUEEZED * BINS - 1:
            return None
        low, high = np.linspace(self.low, self.high, BINS + 1)[[first, last + 1]].tolist()
        whole = self.whole or self
        finest = max(np.finfo(np.float32).eps * max(abs(low), abs(high)),
                     FINEST * (whole.high - whole.low))  # fmt: skip
        return None if high - low <= finest else Histogram(low, high, self.few, whole)

    def _bulk(self) -> tuple[int, int]:
        """Return the first and last bin that hold all but a few pixels at either end."""
        few = math.ceil(self.few * self.counts.sum())
        first = int(np.searchsorted(np.cumsum(self.counts), few, side="right"))
        last = BINS - 1 - int(np.searchsorted(np.cumsum(self.counts[::-1]), few, side="right"))
        return first, last

    def threshold(self) -> Threshold:
        """Return Otsu's threshold."""
        first, last = self._bulk()
        if self.whole is not None and first == last:
            return self.whole.threshold()  # but for the few, all are alike
        edges = np.linspace(self.low, self.high, BINS + 1)
        centres = (edges[:-1] + edges[1:]) / 2
        found = threshold_otsu(hist=(self.counts, centres))  # type: ignore[no-untyped-call]
        eta = _separability(self.counts, centres, float(found))
        return Threshold(float(found), OTSU if self.whole is None else WITHOUT_FEW, eta)


def histogram_of(values: ArrayLike, few: float = FEW) -> Histogram | None:
    """Return the histogram of pixels at hand (any shape); None where all are alike."""
    seen = PixelRange()
    seen.add(values)
    todo: Histogram | None = Histogram(seen.low, seen.high, few) if seen.varies else None
    found = todo
    while todo is not None:
        todo.add(values)
        found, todo = todo, todo.narrowed()
    return found


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

"""Fourier spectrum of an image: its power by octave, its bands, and how wide its structures are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

Floats = NDArray[np.float32]
Vector = NDArray[np.float64]

OCTAVES = ((2.0, 3.5), (3.5, 6.0), (6.0, 11.0), (11.0, 22.0), (22.0, 64.0))
"""Wavelengths in model pixels."""
FURTHEST = 24
"""Of structures wider than this, in pixels, it is only known that they are."""
RINGS = 256
"""So many rings of frequency would reach one wave a pixel."""
NO_POWER = 1e-12


@dataclass(frozen=True)
class Bands:
    """Of a shape: weights of the coefficients, radii of the lags, and masks of the octaves."""

    weight: Floats
    taper: Floats
    octaves: tuple[NDArray[np.bool_], ...]
    fine: NDArray[np.bool_]
    coarse: NDArray[np.bool_]
    order: NDArray[np.intp]
    rings: NDArray[np.intp]
    octave_rings: NDArray[np.intp]
    correlations: Floats

    def by_ring(self, values: Floats) -> Vector:
        """Return the sum of coefficients (y, x) over each ring, finest octave first."""
        sums: Vector = np.add.reduceat(values.ravel()[self.order], self.rings).astype(np.float64)
        return sums

    def by_octave(self, rings: Vector) -> Vector:
        """Return the sum over each octave, of those over rings."""
        sums: Vector = np.add.reduceat(rings, self.octave_rings)
        return sums


def frequencies(shape: tuple[int, int]) -> Vector:
    """Return the frequency of each coefficient, in waves a pixel."""
    found: Vector = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    return found


def taper_of(shape: tuple[int, int]) -> Floats:
    """Return weights that fall to 0 at the border (Hann), so that it makes no waves."""
    taper: Floats = np.outer(*(np.hanning(n + 2)[1:-1] for n in shape)).astype(np.float32)
    return taper


@lru_cache(maxsize=4)
def bands_of(shape: tuple[int, int]) -> Bands:
    """Return the bands of images of a shape."""
    frequency = frequencies(shape)
    weight = np.full(frequency.shape, 2.0, np.float32)  # the half that is not computed counts too
    weight[:, 0] = 1.0
    if shape[1] % 2 == 0:
        weight[:, -1] = 1.0
    octaves = [(1 / long <= frequency) & (frequency < 1 / short) for short, long in OCTAVES]
    octaves[0] = frequency >= 1 / OCTAVES[0][1]
    order, rings, octave_rings, middles = [], [0], [0], []
    for octave in octaves:
        members = np.flatnonzero(octave)
        ring = np.floor(frequency.ravel()[members] * RINGS).astype(int)
        members = members[np.argsort(ring, kind="stable")]
        counts = np.unique(ring, return_counts=True)[1]
        order.append(members)
        rings += list(rings[-1] + np.cumsum(counts))
        octave_rings.append(octave_rings[-1] + len(counts))
        cut = np.split(frequency.ravel()[members], np.cumsum(counts)[:-1])
        middles += [float(each.mean()) for each in cut]
    lags = np.arange(FURTHEST + 1)[:, None]
    correlations = special.j0(2 * np.pi * lags * np.array(middles)[None])
    correlations[:, : octave_rings[1]] = 0  # noise is in the finest octave
    return Bands(
        weight,
        taper_of(shape),
        tuple(octaves),
        octaves[0] | octaves[1],
        octaves[2] | octaves[3],
        np.concatenate(order),
        np.array(rings[:-1]),
        np.array(octave_rings[:-1]),
        correlations.astype(np.float32),
    )


@dataclass(frozen=True)
class Spectrum:
    """Fourier coefficients of a tapered image, and their power by octave."""

    shape: tuple[int, int]
    coefficients: NDArray[np.complex64]
    by_ring: Vector
    by_octave: Vector

    @classmethod
    def of(cls, image: Floats) -> Spectrum:
        """Return that of an image (y, x)."""
        shape = image.shape[0], image.shape[1]
        bands = bands_of(shape)
        flat = image.astype(np.float32, copy=False) - np.float32(image.mean())
        coefficients = fft.rfft2(flat * bands.taper)
        power = bands.weight * (coefficients.real**2 + coefficients.imag**2)
        rings = bands.by_ring(power)
        return cls(shape, coefficients, rings, bands.by_octave(rings))

    def filtered(self, mask: NDArray[np.bool_], step: int = 1) -> Floats:
        """Return every `step`-th pixel of the image in a band, without the tapered border.

        No wave of the band may be shorter than two steps.
        """
        height, width = (side // step for side in self.shape)
        kept, there = (_longest(each, height, width) for each in (self.coefficients, mask))
        coefficients = np.where(there, kept, 0)
        if step > 1:
            coefficients /= step**2
        band: Floats = fft.irfft2(coefficients, (height, width))
        return band[height // 8 : height - height // 8, width // 8 : width - width // 8]

    def width(self) -> float:
        """Return the width of structures, in pixels.

        That of a disc whose autocorrelation falls to half at the same lag: 2.48 times that lag. It
        is the mean over all directions, from the power of rings of frequency (Bessel's J0). What
        is coarser than 64 px does not count, nor does noise, which correlates at lag 0 alone.
        """
        radial = bands_of(self.shape).correlations @ self.by_ring
        if radial[1] <= NO_POWER:
            return 1.0
        top = radial[1] + (radial[1] - radial[2]) / 3  # a parabola through lags 1 and 2
        below = np.flatnonzero(radial < top / 2)
        if not below.size:
            return 2.48 * FURTHEST
        k = max(int(below[0]), 1)
        high, low = (top if k == 1 else radial[k - 1]), radial[k]
        return float(2.48 * (k - 1 + (high - top / 2) / max(high - low, NO_POWER)))


def _longest(coefficients: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Return the coefficients of waves that an image of so many pixels can hold."""
    half = height // 2
    if coefficients.shape == (height, width // 2 + 1):
        return coefficients
    ends = coefficients[:half], coefficients[-half:]
    return np.concatenate([end[:, : width // 2 + 1] for end in ends])

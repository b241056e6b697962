"""Named statistics of a window: what can be said of two images without any network.

All are of the middle of a window, which no other window has as its own, in [-1, 1] as the model
sees it, and cost some Fourier transforms.

1. Of each channel: how its power is spread over five octaves of detail (`OCTAVES`), how wide its
   structures are, how its intensities are spread, how much of it is saturated, how far its details
   are from noise of the same spectrum, and whether it shows the squares of JPEG.
2. Of both: how they correlate, over all and octave by octave; and whether fine structures of one
   lie on (or beside) those of the other better than they would if one were moved.

Most are logarithms, so that their spread over sections is about normal.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from napari_damm.util.tiling import STRIDE

Floats = NDArray[np.float32]
Vector = NDArray[np.float64]

OCTAVES = ((2.0, 3.5), (3.5, 6.0), (6.0, 11.0), (11.0, 22.0), (22.0, 64.0))
"""Wavelengths in model pixels."""
CHANNEL = (
    *(f"octave {k}" for k in range(len(OCTAVES))),
    "width",
    "mean",
    "spread",
    "skew",
    "saturated",
    "dark",
    "peaks fine",
    "peaks coarse",
    "skew coarse",
    "squares",
)
"""Statistics of one channel, in their order."""
PAIR = ("correlation", *(f"correlation {k}" for k in range(len(OCTAVES))), "agreement")
"""Statistics of both channels together."""
NAMES = tuple(f"{role} {name}" for role in ("primary", "secondary") for name in CHANNEL) + PAIR
"""All statistics, in the order of `window_statistics`."""
GROUPS = {
    "primary": slice(0, len(CHANNEL)),
    "secondary": slice(len(CHANNEL), 2 * len(CHANNEL)),
    "pair": slice(2 * len(CHANNEL), len(NAMES) - 1),
    "agreement": slice(len(NAMES) - 1, len(NAMES)),
}
"""Which statistics are of which image, which of both, and which says that they belong together."""
REGISTERED = (4.0, 16.0)
"""Wavelengths in pixels at which two stains of one section are compared for where they lie."""
LAG_PX = 2
"""Images are compared at half their resolution: no shorter waves count."""
NEAR_PX, BEYOND_PX, FAR_PX = 2, 12, 90
BLANK = 1e-3
"""Images of a smaller standard deviation show nothing."""
FURTHEST = 24
RINGS = 256
"""So many rings of frequency would reach one wave a pixel."""
SATURATED, DARK = 0.98, -0.98
JPEG_SIDE = 8
_LEAST = 1e-4
_NO_POWER = 1e-12


def window_statistics(primary: Floats, secondary: Floats) -> Vector:
    """Return the statistics of a window, in the order of `NAMES`.

    Parameters
    ----------
    primary, secondary
        Images (y, x) of one shape in [-1, 1], as the model sees them.

    Returns
    -------
    float64 array (len(NAMES),), finite whatever the images hold.
    """
    images = _inner(primary), _inner(secondary)
    spectra = [_Spectrum.of(image) for image in images]
    pair = _correlations(*spectra)
    both = (_channel(image, spectrum) for image, spectrum in zip(images, spectra, strict=True))
    fit = agreement(cross_correlogram(primary, secondary))
    return np.concatenate([*both, pair, [np.arcsinh(fit)]])


def cross_correlogram(primary: Floats, secondary: Floats) -> Floats:
    """Return how well two images (y, x) in [-1, 1] fit, by how far the second is moved back.

    Structures of `REGISTERED` are compared, on a logarithmic scale, so that a few bright ones do
    not count more than many dim ones. Lags are in steps of `LAG_PX`; (0, 0) comes first, as in
    Fourier transforms.
    """
    one, other = (_dimmed(_halved(_inner(image))) for image in (primary, secondary))
    bands = _lag_bands((one.shape[0], one.shape[1]))
    first, second = (fft.rfft2(image * bands.taper) for image in (one, other))
    cross = np.where(bands.registered, first.conj() * second, 0)
    found: Floats = fft.irfft2(cross, one.shape)
    return found


def agreement(correlogram: Floats) -> float:
    """Return the fit at lag 0 in standard deviations of that at lags where there can be none."""
    bands = _lag_bands((correlogram.shape[0], correlogram.shape[1]))
    by_chance = float(correlogram[bands.beyond].std(dtype=np.float64))
    at_rest = float(correlogram[bands.near].mean(dtype=np.float64))
    return at_rest / max(by_chance, _NO_POWER)


def _inner(image: Floats) -> Floats:
    """Return the middle of a window: windows overlap by what is left out."""
    y, x = (max(0, (side - STRIDE) // 2) for side in image.shape)
    return image[y : image.shape[0] - y, x : image.shape[1] - x]


def _halved(image: Floats) -> Floats:
    """Return the means of squares of `LAG_PX` pixels."""
    height, width = (side // LAG_PX * LAG_PX for side in image.shape)
    whole = image[:height, :width]
    rows = whole[::LAG_PX] + whole[1::LAG_PX]
    found: Floats = np.float32(0.25) * (rows[:, ::LAG_PX] + rows[:, 1::LAG_PX])
    return found


def _dimmed(image: Floats) -> Floats:
    """Return the logarithm of intensities, from about the background on; its mean is 0."""
    scaled = (image + np.float32(1.0)) / np.float32(2.0)
    background = float(np.median(scaled[::2, ::2]))  # of a quarter of the pixels: it is as good
    logarithm: Floats = np.log(scaled + np.float32(max(background, 0.01)))
    logarithm -= logarithm.mean()
    return logarithm


@dataclass(frozen=True)
class _Bands:
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


@dataclass(frozen=True)
class _LagBands:
    """Of a correlogram's shape: what is compared, and masks of its lags."""

    taper: Floats
    registered: NDArray[np.bool_]
    near: NDArray[np.bool_]
    beyond: NDArray[np.bool_]


def _frequencies(shape: tuple[int, int]) -> Vector:
    """Return the frequency of each coefficient, in waves a pixel."""
    found: Vector = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    return found


def _taper(shape: tuple[int, int]) -> Floats:
    return np.outer(*(np.hanning(n + 2)[1:-1] for n in shape)).astype(np.float32)


@lru_cache(maxsize=4)
def _lag_bands(shape: tuple[int, int]) -> _LagBands:
    frequency = _frequencies(shape) / LAG_PX
    lag_y, lag_x = (LAG_PX * np.minimum(np.arange(n), n - np.arange(n)) for n in shape)
    distance = np.hypot(lag_y[:, None], lag_x[None])
    return _LagBands(
        _taper(shape),
        (1 / REGISTERED[1] < frequency) & (frequency < 1 / REGISTERED[0]),
        distance <= NEAR_PX,
        (distance > BEYOND_PX) & (distance < FAR_PX),
    )


@lru_cache(maxsize=4)
def _bands(shape: tuple[int, int]) -> _Bands:
    frequency = _frequencies(shape)
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
    return _Bands(
        weight,
        _taper(shape),
        tuple(octaves),
        octaves[0] | octaves[1],
        octaves[2] | octaves[3],
        np.concatenate(order),
        np.array(rings[:-1]),
        np.array(octave_rings[:-1]),
        correlations.astype(np.float32),
    )


@dataclass(frozen=True)
class _Spectrum:
    """Fourier coefficients of a tapered image, and their power by octave."""

    shape: tuple[int, int]
    coefficients: NDArray[np.complex64]
    by_ring: Vector
    by_octave: Vector

    @classmethod
    def of(cls, image: Floats) -> _Spectrum:
        shape = image.shape[0], image.shape[1]
        bands = _bands(shape)
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
        if step > 1:
            rows = np.r_[: height // 2, self.shape[0] - height // 2 : self.shape[0]]
            kept = (rows[:, None], np.arange(width // 2 + 1)[None])
            coefficients = np.where(mask[kept], self.coefficients[kept], 0) / step**2
        else:
            coefficients = np.where(mask, self.coefficients, 0)
        band: Floats = fft.irfft2(coefficients, (height, width))
        return band[height // 8 : height - height // 8, width // 8 : width - width // 8]


def _channel(image: Floats, spectrum: _Spectrum) -> Vector:
    """Return the statistics of one channel, in the order of `CHANNEL`."""
    bands = _bands(spectrum.shape)
    power = spectrum.by_octave
    shares = np.log10(power / max(power.sum(), _NO_POWER) + 1e-6)
    values = image.astype(np.float32, copy=False).ravel()
    mean = float(values.mean())
    centred = values - np.float32(mean)
    square = centred * centred
    spread, cubes = math.sqrt(_mean_of(centred, centred)), _mean_of(square, centred)
    coarse = spectrum.filtered(bands.coarse, 2 if all(n % 4 == 0 for n in spectrum.shape) else 1)
    found = [
        *shares,
        np.log2(_width(spectrum)),
        mean,
        np.log10(spread + BLANK),
        np.arcsinh(cubes / max(spread, BLANK) ** 3),
        np.log10(np.count_nonzero(values >= SATURATED) / values.size + _LEAST * 10),
        np.log10(np.count_nonzero(values <= DARK) / values.size + _LEAST * 10),
        _peakedness(spectrum.filtered(bands.fine)),
        _peakedness(coarse),
        float(np.mean(coarse * coarse * coarse)) / max(float(coarse.std()), _NO_POWER) ** 3,
        _squares(image),
    ]
    return np.nan_to_num(np.array(found, np.float64), nan=0.0, posinf=10.0, neginf=-10.0)


def _width(spectrum: _Spectrum) -> float:
    """Return the width of structures, in pixels.

    That of a disc whose autocorrelation falls to half at the same lag: 2.48 times that lag. It is
    the mean over all directions, from the power of rings of frequency (Bessel's J0). What is
    coarser than 64 px does not count, nor does noise, which correlates at lag 0 alone.
    """
    radial = _bands(spectrum.shape).correlations @ spectrum.by_ring
    if radial[1] <= _NO_POWER:
        return 1.0
    top = radial[1] + (radial[1] - radial[2]) / 3  # a parabola through lags 1 and 2
    below = np.flatnonzero(radial < top / 2)
    if not below.size:
        return 2.48 * FURTHEST
    k = max(int(below[0]), 1)
    high, low = (top if k == 1 else radial[k - 1]), radial[k]
    return float(2.48 * (k - 1 + (high - top / 2) / max(high - low, _NO_POWER)))


def _peakedness(band: Floats) -> float:
    """Return the logarithm of the kurtosis: log10 3 for noise, more where details are sparse."""
    square = (band * band).ravel()
    variance = float(square.mean())
    return float(np.log10(_mean_of(square, square) / max(variance**2, _NO_POWER) + 0.1))


def _mean_of(one: Floats, other: Floats) -> float:
    """Return the mean of the products of two arrays (n,)."""
    # not by the linear algebra library, whose threads would take the samplers' cores
    return float(np.einsum("i,i->", one, other)) / one.size


def _squares(image: Floats) -> float:
    """Return how much larger steps are at one of eight columns and rows than at the others."""
    worst = 0.0
    for lines in (image[::2].T, image[:, ::2]):  # every second one: it is as good
        steps = np.abs(np.diff(lines, axis=0)).mean(axis=1)
        whole = len(steps) // JPEG_SIDE * JPEG_SIDE
        phases = steps[:whole].reshape(-1, JPEG_SIDE).mean(axis=0)
        worst += float(np.log10((phases.max() + 1e-6) / (np.median(phases) + 1e-6)))
    return worst


def _correlations(first: _Spectrum, second: _Spectrum) -> Vector:
    """Return the correlation of two images over all octaves, and in each, in -1..1."""
    bands = _bands(first.shape)
    a, b = first.coefficients, second.coefficients
    cross = (a.real * b.real + a.imag * b.imag) * bands.weight
    sums = (bands.by_octave(bands.by_ring(cross)), first.by_octave, second.by_octave)
    both, one, other = (np.concatenate([[each.sum()], each]) for each in sums)
    correlations: Vector = both / np.maximum(np.sqrt(one * other), _NO_POWER)
    return correlations

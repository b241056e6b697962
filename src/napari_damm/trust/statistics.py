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
from scipy import fft

from napari_damm.trust.spectrum import NO_POWER, OCTAVES, Spectrum, bands_of, frequencies, taper_of
from napari_damm.util.tiling import STRIDE

Floats = NDArray[np.float32]
Vector = NDArray[np.float64]

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
SATURATED, DARK = 0.98, -0.98
JPEG_SIDE = 8
_LEAST = 1e-4


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
    spectra = [Spectrum.of(image) for image in images]
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
    lags = correlogram.ravel()
    by_chance = float(lags[bands.beyond].std(dtype=np.float64))
    at_rest = float(lags[bands.near].mean(dtype=np.float64))
    return at_rest / max(by_chance, NO_POWER)


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
class _LagBands:
    """Of a correlogram's shape: what is compared, and where its lags lie."""

    taper: Floats
    registered: NDArray[np.bool_]
    near: NDArray[np.intp]
    beyond: NDArray[np.intp]


@lru_cache(maxsize=4)
def _lag_bands(shape: tuple[int, int]) -> _LagBands:
    frequency = frequencies(shape) / LAG_PX
    lag_y, lag_x = (LAG_PX * np.minimum(np.arange(n), n - np.arange(n)) for n in shape)
    distance = np.hypot(lag_y[:, None], lag_x[None])
    return _LagBands(
        taper_of(shape),
        (1 / REGISTERED[1] < frequency) & (frequency < 1 / REGISTERED[0]),
        np.flatnonzero(distance <= NEAR_PX),
        np.flatnonzero((distance > BEYOND_PX) & (distance < FAR_PX)),
    )


def _channel(image: Floats, spectrum: Spectrum) -> Vector:
    """Return the statistics of one channel, in the order of `CHANNEL`."""
    bands = bands_of(spectrum.shape)
    power = spectrum.by_octave
    shares = np.log10(power / max(power.sum(), NO_POWER) + 1e-6)
    values = image.astype(np.float32, copy=False).ravel()
    mean = float(values.mean())
    centred = values - np.float32(mean)
    square = centred * centred
    spread, cubes = math.sqrt(_mean_of(centred, centred)), _mean_of(square, centred)
    coarse = spectrum.filtered(bands.coarse, 2 if all(n % 4 == 0 for n in spectrum.shape) else 1)
    found = [
        *shares,
        np.log2(spectrum.width()),
        mean,
        np.log10(spread + BLANK),
        np.arcsinh(cubes / max(spread, BLANK) ** 3),
        np.log10(np.count_nonzero(values >= SATURATED) / values.size + _LEAST * 10),
        np.log10(np.count_nonzero(values <= DARK) / values.size + _LEAST * 10),
        _peakedness(spectrum.filtered(bands.fine)),
        _peakedness(coarse),
        float(np.mean(coarse * coarse * coarse)) / max(float(coarse.std()), NO_POWER) ** 3,
        _squares(image),
    ]
    return np.nan_to_num(np.array(found, np.float64), nan=0.0, posinf=10.0, neginf=-10.0)


def _peakedness(band: Floats) -> float:
    """Return the logarithm of the kurtosis: log10 3 for noise, more where details are sparse."""
    square = (band * band).ravel()
    variance = float(square.mean())
    return float(np.log10(_mean_of(square, square) / max(variance**2, NO_POWER) + 0.1))


def _mean_of(one: Floats, other: Floats) -> float:
    """Return the mean of the products of two arrays (n,)."""
    # not by the linear algebra library, whose threads would take the samplers' cores
    return float(np.einsum("i,i->", one, other)) / one.size


def _squares(image: Floats) -> float:
    """Return how much larger steps are at one of eight columns and rows than at the others."""
    worst = 0.0
    rows, columns = image[::2], np.ascontiguousarray(image[:, ::2])  # half of them: as good
    for steps in (
        np.abs(rows[:, 1:] - rows[:, :-1]).mean(axis=0),
        np.abs(columns[1:] - columns[:-1]).mean(axis=1),
    ):
        whole = len(steps) // JPEG_SIDE * JPEG_SIDE
        phases = np.sort(steps[:whole].reshape(-1, JPEG_SIDE).mean(axis=0))
        middle = phases[JPEG_SIDE // 2 - 1 : JPEG_SIDE // 2 + 1].mean()
        worst += float(np.log10((phases[-1] + 1e-6) / (middle + 1e-6)))
    return worst


def _correlations(first: Spectrum, second: Spectrum) -> Vector:
    """Return the correlation of two images over all octaves, and in each, in -1..1."""
    bands = bands_of(first.shape)
    a, b = first.coefficients, second.coefficients
    cross = (a.real * b.real + a.imag * b.imag) * bands.weight
    sums = (bands.by_octave(bands.by_ring(cross)), first.by_octave, second.by_octave)
    both, one, other = (np.concatenate([[each.sum()], each]) for each in sums)
    correlations: Vector = both / np.maximum(np.sqrt(one * other), NO_POWER)
    return correlations

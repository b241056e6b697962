"""How much detail an image has at each scale: its power spectrum in bands of wavelength.

1. The mean is taken away, a Hann window tapers the borders (they are no edges of the tissue).
2. The squared Fourier transform is summed in rings of radial frequency: ``band_power``.
3. ``power_ratio`` compares two images: below 1 the prediction is smoother than the truth there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

BANDS_PX = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Edges of the bands by default: wavelengths in px, shortest first (2 px is the finest there is).
"""


def band_power(image: ArrayLike, edges_px: Sequence[float] = BANDS_PX) -> Values:
    """Return the power (bands,) of an image (y, x) by wavelength, in squared units of the image.

    Band k holds the wavelengths ``edges_px[k] <= w < edges_px[k + 1]``.

    Raises
    ------
    ValueError
        If the image is not 2-D, not finite or narrower than the longest wavelength, or the edges
        do not rise from 2 px or more.
    """
    x = np.asarray(image, np.float64)
    edges = np.asarray(edges_px, np.float64)
    if edges.ndim != 1 or edges.size < 2 or edges[0] < 2 or (np.diff(edges) <= 0).any():
        raise ValueError(f"edges_px must rise from 2 px or more, got {list(edges_px)}")
    if x.ndim != 2 or min(x.shape) < edges[-1] or not np.isfinite(x).all():
        raise ValueError(
            f"a finite (y, x) image of {edges[-1]:g} px or more a side is needed, "
            f"got shape {x.shape}"
        )
    tapered = (x - x.mean()) * np.outer(*(np.hanning(n) for n in x.shape))
    power = np.abs(np.fft.fft2(tapered)) ** 2 / x.size**2
    frequency = np.hypot(np.fft.fftfreq(x.shape[0])[:, None], np.fft.fftfreq(x.shape[1]))
    wavelength = np.divide(1.0, frequency, out=np.full(x.shape, np.inf), where=frequency > 0)
    band = np.digitize(wavelength, edges)  # 0 is below all edges
    summed: Values = np.bincount(band.ravel(), power.ravel(), edges.size + 1).astype(np.float64)
    return summed[1:-1]


def power_ratio(
    truth: ArrayLike, prediction: ArrayLike, edges_px: Sequence[float] = BANDS_PX
) -> Values:
    """Return the prediction's power over the truth's (bands,), see ``band_power``.

    Raises
    ------
    ValueError
        As ``band_power``; if shapes differ or the truth has no power in a band.
    """
    if np.shape(truth) != np.shape(prediction):
        raise ValueError(
            f"images must have one shape, got {np.shape(truth)} and {np.shape(prediction)}"
        )
    expected = band_power(truth, edges_px)
    if (expected <= 0).any():
        raise ValueError("power_ratio needs a truth with detail in every band, got none in one")
    ratio: Values = band_power(prediction, edges_px) / expected
    return ratio

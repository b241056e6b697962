"""What a vessel image and a nuclei image look like, in numbers: pure functions of arrays.

All images are (y, x) at 1 um per pixel and scaled to 0..1 by `scaled`, as a model sees them, so
that lengths in pixels are um.

1. `vessel_statistics`: the mask of `analysis.vessel_mask` (Otsu's threshold on the image blurred by
   1 um, specks below 30 um2 dropped), its skeleton, and the distance transform along it.
2. `nuclei_statistics`: peaks of the Laplacian of Gaussian (the largest response of three scales)
   that are brighter than their surroundings (Gaussian mean of 12 um) and than half of Otsu's
   threshold; a watershed around them; of each basin what exceeds half its maximum above background.
3. `histogram_statistics`: quantiles of intensity.
4. `noise_statistics`: share of variance by wavelength (radial bands of the power spectrum) and the
   standard deviation of pixel noise.

Blur widens what a threshold finds, in simulated and in real images alike: numbers are for
comparing, not for anatomy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.morphology import skeletonize
from skimage.segmentation import watershed

from napari_damm.util.extravasation import vessel_mask

Image = NDArray[np.float64]
Mask = NDArray[np.bool_]
Statistics = dict[str, float]

PERCENTILES = (0.1, 99.9)
QUANTILES = (5, 25, 50, 75, 95, 99)
BANDS_UM = ((2.0, 4.0), (4.0, 16.0), (16.0, 64.0), (64.0, 256.0))
"""Wavelengths; 2 um is the shortest that pixels of 1 um can show."""
LOG_SIGMAS = (2.0, 3.0, 4.0)
"""A Laplacian of Gaussian answers most to discs of radius sigma * sqrt(2): 6 to 11 um across."""
SURROUNDINGS_UM = 12.0
LEAST_DISTANCE_UM = 3
LEAST_NUCLEUS_UM2 = 8
PIXELS_PER_MM2 = 1e6


def scaled(image: ArrayLike) -> Image:
    """Map the 0.1 to 99.9 percentiles to 0..1 and clip.

    Raises
    ------
    ValueError
        If the image is constant between these percentiles.
    """
    pixels = np.asarray(image, np.float64)
    low, high = np.percentile(pixels, PERCENTILES)
    if not high > low:
        raise ValueError(f"an image with contrast is needed, got {low} at both percentiles")
    return np.clip((pixels - low) / (high - low), 0.0, 1.0)


def vessel_statistics(image: Image) -> Statistics:
    """Return area, number, width, length and slenderness of the vessels of a scaled image."""
    mask = vessel_mask(image, 1.0)
    widths, lengths, mean_widths = skeleton_measures(mask)
    found = {
        "vessel area %": 100.0 * float(mask.mean()),
        "vessels per mm2": len(lengths) / mask.size * PIXELS_PER_MM2,
    }
    found |= _percentiles("vessel width um", widths, (10, 50, 90))
    found |= _percentiles("vessel length um", lengths, (50, 90))
    return found | {"vessel length / width": float(np.median(lengths / mean_widths))}


def skeleton_measures(mask: Mask) -> tuple[Image, Image, Image]:
    """Return the width at every skeleton pixel, and per piece its length and mean width, um.

    Length is that of the centreline, branches included, plus one width: a skeleton ends half a
    width before its vessel does.
    """
    skeleton = skeletonize(mask)
    pieces, count = ndimage.label(skeleton, np.ones((3, 3)))
    index = np.arange(1, count + 1)
    # The centre of a pixel in the middle row is (w + 1) / 2 or w / 2 from the outside, as w is odd
    # or even: 2 d - 1/2 is within half a pixel of the width.
    width = 2.0 * ndimage.distance_transform_edt(mask) - 0.5
    mean_width = ndimage.mean(width, pieces, index)
    length = np.zeros(count + 1)
    for first, second, step in _links(skeleton):
        linked = np.flatnonzero((first & second).ravel())
        length += step * np.bincount(pieces[: first.shape[0]].ravel()[linked], minlength=count + 1)
    return width[skeleton], length[1:] + mean_width, np.asarray(mean_width)


def _links(skeleton: Mask) -> list[tuple[Mask, Mask, float]]:
    """Return pairs of masks whose common pixels are steps of a skeleton, and the steps' length.

    A diagonal step counts only where no corner pixel makes it two straight ones.
    """
    s = np.pad(skeleton, 1)
    here, right, below = s[1:-1, 1:-1], s[1:-1, 2:], s[2:, 1:-1]
    left, below_left, below_right = s[1:-1, :-2], s[2:, :-2], s[2:, 2:]
    diagonal = float(np.sqrt(2.0))
    return [
        (here, right, 1.0),
        (here, below, 1.0),
        (here, below_right & ~right & ~below, diagonal),
        (here, below_left & ~left & ~below, diagonal),
    ]


def nuclei_statistics(image: Image) -> Statistics:
    """Return number, diameter and cover of the nuclei of a scaled image."""
    labels, cover = find_nuclei(image)
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas >= LEAST_NUCLEUS_UM2]
    if areas.size == 0:
        raise ValueError("no nuclei found: the image shows nothing brighter than its surroundings")
    found = {
        "nuclei per mm2": areas.size / image.size * PIXELS_PER_MM2,
        "nuclei area %": 100.0 * float(cover.mean()),
    }
    return found | _percentiles("nucleus diameter um", 2.0 * np.sqrt(areas / np.pi), (10, 50, 90))


def find_nuclei(image: Image) -> tuple[NDArray[np.int32], Mask]:
    """Return the nuclei as labels from 1, and where they are."""
    smooth = ndimage.gaussian_filter(image, 1.0)
    bright = smooth > 0.5 * threshold_otsu(smooth)
    foreground = bright & (smooth > ndimage.gaussian_filter(image, SURROUNDINGS_UM))
    blobs = np.max([-(s**2) * ndimage.gaussian_laplace(image, s) for s in LOG_SIGMAS], axis=0)
    peaks = peak_local_max(
        blobs, min_distance=LEAST_DISTANCE_UM, labels=foreground.astype(int), exclude_border=False
    )
    markers = np.zeros(image.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    basins: NDArray[np.int32] = watershed(-blobs, markers, mask=foreground)
    background = float(np.percentile(smooth, 5))
    highest = ndimage.maximum(smooth, basins, np.arange(len(peaks) + 1))
    inside = smooth - background > 0.5 * (highest[basins] - background)
    labels = np.where(inside, basins, 0)
    return labels, labels > 0


def histogram_statistics(image: Image) -> Statistics:
    """Return quantiles of a scaled image."""
    return _percentiles("intensity", image.ravel(), QUANTILES)


def noise_statistics(image: Image) -> Statistics:
    """Return the share of variance by wavelength in percent, and the pixel noise.

    Pixel noise is the median absolute response to a mask that cancels planes and edges (Immerkaer,
    Computer Vision and Image Understanding 64, 1996), scaled to a standard deviation; the median
    keeps structure out of it.
    """
    shares = band_shares(image)
    mask = np.outer((1.0, -2.0, 1.0), (1.0, -2.0, 1.0))
    response = ndimage.convolve(image, mask)[1:-1, 1:-1]
    found = {
        f"variance at {low:g}-{high:g} um %": 100.0 * share
        for (low, high), share in zip(BANDS_UM, shares, strict=True)
    }
    return found | {"pixel noise %": 100.0 * 1.4826 * float(np.median(np.abs(response))) / 6.0}


def band_shares(image: Image) -> list[float]:
    """Return the share of the power between 2 and 256 um in each band of wavelengths.

    A Hann window keeps the picture's edges out of the spectrum.
    """
    height, width = image.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    mean = float((image * window).sum() / window.sum())
    power = np.abs(np.fft.rfft2((image - mean) * window)) ** 2
    # All columns of the half spectrum but the first (and the last, if even) stand for two.
    power[:, 1 : (width + 1) // 2] *= 2.0
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    powers = [
        float(power[(frequency > 1.0 / high) & (frequency <= 1.0 / low)].sum())
        for low, high in BANDS_UM
    ]
    return [power / sum(powers) for power in powers]


def section_statistics(vessels: ArrayLike, nuclei: ArrayLike) -> Statistics:
    """Return all statistics of a section, images as taken at 1 um per pixel."""
    v, n = scaled(vessels), scaled(nuclei)
    found = vessel_statistics(v) | nuclei_statistics(n)
    for name, image in (("vessels", v), ("nuclei", n)):
        each = histogram_statistics(image) | noise_statistics(image)
        found |= {f"{name}: {what}": value for what, value in each.items()}
    return found


def _percentiles(what: str, values: Image, percents: tuple[int, ...]) -> Statistics:
    """Return percentiles of values, each under its own name."""
    return {f"{what}, p{p}": float(np.percentile(values, p)) for p in percents}

"""Measures of agreement between images: pure functions of arrays.

1. Pixel by pixel: ``mse``, ``psnr``, ``r2``, ``pearson_r``, ``std_ratio``.
2. By local structure: ``ssim``.
3. Between raters: ``icc31``.
4. How sure a mean over sections is: ``bootstrap_interval``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from skimage import metrics as skimage_metrics

Values = NDArray[np.float64]

_REACH = 5  # half of the window of SSIM
_BAND = 512


def mse(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean squared error, in squared units of the images (any shape).

    Raises
    ------
    ValueError
        If the shapes differ, an array is empty or holds a value that is not finite.
    """
    a, b = pair(truth, prediction)
    return float(np.mean((a - b) ** 2))


def psnr(truth: ArrayLike, prediction: ArrayLike, data_range: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite where the images are equal.

    ``data_range`` is the span of possible values (1 for images in 0..1).

    Raises
    ------
    ValueError
        As ``mse``, or if ``data_range`` is not positive.
    """
    _check_range(data_range)
    error = mse(truth, prediction)
    return float("inf") if error == 0 else float(10.0 * np.log10(data_range**2 / error))


def r2(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the coefficient of determination, 1 - SS_residual / SS_total (1 is perfect).

    Raises
    ------
    ValueError
        As ``mse``, or if the truth is constant.
    """
    a, b = pair(truth, prediction)
    total = np.sum((a - a.mean()) ** 2)
    if total == 0:
        raise ValueError("r2 needs a truth that varies, got a constant one")
    return float(1.0 - np.sum((a - b) ** 2) / total)


def pearson_r(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return Pearson's correlation over all pixels (-1..1); 0 where an image is constant.

    Raises
    ------
    ValueError
        As ``mse``.
    """
    a, b = pair(truth, prediction)
    a, b = (a - a.mean()).ravel(), (b - b.mean()).ravel()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def std_ratio(truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return the spread (standard deviation) of the prediction over that of the truth.

    Below 1 the prediction is smoother than the truth, as a mean of many would be.

    Raises
    ------
    ValueError
        As ``mse``, or if the truth is constant.
    """
    a, b = pair(truth, prediction)
    spread = float(a.std())
    if spread == 0:
        raise ValueError("std_ratio needs a truth that varies, got a constant one")
    return float(b.std()) / spread


def ssim(
    truth: ArrayLike,
    prediction: ArrayLike,
    data_range: float = 1.0,
    mask: ArrayLike | None = None,
) -> float:
    """Return the mean structural similarity (Wang et al. 2004) of two (y, x) images.

    Gaussian window of sigma 1.5 px (11 px wide) and population covariance, as in the paper. The
    outer 5 px, where the window overhangs, do not count; with a ``mask`` (y, x) only its True
    pixels do.

    Raises
    ------
    ValueError
        As ``mse``; if the images are not 2-D or smaller than 11 px; if ``data_range`` <= 0; if
        the mask has another shape or leaves no pixel.
    """
    values = ssim_map(truth, prediction, data_range)
    if mask is None:
        return float(values.mean())
    chosen = np.asarray(mask, dtype=bool)
    height, width = values.shape
    if chosen.shape != (height + 2 * _REACH, width + 2 * _REACH):
        raise ValueError(f"mask must have the images' shape, got {chosen.shape}")
    inside = chosen[_REACH:-_REACH, _REACH:-_REACH]
    if not inside.any():
        raise ValueError(f"the mask leaves no pixel that is {_REACH} px or more from the border")
    return float(values[inside].mean())


def ssim_map(truth: ArrayLike, prediction: ArrayLike, data_range: float = 1.0) -> Values:
    """Return the structural similarity around each pixel that is 5 px or more from the border.

    Shape (y - 10, x - 10). Computed in bands of rows, so that memory stays within a few images.

    Raises
    ------
    ValueError
        As ``ssim``.
    """
    a, b = np.asarray(truth), np.asarray(prediction)
    _check_range(data_range)
    if a.shape != b.shape:
        raise ValueError(f"images must have one shape, got {a.shape} and {b.shape}")
    if a.ndim != 2 or min(a.shape) < 2 * _REACH + 1:
        raise ValueError(f"ssim needs (y, x) images of 11 px or more a side, got shape {a.shape}")
    rows = range(0, a.shape[0] - 2 * _REACH, _BAND)
    bands = [slice(top, min(top + _BAND + 2 * _REACH, a.shape[0])) for top in rows]
    return np.concatenate([_ssim_of_band(a[band], b[band], data_range) for band in bands])


def _ssim_of_band(truth: ArrayLike, prediction: ArrayLike, data_range: float) -> Values:
    a, b = pair(truth, prediction)
    _, values = skimage_metrics.structural_similarity(  # type: ignore[no-untyped-call]
        a, b, data_range=data_range, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    inside: Values = values[_REACH:-_REACH, _REACH:-_REACH]
    return inside


def icc31(ratings: ArrayLike) -> float:
    """Return the intraclass correlation ICC(3,1) of ratings (subjects, raters).

    Two-way mixed effects, single rater, consistency: (MS_rows - MS_error) / (MS_rows + (k - 1)
    MS_error), Shrout and Fleiss 1979. A constant offset between raters does not lower it.

    Raises
    ------
    ValueError
        If there are fewer than two subjects or raters, a value is not finite, or all are equal.
    """
    x = np.asarray(ratings, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2:
        raise ValueError(
            f"icc31 needs (subjects, raters), two or more of each, got shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("icc31 needs finite ratings, got NaN or infinity")
    n, k = x.shape
    rows, columns = x.mean(axis=1, keepdims=True), x.mean(axis=0, keepdims=True)
    ms_rows = k * np.sum((rows - x.mean()) ** 2) / (n - 1)
    ms_error = np.sum((x - rows - columns + x.mean()) ** 2) / ((n - 1) * (k - 1))
    denominator = ms_rows + (k - 1) * ms_error
    if denominator == 0:
        raise ValueError("icc31 needs subjects that differ, got equal ones")
    return float((ms_rows - ms_error) / denominator)


def bootstrap_interval(
    values: ArrayLike, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the interval in which the mean of ``values`` (one per section) lies.

    Percentiles of the means of ``resamples`` draws with replacement (Efron 1979). None for fewer
    than two values, which say nothing of how sections differ.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(x).all():
        raise ValueError("bootstrap_interval needs finite values, got NaN or infinity")
    if x.size < 2:
        return None
    found = stats.bootstrap(
        (x,), np.mean, n_resamples=resamples, confidence_level=level, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    low, high = found.confidence_interval
    return float(low), float(high)


def pair(truth: ArrayLike, prediction: ArrayLike) -> tuple[Values, Values]:
    """Return both arrays in float64, of one shape, finite and not empty."""
    a, b = np.asarray(truth, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"images must have one shape, got {a.shape} and {b.shape}")
    if a.size == 0 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("images must hold finite values, got none, NaN or infinity")
    return a, b


def _check_range(data_range: float) -> None:
    """Refuse a span of values that is not positive."""
    if not data_range > 0:
        raise ValueError(f"data_range must be positive, got {data_range}")

"""Measures that only benchmarks need, beside those of `napari_damm.util.metrics`.

1. Between a score and a mask: ``auroc``.
2. The baseline that a model has to beat: ``best_blur`` of the vessels.
3. How sure a difference over sections is: ``paired_difference``.
4. What a linear change of intensity would repair: ``affine_fit``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage, stats

from napari_damm.util import metrics

BLUR_SIGMAS = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0)
"""Gaussian widths (px) of the grid that ``best_blur`` searches by default."""


def auroc(mask: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve of ``score`` for telling ``mask`` (0.5 is chance).

    The Mann-Whitney statistic; ties count half.

    Raises
    ------
    ValueError
        If the shapes differ, a score is not finite, or the mask is all true or all false.
    """
    truth, s = np.asarray(mask).astype(bool), np.asarray(score, dtype=np.float64)
    if truth.shape != s.shape:
        raise ValueError(f"mask and score must have one shape, got {truth.shape} and {s.shape}")
    if not np.isfinite(s).all():
        raise ValueError("auroc needs finite scores, got NaN or infinity")
    positive = int(truth.sum())
    negative = truth.size - positive
    if positive == 0 or negative == 0:
        raise ValueError("auroc needs both classes in the mask, got one")
    ordered = stats.mannwhitneyu(s[truth], s[~truth], method="asymptotic").statistic
    return float(ordered / (positive * negative))


def best_blur(
    vessels: ArrayLike, truth: ArrayLike, sigmas: Sequence[float] = BLUR_SIGMAS
) -> tuple[float, float]:
    """Return (sigma in px, Pearson r) of the Gaussian blur of ``vessels`` that best fits ``truth``.

    What one gets without a model: particles are near vessels. It is tuned on the truth itself, so
    it is an upper bound of what any fixed blur reaches.

    Raises
    ------
    ValueError
        As ``metrics.mse``, or if ``sigmas`` is empty or holds a negative one.
    """
    a, b = metrics.pair(vessels, truth)
    if len(sigmas) == 0 or min(sigmas) < 0:
        raise ValueError(f"sigmas must be one or more numbers of 0 or more, got {list(sigmas)}")
    scored = [(metrics.pearson_r(b, ndimage.gaussian_filter(a, s)), float(s)) for s in sigmas]
    r, sigma = max(scored)
    return sigma, r


def paired_difference(
    values: ArrayLike,
    others: ArrayLike,
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of ``values - others`` and the interval in which it lies.

    Both hold one number per section, in the same order (n,). Sections are redrawn as pairs, so that
    what makes a section hard for both cancels; see ``metrics.bootstrap_interval``.

    Raises
    ------
    ValueError
        As ``metrics.mse``.
    """
    a, b = metrics.pair(values, others)
    return float((a - b).mean()), metrics.bootstrap_interval(a - b, seed, resamples, level)


def affine_fit(truth: ArrayLike, prediction: ArrayLike) -> tuple[float, float]:
    """Return (slope, offset) for which slope x prediction + offset is nearest to the truth.

    Ordinary least squares over all values (any shape). Of a constant prediction: slope 0, and the
    truth's mean as the offset.

    Raises
    ------
    ValueError
        As ``metrics.mse``.
    """
    a, b = metrics.pair(truth, prediction)
    centred = b - b.mean()
    spread = float(np.sum(centred**2))
    slope = float(np.sum(centred * (a - a.mean()))) / spread if spread > 0 else 0.0
    return slope, float(a.mean()) - slope * float(b.mean())

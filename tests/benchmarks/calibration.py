"""Does a predicted spread say how wrong a prediction is? Pure functions of arrays.

An interval is prediction +- z x factor x std, where z is the normal distribution's: 1.645 for 90 %.

1. ``coverage``: the share of errors that lie in the interval; it should be the nominal level.
2. ``spread_factor``: the one factor on std that makes it so, to be fitted on validation data.
3. ``calibration_curve``: coverage at many levels.
4. ``rank_correlation``: is a large spread, or uncertainty, where the error is large?

``error`` is truth - prediction; ``std`` has its shape and unit (any shape, any unit).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Values = NDArray[np.float64]


def coverage(error: ArrayLike, std: ArrayLike, nominal: float = 0.9, factor: float = 1.0) -> float:
    """Return the share (0..1) of errors within the nominal interval.

    Raises
    ------
    ValueError
        If shapes differ, there is no value, one is not finite, a std or the factor is negative, or
        ``nominal`` is not between 0 and 1.
    """
    e, s = _checked(error, std)
    if factor < 0:
        raise ValueError(f"factor must be 0 or more, got {factor}")
    return float(np.mean(np.abs(e) <= normal_width(nominal) * factor * s))


def spread_factor(error: ArrayLike, std: ArrayLike, nominal: float = 0.9) -> float:
    """Return the smallest factor on ``std`` with which the interval covers ``nominal`` of errors.

    The quantile of abs(error) / (z std); infinite where too many a std is 0 for any factor to do.

    Raises
    ------
    ValueError
        As ``coverage``.
    """
    e, s = _checked(error, std)
    width = normal_width(nominal) * s
    ratio = np.full(e.shape, np.inf)
    np.divide(np.abs(e), width, out=ratio, where=width > 0)
    ratio[e == 0] = 0.0
    return float(np.quantile(ratio, nominal, method="inverted_cdf"))


def calibration_curve(
    error: ArrayLike, std: ArrayLike, levels: ArrayLike, factor: float = 1.0
) -> Values:
    """Return the coverage (n,) at each of the nominal levels (n,).

    Raises
    ------
    ValueError
        As ``coverage``.
    """
    nominal = np.asarray(levels, np.float64).ravel()
    return np.array([coverage(error, std, float(level), factor) for level in nominal])


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's rank correlation (-1..1) of two arrays of one shape; ties share a rank.

    0 where one is constant.

    Raises
    ------
    ValueError
        If shapes differ, there is no value or one is not finite.
    """
    x, y = _pair(a, b)
    return 0.0 if np.ptp(x) == 0 or np.ptp(y) == 0 else float(stats.spearmanr(x, y).statistic)


def normal_width(nominal: float) -> float:
    """Return z, the half width in standard deviations of the normal interval (0.9 -> 1.645).

    Raises
    ------
    ValueError
        If ``nominal`` is not between 0 and 1.
    """
    if not 0 < nominal < 1:
        raise ValueError(f"nominal must be between 0 and 1, got {nominal}")
    return float(stats.norm.ppf((1 + nominal) / 2))


def _checked(error: ArrayLike, std: ArrayLike) -> tuple[Values, Values]:
    e, s = _pair(error, std)
    if s.min() < 0:
        raise ValueError(f"std must be 0 or more, got {s.min()}")
    return e, s


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Values, Values]:
    """Return both arrays flat, in float64, of one shape, finite and not empty."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape:
        raise ValueError(f"arrays must have one shape, got {x.shape} and {y.shape}")
    if x.size == 0 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("arrays must hold finite values, got none, NaN or infinity")
    return x.ravel(), y.ravel()

"""Scores of predictions that say how sure they are: none is better for being vaguer than it knows.

SSIM and PSNR are of a map alone. These two are of a map with its intervals, and are lowest for what
is both near the truth and rightly unsure.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from napari_damm.trust.widths import LEVEL


def normal_crps(truth: ArrayLike, predicted: ArrayLike, sd: ArrayLike) -> float:
    """Return the mean continuous ranked probability score of normal distributions; 0 is best.

    Source: Gneiting and Raftery 2007, equation 21.
    """
    spread = np.maximum(np.asarray(sd, np.float64), 1e-9)
    z = (np.asarray(truth, np.float64) - np.asarray(predicted, np.float64)) / spread
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    scores = spread * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    return float(np.mean(scores))


def interval_score(
    truth: ArrayLike, predicted: ArrayLike, half_width: ArrayLike, level: float = LEVEL
) -> float:
    """Return the mean width of intervals, and what it costs where the truth lies outside.

    Of 90 % intervals 20 times the distance to them is added.

    Source: Gneiting and Raftery 2007, equation 43.
    """
    half = np.asarray(half_width, np.float64)
    off = np.abs(np.asarray(truth, np.float64) - np.asarray(predicted, np.float64))
    return float(np.mean(2 * half + 2 / (1 - level) * np.maximum(off - half, 0)))

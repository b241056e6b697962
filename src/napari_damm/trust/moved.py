"""By how much one image of a section looks moved against another."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from napari_damm.trust.statistics import LAG_PX, agreement

Floats = NDArray[np.float32]

SHIFT_PX = 12.0
"""Nuclei and particles lie beside vessels anyway: smaller shifts cannot be told from that."""
AT_REST = 1 / 2
"""Share of the fit of an image that is moved back which it must not have as it lies."""


def moved_by(fit: Floats, clear: float) -> tuple[float, float] | None:
    """Return by how many pixels (y, x) the second image seems moved.

    Parameters
    ----------
    fit
        The mean `statistics.cross_correlogram` of windows of both.
    clear
        What `statistics.agreement` must be, with the second image moved back.

    Returns
    -------
    None where no shift fits so well, and far better than none.
    """
    peak = np.unravel_index(int(np.argmax(fit)), fit.shape)
    lags = [
        LAG_PX * float(k if k <= n // 2 else k - n) for k, n in zip(peak, fit.shape, strict=True)
    ]
    back = np.roll(fit, [-int(k) for k in peak], (0, 1))
    best = agreement(back)
    if math.hypot(*lags) < SHIFT_PX or best < clear or agreement(fit) > AT_REST * best:
        return None
    return lags[0], lags[1]

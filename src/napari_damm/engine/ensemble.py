"""Several samples of one window, and what they say together.

A diffusion model draws one plausible image; another draw is another one. Their mean is the better
guess, their standard deviation says per pixel how far it can be trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_damm.engine.sampler import WindowOutput

UNI_MODAL, MULTI_MODAL = 1, 2


def combine(draws: Sequence[WindowOutput], spread_factor: float = 1.0) -> WindowOutput:
    """Return the output of a window from its samples; a single one is returned as it is.

    Parameters
    ----------
    draws
        The samples in the order of their noise streams, so that the sums have one order too.
    spread_factor
        What the standard deviation (n - 1 in its denominator) is multiplied by, so that the mean
        plus and minus 1.645 of it is a nominal 90 % interval.

    Returns
    -------
    WindowOutput
        Mean image and uncertainty; a cell is multi-modal where at least half of the samples are.
    """
    if len(draws) == 1:
        return draws[0]
    images = np.stack([draw.np for draw in draws])
    std = images.std(axis=0, dtype=np.float64, ddof=1)
    uncertainty = np.stack([draw.uncertainty for draw in draws]).mean(axis=0, dtype=np.float64)
    multi = (np.stack([draw.branch for draw in draws]) == MULTI_MODAL).sum(axis=0)
    return replace(
        draws[0],
        np=images.mean(axis=0, dtype=np.float64).astype(np.float32),
        uncertainty=uncertainty.astype(np.float32),
        branch=np.where(2 * multi >= len(draws), MULTI_MODAL, UNI_MODAL).astype(np.uint8),
        std=(spread_factor * std).astype(np.float32),
    )

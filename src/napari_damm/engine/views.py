"""The expected map averaged over turned and mirrored copies of a window.

1. What a network makes of an image changes a little when that is turned. Which way is up says
   nothing of where particles go, so that part of an answer is error, and averages out.
2. Maps and uncertainty are means; a cell is multi-modal where at least half of the copies are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.engine.windows import WindowInput, WindowOutput, combine

VIEWS = {1: (0,), 2: (0, 4), 4: (0, 1, 2, 3), 8: tuple(range(8))}
"""Which copies are seen, by their number: quarter turns, and from 4 on mirrored ones."""


def turned(window: WindowInput, view: int) -> WindowInput:
    """Return a copy (h, w) of a window; not square ones change sides in odd quarter turns."""
    return replace(
        window,
        primary=turned_image(window.primary, view),
        secondary=turned_image(window.secondary, view),
    )


def turned_back(output: WindowOutput, view: int) -> WindowOutput:
    """Return what was made of a copy as it lies in the window."""
    return replace(
        output,
        np=_turned_back(output.np, view),
        uncertainty=_turned_back(output.uncertainty, view),
        branch=_turned_back(output.branch, view),
    )


def mean_of(outputs: Sequence[WindowOutput]) -> WindowOutput:
    """Return the mean of what was made of all copies of a window; of one that itself."""
    return replace(combine(outputs), std=outputs[0].std, samples=outputs[0].samples)


def turned_image(image: NDArray[Any], view: int) -> NDArray[Any]:
    """Return one of the eight ways in which an image (h, w) can lie, by its number."""
    quarter = np.rot90(image, view % 4)
    return np.ascontiguousarray(quarter[:, ::-1] if view >= 4 else quarter)


def _turned_back(image: NDArray[Any], view: int) -> NDArray[Any]:
    straight = image[:, ::-1] if view >= 4 else image
    return np.ascontiguousarray(np.rot90(straight, -(view % 4)))

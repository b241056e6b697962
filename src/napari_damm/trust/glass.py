"""Which windows show tissue all over: where it ends is glass, which no model has learnt.

What is tissue (`slide.tissue`) is told with a margin of a window, so that none is lost. Here the
pixels of windows that were read are looked at:

1. The middle of each is cut into blocks of 64 px; of each block and channel, noise averaged out,
   the standard deviation is taken.
2. A block is glass where it is far smaller, in both channels, than in the liveliest blocks.
3. A window without such a block shows tissue all over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_damm.util.tiling import STRIDE

Floats = NDArray[np.float32]

BLOCK_PX = 64
MEAN_PX = 4
"""Side of the squares over which noise is averaged."""
LIVELY_PERCENTILE = 90
GLASS = 1 / 4
"""Share of the liveliest blocks' standard deviation."""


def all_tissue(pairs: Sequence[tuple[Floats, Floats]]) -> list[int]:
    """Return the numbers of the windows, pairs of images (y, x), that show tissue all over."""
    if not pairs:
        return []
    spread = np.array([[_spread(image) for image in pair] for pair in pairs])
    lively = np.percentile(spread, LIVELY_PERCENTILE, axis=(0, 2), keepdims=True)
    glass = (spread < GLASS * lively).all(axis=1).any(axis=1)
    return np.flatnonzero(~glass).tolist()


def _spread(image: Floats) -> NDArray[np.float64]:
    """Return the standard deviation in each block of the middle of a window."""
    y, x = (max(0, (side - STRIDE) // 2) for side in image.shape)
    rows, cols = (min(STRIDE, side) // BLOCK_PX for side in image.shape)
    middle = image[y : y + rows * BLOCK_PX, x : x + cols * BLOCK_PX].astype(np.float64)
    count = BLOCK_PX // MEAN_PX
    means = middle.reshape(rows, count, MEAN_PX, cols, count, MEAN_PX).mean(axis=(2, 5))
    found: NDArray[np.float64] = means.std(axis=(1, 3)).ravel()
    return found

"""Random fields and the arithmetic shared by the stages of the simulator.

One pixel is one micrometre, so lengths are in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Field = NDArray[np.float32]
Values = NDArray[np.float64]
Shape = tuple[int, int]
Range = tuple[float, float]


def draw(rng: np.random.Generator, limits: Range) -> float:
    """Return a number uniform within ``limits``."""
    return float(rng.uniform(*limits))


def smooth_field(rng: np.random.Generator, shape: Shape, scale: float) -> Field:
    """Return a Gaussian random field of zero mean, unit variance and Gaussian blur ``scale`` um."""
    step = max(1.0, scale / 3.0)
    sigma = scale / step
    coarse = tuple(int(np.ceil(n / step)) + 1 for n in shape)
    white = rng.standard_normal(coarse, dtype=np.float32)
    field = ndimage.gaussian_filter(white, sigma, mode="reflect", truncate=3.0)
    # The blur divides the variance of white noise by 4 pi sigma^2 (Parseval).
    field *= np.float32(np.sqrt(4.0 * np.pi) * sigma)
    return resize(field, shape)


def resize(field: Field, shape: Shape) -> Field:
    """Return ``field`` stretched linearly onto ``shape`` pixels."""
    if field.shape == shape:
        return field
    zoom = [n / m for n, m in zip(shape, field.shape, strict=True)]
    grown: Field = ndimage.zoom(field, zoom, order=1, mode="nearest", grid_mode=True)
    return grown


def sigmoid(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return the logistic function, float32."""
    steep: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))).astype(np.float32)
    return steep

"""Linear baselines, fitted by least squares on the section that they are judged on.

1. Features: both pictures, blurred by Gaussians of several widths, and a constant.
2. Weights: least squares against the very target. No fixed linear model of these features does
   better on that section, so what is above it is not linear.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from section_metrics import best_blur

from napari_damm.trust.trivial import LinearModel

Image = NDArray[np.float32]


def linear_fit_predict(vessels: ArrayLike, nuclei: ArrayLike, target: ArrayLike) -> Image:
    """Return the multi-scale linear model's image of `target`; all (y, x), any units.

    The result is float32 (y, x) in units of the target.

    Raises
    ------
    ValueError
        If the images are not 2-D or their shapes differ.
    """
    model = LinearModel()
    model.add(vessels, nuclei, target)
    return model.predict(vessels, nuclei)


def blur_fit_predict(vessels: ArrayLike, target: ArrayLike) -> Image:
    """Return the Gaussian blur of the vessels that fits `target` best, scaled and shifted to it.

    All are (y, x), any units; the result is float32 (y, x) in units of the target.

    Raises
    ------
    ValueError
        If the images are not 2-D or their shapes differ.
    """
    sigma, _ = best_blur(vessels, target)
    return affine_fit(_blurred(vessels, sigma), target)


def affine_fit(prediction: ArrayLike, target: ArrayLike) -> Image:
    """Return a * prediction + b with the (a, b) of least squared error; (y, x), float32.

    Raises
    ------
    ValueError
        If the images are not 2-D or their shapes differ.
    """
    return _least_squares([np.asarray(prediction, np.float64)], target)


def _blurred(image: ArrayLike, sigma: float) -> NDArray[np.float64]:
    blurred: NDArray[np.float64] = ndimage.gaussian_filter(np.asarray(image, np.float64), sigma)
    return blurred


def _least_squares(images: list[NDArray[np.float64]], target: ArrayLike) -> Image:
    """Return the best weighted sum of the images and a constant."""
    truth = np.asarray(target, np.float64)
    shapes = {truth.shape, *(image.shape for image in images)}
    if len(shapes) != 1 or truth.ndim != 2:
        raise ValueError(f"images must be (y, x) and of one shape, got {sorted(shapes)}")
    features = np.stack([*images, np.ones_like(truth)], axis=-1).reshape(-1, len(images) + 1)
    weights, *_ = np.linalg.lstsq(features, truth.ravel(), rcond=None)
    predicted: Image = (features @ weights).reshape(truth.shape).astype(np.float32)
    return predicted

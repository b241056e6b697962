"""What a trivial method makes of the same images: whatever does not beat it has shown nothing.

1. The trivial method is a linear model: both images, blurred by Gaussians of several widths, each
   with a weight, and a constant.
2. The weights are those of least squares over all windows that were added; only sums are kept, so
   there may be any number of them.
3. More trivial still: of the primary image alone, the one blur of these that errs least.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Image = NDArray[np.float32]

SIGMAS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Gaussian widths of the features, px."""


class TrivialMaps(NamedTuple):
    """What the linear model and the best blur of the primary image expect, (y, x) each."""

    linear: Image
    blur: Image


class LinearModel:
    """A multi-scale linear model of two images, fitted window by window."""

    def __init__(self) -> None:
        size = 2 * len(SIGMAS) + 1
        self._squares = np.zeros((size, size))
        self._products = np.zeros(size)

    def add(
        self,
        primary: ArrayLike,
        secondary: ArrayLike,
        target: ArrayLike,
        inside: ArrayLike | None = None,
    ) -> None:
        """Take a window into the fit, or what is `inside`; all (y, x), any units.

        Raises
        ------
        ValueError
            If the images are not 2-D, or their shapes differ.
        """
        table = _features(primary, secondary)
        truth = np.asarray(target, np.float64)
        if truth.shape != np.shape(primary):
            raise ValueError(f"images must be of one shape, got {np.shape(primary)}, {truth.shape}")
        counted = np.ones(truth.shape, bool) if inside is None else np.asarray(inside, bool)
        table = table[counted.ravel()]
        self._squares += table.T @ table
        self._products += table.T @ truth[counted]

    def predict(self, primary: ArrayLike, secondary: ArrayLike) -> Image:
        """Return the target (y, x) that the fit expects, in the units that were added."""
        return self.predict_both(primary, secondary).linear

    def predict_both(self, primary: ArrayLike, secondary: ArrayLike) -> TrivialMaps:
        """Return the target (y, x) that the fit expects, and that of the best blur alone."""
        constant = len(self._products) - 1
        blurs = [self._weights((k, constant)) for k in range(len(SIGMAS))]
        # by what a fit explains; the rest of its squared error is the same for all
        blur = max(blurs, key=lambda weights: float(weights @ self._products))
        table = _features(primary, secondary)
        fits = self._weights(range(len(self._products))), blur
        linear, blurred = (
            (table @ weights).reshape(np.shape(primary)).astype(np.float32) for weights in fits
        )
        return TrivialMaps(linear, blurred)

    def _weights(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """Return the weights of a fit to these features alone; 0 for the others."""
        found, *_ = np.linalg.lstsq(
            self._squares[np.ix_(columns, columns)], self._products[list(columns)], rcond=None
        )
        weights = np.zeros(len(self._products))
        weights[list(columns)] = found
        return weights


def _features(primary: ArrayLike, secondary: ArrayLike) -> NDArray[np.float64]:
    """Return one row per pixel: the blurred images and a constant."""
    images = [np.asarray(image, np.float64) for image in (primary, secondary)]
    shapes = {image.shape for image in images}
    if len(shapes) != 1 or images[0].ndim != 2:
        raise ValueError(f"images must be (y, x) and of one shape, got {sorted(shapes)}")
    columns = [ndimage.gaussian_filter(image, sigma) for image in images for sigma in SIGMAS]
    return np.stack([*columns, np.ones_like(images[0])], axis=-1).reshape(-1, len(columns) + 1)

"""What a model has to beat: simpler and well-known ways from the same two pictures to the third.

1. Fitted on the very section that they are judged on: `linear_fit_predict`, `blur_fit_predict`.
2. Trained beforehand (train): a regression U-Net (unet), a conditional GAN (gan); `load` returns
   either as a function of two pictures, `parameters` says how large it is.

The networks are MONAI's (extra `bench`); neither MONAI nor torch is imported before `load`.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from .linear import blur_fit_predict, linear_fit_predict

__all__ = ["blur_fit_predict", "linear_fit_predict", "load", "parameters"]

Image = NDArray[np.float32]


def load(path: str | PathLike[str]) -> Callable[[Image, Image], Image]:
    """Return a trained network as predict(vessels, nuclei) -> nanoparticles.

    All are float32 (y, x) of any size; the inputs are scaled to 0..1 (0.1 and 99.9 percentiles of
    the section), the output is relative intensity on the same scale, not clipped. Runs on the CPU.

    Raises
    ------
    ValueError
        If the file is not one that `train` wrote, or (by the function) if the shapes differ.
    """
    from .weights import load_predictor

    return load_predictor(path)


def parameters(path: str | PathLike[str]) -> int:
    """Return the number of trained parameters of the network that predicts.

    Raises
    ------
    ValueError
        If the file is not one that `train` wrote.
    """
    from .weights import count_parameters

    return count_parameters(path)

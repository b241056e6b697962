"""How well an autoencoder reproduces images that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from napari_damm.model.damm import FirstStage
from napari_damm.util import metrics
from napari_damm.util.advice import Advice

POOR_R2 = 0.8
"""Below it more than a fifth of an image's variance is lost before the noise estimator begins."""


@torch.no_grad()
def reconstruction_scores(stage: FirstStage, images: Tensor) -> dict[str, float]:
    """Score what encoding and decoding leaves of images (b, c, h, w) in [-1, 1].

    Returns
    -------
    dict
        `r2` over all pixels (nan where they are all equal), `psnr` in dB, and `ssim`, the mean
        over images and channels; of intensities in 0..1, the reconstruction unclipped.

    Raises
    ------
    ValueError
        If the reconstruction is not finite, or the images are smaller than 11 px.
    """
    training = stage.training
    stage.eval()
    made = torch.cat([stage.decode(stage.encode(image[None])) for image in images])
    stage.train(training)
    truth, prediction = ((x.float().cpu().numpy() + 1) / 2 for x in (images, made))
    planes = zip(np.concatenate(truth), np.concatenate(prediction), strict=True)
    return {
        "r2": metrics.r2(truth, prediction) if truth.min() < truth.max() else float("nan"),
        "psnr": metrics.psnr(truth, prediction),
        "ssim": float(np.mean([metrics.ssim(a, b) for a, b in planes])),
    }


def poor_reconstruction(modality: str, scores: Mapping[str, float]) -> str:
    """Put scores below POOR_R2 into a sentence for people."""
    return Advice(
        f"the model's autoencoder reproduces your {modality} images poorly (R2 {scores['r2']:.2f}, "
        f"{POOR_R2:.2f} or more is good)",
        "adapt the autoencoders ({adapt_first_stages})",
    )

"""How far a reconstruction is from its image.

1. L1 + 1 - SSIM, and LPIPS (a distance of VGG's features) where it is asked for and installed.
2. Full resolution counts 2/3, half resolution 1/3.
3. `faithful_loss`, of autoencoders without a half-resolution image: L1, 1 - SSIM, and the squared
   error as a share of the image's variance, which is 1 - r^2 where means and scales agree.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.1; LPIPS (arXiv 1801.03924).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2

FLAT = 0.02
"""Variance below which an image counts as flat: its noise need not be reproduced."""

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Distance of two images in [-1, 1] (b, c, h, w), averaged over the batch: a number."""


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of images in [0, 1] (b, c, h, w), Gaussian window, unpadded."""
    offset = torch.arange(SSIM_WINDOW, dtype=a.dtype, device=a.device) - SSIM_WINDOW // 2
    line = torch.exp(-(offset**2) / (2 * SSIM_SIGMA**2))
    line = (line / line.sum()).expand(a.shape[1], 1, SSIM_WINDOW)

    def blur(x: Tensor) -> Tensor:
        x = F.conv2d(x, line[..., None], groups=x.shape[1])
        return F.conv2d(x, line[..., None, :], groups=x.shape[1])

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    return ((2 * mean_a * mean_b + SSIM_C1) * (2 * cov + SSIM_C2)) / (
        (mean_a**2 + mean_b**2 + SSIM_C1) * (var_a + var_b + SSIM_C2)
    )


def image_loss(predicted: Tensor, image: Tensor, perceptual: Perceptual | None = None) -> Tensor:
    """L1 + (1 - SSIM) + LPIPS of images in [-1, 1] (b, c, h, w).

    SSIM is that of the images in [0, 1], the prediction clamped.
    """
    ssim = ssim_map((predicted.clamp(-1, 1) + 1) / 2, (image + 1) / 2).mean()
    loss = (predicted - image).abs().mean() + 1 - ssim
    return loss if perceptual is None else loss + perceptual(predicted, image)


def reconstruction_loss(
    image: Tensor, reconstruction: Tensor, half: Tensor, perceptual: Perceptual | None = None
) -> Tensor:
    """2/3 of the loss at full resolution + 1/3 at half resolution (nearest-exact target)."""
    small = F.interpolate(image, size=half.shape[2:], mode="nearest-exact")
    full = image_loss(reconstruction, image, perceptual)
    return 2 / 3 * full + 1 / 3 * image_loss(half, small, perceptual)


def faithful_loss(predicted: Tensor, image: Tensor, perceptual: Perceptual | None = None) -> Tensor:
    """L1 + 2 x squared error over variance + (1 - SSIM) / 4 + LPIPS, images in [-1, 1]."""
    error = (predicted - image).square().mean(dim=(1, 2, 3))
    unexplained = (error / (image.var(dim=(1, 2, 3)) + FLAT)).mean()
    ssim = ssim_map((predicted.clamp(-1, 1) + 1) / 2, (image + 1) / 2).mean()
    loss = (predicted - image).abs().mean() + 2 * unexplained + (1 - ssim) / 4
    return loss if perceptual is None else loss + perceptual(predicted, image)


def load_lpips(channels: int, device: torch.device) -> Perceptual:
    """Return LPIPS with VGG's features; images of one channel are shown to it as grey.

    Raises
    ------
    ValueError
        If the package is not installed, its weights cannot be loaded, or the images have neither
        1 nor 3 channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"lpips needs images of 1 or 3 channels, got {channels}")
    try:
        lpips = importlib.import_module("lpips")
    except ImportError:
        raise ValueError(
            "lpips needs the package lpips: pip install lpips, or leave it out"
        ) from None
    try:
        network = lpips.LPIPS(net="vgg", verbose=False)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"lpips cannot load the weights of VGG ({error}): fetch them once on a machine with "
            "internet access, or leave lpips out"
        ) from None
    network = network.to(device).eval().requires_grad_(False)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        shape = (-1, 3, -1, -1)
        found: Tensor = network(a.expand(shape), b.expand(shape)).mean()
        return found

    return distance

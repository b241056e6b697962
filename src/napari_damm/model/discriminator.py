"""The patch discriminator: scores overlapping patches of an image, real above 0, made below.

Used only while an autoencoder is trained; no saved model holds one.

Source: PatchGAN as in VQGAN (arXiv 2012.09841), from pix2pix (arXiv 1611.07004).
"""

from __future__ import annotations

from torch import Tensor, nn

LEVELS = 3
SMALLEST_PX = 24
"""Side of the smallest image that leaves a patch."""


class PatchDiscriminator(nn.Module):
    """Image (b, image_channels, h, w) -> scores (b, 1, h/8 - 2, w/8 - 2), one per patch."""

    def __init__(self, image_channels: int = 1, channels: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(image_channels, channels, 4, 2, 1), _activation()]
        for level in range(1, LEVELS):
            layers += _unit(channels * 2 ** (level - 1), channels * 2**level, stride=2)
        widest = channels * 2**LEVELS
        layers += _unit(widest // 2, widest, stride=1)
        layers.append(nn.Conv2d(widest, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Score the patches of images in [-1, 1]."""
        if min(image.shape[2:]) < SMALLEST_PX:
            raise ValueError(
                f"a discriminator needs images of {SMALLEST_PX} px or more a side, "
                f"got {tuple(image.shape[2:])}"
            )
        scores: Tensor = self.layers(image)
        return scores


def _unit(c_in: int, c_out: int, stride: int) -> list[nn.Module]:
    # BatchNorm brings its own bias
    conv = nn.Conv2d(c_in, c_out, 4, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(c_out), _activation()]


def _activation() -> nn.Module:
    return nn.LeakyReLU(0.2, inplace=True)


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
        nn.init.zeros_(layer.bias)

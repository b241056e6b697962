"""The autoencoder with a codebook, one per modality.

1. `encode`: image (b, image_channels, h, w) in [-1, 1] -> continuous latent (b, c, h/f, w/f).
2. `VectorQuantizer`: nearest codebook entry per latent pixel, straight-through gradient.
3. `decode`: quantise, then back to the image.
4. `forward`: both, with the half-resolution image and the codebook loss that training needs.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.1; VQGAN (arXiv 2012.09841).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_damm.model.layers import (
    Downsample,
    ResBlock,
    Upsample,
    check_channels,
    check_size,
    zero_init,
)

COMMITMENT = 0.25


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes of an autoencoder; each level after the first halves the resolution.

    `codebook` 0: latents are not quantised (the paper's are).
    """

    channels: tuple[int, ...] = (64, 128, 256, 256, 512)
    image_channels: int = 3
    latent_channels: int = 8
    codebook: int = 16384

    def __post_init__(self) -> None:
        """Check the rules that the layers rely on."""
        check_channels("first-stage", self.channels)
        check_size("image_channels", self.image_channels, 1, 16)
        check_size("latent_channels", self.latent_channels, 1, 256)
        check_size("codebook", self.codebook, 0, 2**20)

    @property
    def factor(self) -> int:
        """How much coarser the latent is than the image."""
        return int(2 ** (len(self.channels) - 1))


class Quantized(NamedTuple):
    """Codebook entries (b, c, h, w) with straight-through gradient, and the codebook loss."""

    z: Tensor
    loss: Tensor


class VectorQuantizer(nn.Module):
    """Replace each latent pixel by the nearest codebook entry (squared Euclidean)."""

    def __init__(self, entries: int, channels: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(
            torch.empty(entries, channels).uniform_(-1 / entries, 1 / entries)
        )

    def nearest(self, z: Tensor) -> Tensor:
        """Index of the nearest entry: (b, c, h, w) -> (b, h, w) long."""
        # |z - e|^2 = |z|^2 - 2 z.e + |e|^2; |z|^2 is the same for every entry
        flat = z.permute(0, 2, 3, 1)
        distance = self.codebook.square().sum(dim=1) - 2 * flat @ self.codebook.T
        return distance.argmin(dim=3)

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z (b, c, h, w).

        loss = 0.25 mean((sg[z_q] - z)^2) + mean((z_q - sg[z])^2), sg = stop-gradient.
        """
        z_q = nn.functional.embedding(self.nearest(z), self.codebook).permute(0, 3, 1, 2)
        commitment = (z_q.detach() - z).square().mean()
        loss = COMMITMENT * commitment + (z_q - z.detach()).square().mean()
        return Quantized(z + (z_q - z).detach(), loss)


class Reconstruction(NamedTuple):
    """Full forward of an autoencoder: image, half-resolution image, codebook loss."""

    image: Tensor
    half: Tensor
    codebook_loss: Tensor


class VQGAN(nn.Module):
    """The autoencoder of one modality."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.input = ResBlock(config.image_channels, c[0])
        self.down = nn.ModuleList(
            nn.Sequential(Downsample(c[i - 1], c[i]), ResBlock(c[i], c[i]))
            for i in range(1, len(c))
        )
        self.to_latent = nn.Conv2d(c[-1], config.latent_channels, 1)
        self.quantizer: VectorQuantizer | None = None
        if config.codebook:
            self.quantizer = VectorQuantizer(config.codebook, config.latent_channels)
        self.from_latent = ResBlock(config.latent_channels, c[-1])
        # up[i] goes from level i + 1 to level i, so the decoder runs it from last to first
        self.up = nn.ModuleList(
            nn.Sequential(Upsample(c[i + 1], c[i]), ResBlock(c[i], c[i])) for i in range(len(c) - 1)
        )
        self.output = zero_init(nn.Conv2d(c[0], config.image_channels, 1))
        self.half_output = zero_init(nn.Conv2d(c[1], config.image_channels, 1))

    def encode(self, image: Tensor) -> Tensor:
        """Image (b, image_channels, h, w) -> continuous latent (b, c, h/factor, w/factor)."""
        h = self.input(image)
        for level in self.down:
            h = level(h)
        out: Tensor = self.to_latent(h)
        return out

    def decode(self, z: Tensor) -> Tensor:
        """Latent (b, c, h, w), quantised -> image (b, image_channels, h*factor, w*factor)."""
        return self._render(z if self.quantizer is None else self.quantizer(z).z)[0]

    def forward(self, image: Tensor, quantize: bool = True) -> Reconstruction:
        """Encode and decode; `quantize=False` leaves the codebook out (its warm-up)."""
        return self.reconstruct(self.encode(image), quantize)

    def reconstruct(self, z: Tensor, quantize: bool = True) -> Reconstruction:
        """Decode a latent (b, c, h, w) with all that training needs."""
        quantized = Quantized(z, z.new_zeros(()))
        if quantize and self.quantizer is not None:
            quantized = self.quantizer(z)
        image, before_last = self._render(quantized.z)
        return Reconstruction(image, self.half_output(before_last), quantized.loss)

    @property
    def latent_readers(self) -> list[nn.Conv2d]:
        """The decoder's layers that latents enter."""
        both = (self.from_latent.first.unit.conv, self.from_latent.first.skip)
        return [layer for layer in both if isinstance(layer, nn.Conv2d)]

    def _render(self, z: Tensor) -> tuple[Tensor, Tensor]:
        h = self.from_latent(z)
        for level in reversed(self.up[1:]):
            h = level(h)
        before_last = h
        image: Tensor = self.output(self.up[0](h))
        return image, before_last

"""The autoencoder of recipe "ours": plain convolutions at half resolution and below.

1. `encode`: image (b, image_channels, h, w) in [-1, 1] -> latent (b, c, h/f, w/f). A stem folds
   2x2 pixels into channels, so that the costliest level of all, full resolution, is left out.
2. `decode`: latent -> image. Where it is given features of another image of the same place
   (`features`), it adds them level by level: fine structure that a latent is too coarse for.
3. `features`: what `encode` computes on its way, finest first.

Nothing is normalised over a window: what a pixel becomes depends on its surroundings alone, never
on what else lies in the window, and intensities are kept.

Sources: the guided decoder is that of arXiv 2306.04632 (asymmetric VQGAN); residual blocks without
normalisation are those of EDSR (arXiv 1707.02921).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_damm.model.layers import Downsample, Upsample, check_channels, check_size, zero_init

FOLD = 2
"""Side of the block of pixels that the stem folds into channels."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of an autoencoder: `channels` at a half, a quarter, ... of the resolution.

    Parameters
    ----------
    channels
        Width of each level, shallow to deep.
    image_channels, latent_channels
        Of the image and of the latent.
    depth
        Residual blocks at the two deepest levels; the shallow ones have one.
    guided
        The decoder takes features of the primary image.
    """

    channels: tuple[int, ...] = (32, 64, 64)
    image_channels: int = 1
    latent_channels: int = 16
    depth: int = 2
    guided: bool = False

    def __post_init__(self) -> None:
        """Check the rules that the layers rely on."""
        check_channels("autoencoder", self.channels)
        for name in ("image_channels", "latent_channels", "depth"):
            check_size(name, getattr(self, name), 1, 1024)

    @property
    def factor(self) -> int:
        """How much coarser the latent is than the image."""
        return int(FOLD * 2 ** (len(self.channels) - 1))


class Residual(nn.Module):
    """x + conv(SiLU(conv(SiLU(x)))), which starts as x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = zero_init(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to (b, channels, h, w)."""
        h = F.silu(self.first(F.silu(x)), inplace=not torch.is_grad_enabled())
        out: Tensor = self.second(h)
        return x + out


def _blocks(channels: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(depth)))


class Autoencoder(nn.Module):
    """An autoencoder of one modality, or of several that look alike."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        folded = config.image_channels * FOLD**2
        depths = [1] * (len(c) - 2) + [config.depth] * 2
        encoder_depths = [1] * (len(c) - 1) + [config.depth]
        self.input = nn.Conv2d(folded, c[0], 3, padding=1)
        self.encoder = nn.ModuleList(map(_blocks, c, encoder_depths))
        self.down = nn.ModuleList(Downsample(fine, coarse) for fine, coarse in pairwise(c))
        self.to_latent = nn.Conv2d(c[-1], config.latent_channels, 1)
        self.from_latent = nn.Conv2d(config.latent_channels, c[-1], 3, padding=1)
        self.decoder = nn.ModuleList(map(_blocks, c, depths))
        # up[i] goes from level i + 1 to level i, so the decoder runs it from last to first
        self.up = nn.ModuleList(Upsample(coarse, fine) for fine, coarse in pairwise(c))
        self.guide = nn.ModuleList(
            zero_init(nn.Conv2d(width, width, 1)) for width in (c if config.guided else ())
        )
        self.output = nn.Conv2d(c[0], folded, 3, padding=1)

    def features(self, image: Tensor) -> list[Tensor]:
        """Image (b, image_channels, h, w) -> what the encoder sees at each level, finest first."""
        h = self.encoder[0](self.input(F.pixel_unshuffle(image, FOLD)))
        found = [h]
        for down, blocks in zip(self.down, self.encoder[1:], strict=True):
            h = blocks(down(h))
            found.append(h)
        return found

    def latent(self, features: Sequence[Tensor]) -> Tensor:
        """Features of an image -> its latent (b, c, h/factor, w/factor)."""
        out: Tensor = self.to_latent(F.silu(features[-1]))
        return out

    def encode(self, image: Tensor) -> Tensor:
        """Image (b, image_channels, h, w) -> latent (b, c, h/factor, w/factor)."""
        return self.latent(self.features(image))

    def decode(self, z: Tensor, features: Sequence[Tensor] | None = None) -> Tensor:
        """Latent (b, c, h, w) -> image (b, image_channels, h*factor, w*factor).

        `features` are those of the primary image of the same place; a decoder that is not guided
        does without.
        """
        h = self.from_latent(z)
        for level in reversed(range(len(self.decoder))):
            if level < len(self.up):
                h = self.up[level](h)
            if features is not None and self.guide:
                h = h + self.guide[level](features[level])
            h = self.decoder[level](h)
        return F.pixel_shuffle(self.output(F.silu(h)), FOLD)

    @property
    def latent_readers(self) -> list[nn.Conv2d]:
        """The decoder's layers that latents enter."""
        return [self.from_latent]

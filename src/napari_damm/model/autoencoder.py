"""The autoencoder of recipe "ours": plain convolutions at half resolution and below.

1. `encode`: image (b, image_channels, h, w) in [-1, 1] -> latent (b, c, h/f, w/f). A stem folds
   2x2 pixels into channels, so that the costliest level of all, full resolution, is left out.
2. `decode`: latent -> image. Where it is given features of another image of the same place
   (`features`), it adds them level by level: fine structure that a latent is too coarse for.
3. `features`: what `encode` computes on its way, finest first.
4. `detail`: a few convolutions at full resolution on the decoded image and the two that it goes
   with. What two stains say together of a single pixel (one shines into the other's channel) is
   lost in any latent.

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
BACKGROUND = -1.0
"""Intensity of a dark pixel."""


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
    detail
        Channels of the convolutions at full resolution; 0: none. Only of a guided decoder.
    """

    channels: tuple[int, ...] = (32, 64, 64)
    image_channels: int = 1
    latent_channels: int = 16
    depth: int = 2
    guided: bool = False
    detail: int = 0

    def __post_init__(self) -> None:
        """Check the rules that the layers rely on."""
        check_channels("autoencoder", self.channels)
        for name in ("image_channels", "latent_channels", "depth"):
            check_size(name, getattr(self, name), 1, 1024)
        check_size("detail", self.detail, 0, 256)
        if self.detail and not self.guided:
            raise ValueError(f"detail is of a guided decoder, got {self.detail} without one")

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


def _detail(width: int, image_channels: int) -> nn.Sequential:
    """Return what is added to an image, of it and two others; it starts as nothing.

    Most pixels are dark: normalised over many images, small differences among them count too.
    """
    return nn.Sequential(
        nn.Conv2d(3 * image_channels, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.SiLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.SiLU(),
        zero_init(nn.Conv2d(width, image_channels, 1)),
    )


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
        self.detail = _detail(config.detail, config.image_channels) if config.detail else None

    def features(self, image: Tensor) -> list[Tensor]:
        """Image (b, image_channels, h, w) -> itself, and what the encoder sees at each level."""
        h = self.encoder[0](self.input(F.pixel_unshuffle(image, FOLD)))
        found = [image, h]
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

    def decode(
        self,
        z: Tensor,
        features: Sequence[Tensor] | None = None,
        secondary: Tensor | None = None,
    ) -> Tensor:
        """Latent (b, c, h, w) -> image (b, image_channels, h*factor, w*factor).

        `features` are those of the primary image of the same place, `secondary` is the other image
        (b, image_channels, h*factor, w*factor), background where it is left out; a decoder that is
        not guided does without.
        """
        h = self.from_latent(z)
        for level in reversed(range(len(self.decoder))):
            if level < len(self.up):
                h = self.up[level](h)
            if features is not None and self.guide:
                h = h + self.guide[level](features[1 + level])
            h = self.decoder[level](h)
        out: Tensor = F.pixel_shuffle(self.output(F.silu(h)), FOLD)
        if features is None or self.detail is None:
            return out
        primary = features[0]
        other = torch.full_like(primary, BACKGROUND) if secondary is None else secondary
        added: Tensor = self.detail(torch.cat([out, primary, other], dim=1))
        return out + added

    @property
    def latent_readers(self) -> list[nn.Conv2d]:
        """The decoder's layers that latents enter."""
        return [self.from_latent]

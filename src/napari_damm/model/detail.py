"""Fine structure that is added to what the target's decoder has drawn.

1. A small U-Net on pixels sees the drawn image and the two that it is predicted from.
2. What it makes of the three is added; a new one adds nothing.
3. It is normalised over batches: most pixels are dark, and over many images small differences
   among those count too. In a prediction the statistics are fixed, so that what a pixel becomes
   depends on its surroundings alone.

Why: what two stains say together of a single pixel (one shines into the other's channel), and of
its nearest surroundings, is lost in any latent.

Source: U-Net (arXiv 1505.04597), with skips that are added.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_damm.model.layers import check_size, zero_init

BACKGROUND = -1.0
"""Intensity of a dark pixel."""
MOST_LEVELS, MOST_CHANNELS = 4, 256


def check_detail(channels: tuple[int, ...], latent_factor: int) -> None:
    """Check the channels of the levels, finest first; none: there is no detail.

    Raises
    ------
    ValueError
        If they are no whole numbers in bounds, or more levels than the latents' factor divides by.
    """
    if not isinstance(channels, tuple) or len(channels) > MOST_LEVELS:
        raise ValueError(f"detail must be at most {MOST_LEVELS} channels, got {channels!r:.80}")
    for count in channels:
        check_size("detail", count, 1, MOST_CHANNELS)
    if channels and latent_factor % 2 ** (len(channels) - 1):
        raise ValueError(
            f"detail of {len(channels)} levels does not fit latents of 1/{latent_factor}"
        )


def detail_channels(given: Any) -> Any:
    """Read the channels from a card; in models of a development version they were one number.

    Raises
    ------
    ValueError
        If the detail is such an older one.
    """
    if type(given) is int and given:
        raise ValueError(
            "its detail is that of a development version that was never released: fine-tune the "
            "base model anew"
        )
    return tuple(given or ())


class Detail(nn.Module):
    """A U-Net of so many channels at each level, finest first, on three images of one place."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        finest, *_ = channels
        before = (3, *channels)  # three images
        self.down = nn.ModuleList(
            nn.Sequential(*_unit(fine, coarse), *_unit(coarse, coarse))
            for fine, coarse in pairwise(before)
        )
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairwise(channels))
        self.join = nn.ModuleList(nn.Sequential(*_unit(fine, fine)) for fine in channels[:-1])
        self.output = zero_init(nn.Conv2d(finest, 1, 1))

    def forward(self, drawn: Tensor, primary: Tensor, secondary: Tensor | None = None) -> Tensor:
        """Add to an image (b, c, h, w); the secondary one is background where it is left out.

        Of images of several channels the mean is seen, and each channel gets the same. Sides are
        multiples of the coarsest level's pixel.
        """
        other = torch.full_like(primary, BACKGROUND) if secondary is None else secondary
        seen = [image.mean(dim=1, keepdim=True) for image in (drawn, primary, other)]
        h = torch.cat(seen, dim=1)
        skips = []
        for level, units in enumerate(self.down):
            h = units(h if level == 0 else F.avg_pool2d(h, 2))
            skips.append(h)
        for up, join, skip in zip(
            reversed(self.up), reversed(self.join), reversed(skips[:-1]), strict=True
        ):
            h = join(skip + F.interpolate(up(h), scale_factor=2.0, mode="bilinear"))
        out: Tensor = drawn + self.output(h)
        return out


def _unit(before: int, after: int) -> tuple[nn.Module, ...]:
    """Convolution (b, before, h, w) -> (b, after, h, w), batch norm and SiLU."""
    return nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.SiLU()

"""Fine structure that is added to what the target's decoder has drawn.

1. A few convolutions at full resolution see the drawn image and the two that it is predicted from.
2. What they make of the three is added; a new one adds nothing.
3. They are normalised over batches: most pixels are dark, and over many images small differences
   among those count too. In a prediction the statistics are fixed, so that what a pixel becomes
   depends on its surroundings alone.

Why: what two stains say together of a single pixel (one shines into the other's channel) is lost in
any latent.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_damm.model.layers import zero_init

BACKGROUND = -1.0
"""Intensity of a dark pixel."""


class Detail(nn.Module):
    """Convolutions of `width` channels on three images of the same place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.SiLU(),
            zero_init(nn.Conv2d(width, 1, 1)),
        )

    def forward(self, drawn: Tensor, primary: Tensor, secondary: Tensor | None = None) -> Tensor:
        """Add to an image (b, c, h, w); the secondary one is background where it is left out.

        Of images of several channels the mean is seen, and each channel gets the same.
        """
        other = torch.full_like(primary, BACKGROUND) if secondary is None else secondary
        seen = [image.mean(dim=1, keepdim=True) for image in (drawn, primary, other)]
        out: Tensor = drawn + self.layers(torch.cat(seen, dim=1))
        return out

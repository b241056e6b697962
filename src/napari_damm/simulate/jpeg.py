"""Sections that were kept as an RGB JPEG, as many are: eight bits, blocks, blurred colours."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_damm.simulate.fields import Range, draw

Counts = NDArray[np.uint16]
WHITE = 0.999
"""Quantile of a channel's counts that becomes 255."""


@dataclass(frozen=True)
class JPEGConfig:
    """In how many of the ``sections`` (0..1), and the range (low, high) of the ``quality``."""

    sections: float = 0.0
    quality: Range = (90.0, 90.0)


def compress(
    config: JPEGConfig, rng: np.random.Generator, red: Counts, green: Counts, blue: Counts
) -> tuple[Counts, Counts, Counts]:
    """Return three channels of a section as an RGB JPEG would give them back, in counts.

    Colour is stored at half the resolution of brightness, so that channels smear into each other
    by blocks of 16 px, as in pictures of real sections.
    """
    if not config.sections or rng.random() >= config.sections:
        return red, green, blue
    from PIL import Image

    dark, scales, channels = [], [], []
    for counts in (red, green, blue):
        low, high = np.quantile(counts[::2, ::2], (0.001, WHITE))
        dark.append(float(low))
        scales.append(max(float(high - low), 1.0) / 255.0)
        channels.append(np.clip((counts - low) / scales[-1], 0, 255).astype(np.uint8))
    stream = io.BytesIO()
    quality = round(draw(rng, config.quality))
    Image.fromarray(np.stack(channels, axis=-1)).save(stream, "jpeg", quality=quality)
    kept = np.asarray(Image.open(stream), dtype=np.float32)
    first, second, third = (
        np.rint(kept[..., k] * scales[k] + dark[k]).astype(np.uint16) for k in range(3)
    )
    return first, second, third

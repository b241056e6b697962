"""Training data of the baselines: simulated sections, and crops of them.

1. Sections of training seeds, divergence planted, each picture scaled by its own percentiles.
2. A batch: random squares, mirrored and turned, in -1..1. It depends on seed and step alone, so
   that a resumed training sees what an uninterrupted one would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.simulate import SimulatedSlide, simulate_slide, training_seed

Pictures = NDArray[np.float16]

MODALITIES = ("vessels", "nuclei", "nanoparticles")


@dataclass(frozen=True)
class DataConfig:
    """What is simulated and how it is cut; sizes in px, `batch_size` in crops."""

    preset: str = "varied"
    sections: int = 200
    section_size: int = 512
    crop_size: int = 128
    batch_size: int = 4

    def __post_init__(self) -> None:
        """Refuse what cannot be cut."""
        if not 16 <= self.crop_size <= self.section_size or self.crop_size % 16:
            raise ValueError(
                f"crop_size must be a multiple of 16 in 16..{self.section_size}, "
                f"got {self.crop_size}"
            )
        if min(self.sections, self.batch_size) < 1:
            raise ValueError(f"sections and batch_size must be 1 or more, got {self}")


def scaled(image: NDArray[Any]) -> NDArray[np.float32]:
    """Map the 0.1 and 99.9 percentiles of a (y, x) image to 0..1 and clip; float32 (y, x)."""
    low, high = np.percentile(image, (0.1, 99.9))
    clipped: NDArray[np.float32] = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
    return clipped


def simulate_sections(config: DataConfig) -> Pictures:
    """Return the training sections, (section, vessels | nuclei | nanoparticles, y, x) in 0..1."""
    seeds = (training_seed(index) for index in range(config.sections))
    drawn = (simulate_slide(config.section_size, seed, config.preset) for seed in seeds)
    return np.stack([_pictures(section) for section in drawn])


def draw_batch(
    sections: Pictures, config: DataConfig, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """Return one batch, float32 in -1..1: inputs (b, 2, h, w), target (b, 1, h, w)."""
    rng = np.random.default_rng([seed, step])
    crops = [_crop(sections, config.crop_size, rng) for _ in range(config.batch_size)]
    batch = torch.from_numpy(np.stack(crops).astype(np.float32)) * 2 - 1
    return batch[:, :2], batch[:, 2:]


def _pictures(section: SimulatedSlide) -> Pictures:
    channels = section.channels()
    return np.stack([scaled(channels[name]) for name in MODALITIES]).astype(np.float16)


def _crop(sections: Pictures, size: int, rng: np.random.Generator) -> Pictures:
    """Return one square (3, size, size), in one of its eight orientations."""
    chosen = sections[rng.integers(len(sections))]
    y, x = rng.integers(chosen.shape[-1] - size + 1, size=2)
    square: Pictures = chosen[:, y : y + size, x : x + size]
    square = np.rot90(square, int(rng.integers(4)), axes=(1, 2))
    return square[:, :, ::-1] if rng.integers(2) else square

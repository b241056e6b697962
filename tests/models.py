"""Small models with random weights, for tests: every weight counts, zero-initialised ones too."""

from __future__ import annotations

import math

import torch

from napari_damm.model import DAMM, DAMMConfig, UNetConfig, VQGANConfig


def tiny_config(
    levels: tuple[int, ...] = (32, 64),
    unet: tuple[int, ...] = (32, 64, 32),
    image_channels: int = 1,
    latent_channels: int = 4,
    codebook: int = 16,
    time_channels: int = 32,
) -> DAMMConfig:
    stage = VQGANConfig(levels, image_channels, latent_channels, codebook)
    return DAMMConfig((stage,) * 3, UNetConfig(unet, time_channels, latent_channels))


@torch.no_grad()
def randomise(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Fill a module with weights of a sensible size; put it into eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            value.copy_(0.5 + noise.abs())
        elif name.endswith("codebook"):
            value.copy_(noise)
        elif value.ndim > 1:
            value.copy_(noise / math.sqrt(value[0].numel()))
        else:
            value.copy_(0.1 * noise + (1.0 if name.endswith("norm.weight") else 0.0))
    return module.eval()


def random_model(config: DAMMConfig | None = None, seed: int = 0) -> DAMM:
    return randomise(DAMM(config or tiny_config()), seed)

"""Small models with random weights, and model files with other headers, for tests."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import torch

from napari_damm.model import DAMM, DAMMConfig, UNetConfig, VQGANConfig

CARD = {
    "name": "tiny",
    "modalities": ["vessels", "nuclei", "nanoparticles"],
    "pixel_size_um": 1.0,
    "training_data": {"kind": "simulated", "description": "simulated tissue"},
    "metrics": {"ssim": 0.5},
    "licence": "BSD-3-Clause",
}


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
    """Fill a module, zero-initialised layers too, with sensible weights; put it into eval mode."""
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


def header_of(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def with_header(path: Path, header: object, numbers: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


def with_card(path: Path, whole: Path, **changes: object) -> Path:
    """A copy of a model file with other entries on its card (None: without)."""
    header, numbers = header_of(whole)
    card = {**json.loads(header["__metadata__"]["napari_damm"]), **changes}
    card = {key: value for key, value in card.items() if value is not None}
    header["__metadata__"]["napari_damm"] = json.dumps(card)
    return with_header(path, header, numbers)


def velocity_model():
    """A model of random weights that has an expected map."""
    config = tiny_config((32, 32, 32, 32), (32, 32, 32, 32), codebook=0)
    unet = replace(config.unet, predicts="velocity", confidence_from="both")
    return random_model(replace(config, unet=unet, gate="cell", read_out="mean"))


def guided():
    """Return a tiny model of our recipe, whose decoder sees the vessels, with random weights."""
    model = randomise(DAMM(DAMMConfig.of_preset("tiny", "ours")))
    model.card.update({**CARD, "name": "base"})
    return model

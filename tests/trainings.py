"""A small training for tests: seconds on one core, the real code from end to end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from jobs import quick_first_stages
from models import CARD, random_model, tiny_config
from training_data import layers

from napari_damm.engine.config import PredictConfig
from napari_damm.events import Event
from napari_damm.model import DAMM
from napari_damm.train import fine_tune, gradients
from napari_damm.train.autoencoder import preparation
from napari_damm.train.config import TrainConfig

LEVELS = (32, 32, 32, 32)
QUICK = {
    "name": "mine",
    "epochs": 2,
    "batch_size": 2,
    "variants": 2,
    "validations": 2,
    "validation_windows": 2,
    "validation_tiles": 1,
    "checkpoint_minutes": 60.0,
}


def base_model(seed: int = 0) -> DAMM:
    model = random_model(tiny_config(LEVELS, (32, 32)), seed)
    model.card.update({**CARD, "name": "base"})
    return model


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**{**QUICK, **changes})


def run(out: Path, **options) -> list[Event]:
    """Train on one section of 320 x 576 px: four patches train, one validates; four steps."""
    changes = options.pop("changes", {})
    given = {"data": layers(), "model": base_model(), "config": config(**changes)}
    return list(fine_tune(**{**given, **options, "out": out}))


def of(events: list[Event], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


@contextmanager
def small() -> Iterator[None]:
    """Two denoising steps, small crops, and one window that says how well the autoencoders
    reproduce the images.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PredictConfig, "sampler_for", lambda self, predicts: ("fast", 2))
        patch.setattr(preparation, "MEASURED", 1)
        patch.setattr(gradients, "EXPECTED_PX", 64)
        patch.setattr(gradients, "WINDOW_PX", 64)
        patch.setattr(gradients, "SETTLING", 1)
        yield


@contextmanager
def quick() -> Iterator[None]:
    """As `small`, with plain pooling for autoencoders: both have tests of their own."""
    with small(), pytest.MonkeyPatch.context() as patch:
        quick_first_stages(patch.setattr)
        yield

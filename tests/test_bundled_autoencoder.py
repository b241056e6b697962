"""The autoencoder that comes with the package: what new models start with, and what it is worth."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_damm import api
from napari_damm.model import DAMM, DAMMConfig
from napari_damm.model.damm import ROLES
from napari_damm.model_file import autoencoder, bundled_folder, take_trained_autoencoders
from napari_damm.simulate import simulate_slide
from napari_damm.slide import read_region
from napari_damm.train.config import TrainConfig
from napari_damm.train.setup import find_base
from napari_damm.util import metrics
from napari_damm.util.tiling import Box

REAL = Path(__file__).parents[2] / "shared" / "real" / "dextran"


@pytest.fixture(scope="module")
def model():
    made = DAMM(DAMMConfig.of_preset("small", "ours")).eval()
    assert take_trained_autoencoders(made)
    return made


@pytest.fixture(scope="module")
def bundled():
    return api.load_model(None, "cpu")


def scaled(image):
    low, high = np.percentile(image, (0.1, 99.9))
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


@torch.inference_mode()
def agreement(model, image, role):
    given = torch.from_numpy(image * 2 - 1)[None, None]
    made = model.decode(model.encode(given, role), role)[0, 0].numpy() / 2 + 0.5
    return metrics.pearson_r(image, made)


def test_a_new_model_of_our_recipe_starts_with_it():
    base = find_base(None, TrainConfig(preset="small"))
    assert not base.new_autoencoders
    one, *others = (base.model.first_stage(role).to_latent.weight for role in ROLES)
    assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize(
    "settings",
    [{"preset": "tiny"}, {"preset": "small", "recipe": "paper"}, {"first_stage_steps": 5}],
    ids=str,
)
def test_models_that_it_does_not_fit_or_that_train_their_own_do_without(settings):
    assert find_base(None, TrainConfig(**{"preset": "small", **settings})).new_autoencoders


@pytest.mark.parametrize("name", ["vessels", "nuclei", "nanoparticles"])
def test_it_reproduces_sections_that_it_never_saw_and_so_does_the_bundled_model(
    model, bundled, name
):
    image = scaled(getattr(simulate_slide(256, 9900, "external"), name))
    role = dict(zip(("vessels", "nuclei", "nanoparticles"), ROLES, strict=True))[name]
    assert agreement(model, image, role) > 0.9
    assert agreement(bundled, image, role) == pytest.approx(agreement(model, image, role))


@pytest.mark.parametrize(
    ("role", "colour"), [("primary", "red"), ("secondary", "blue"), ("target", "green")]
)
def test_it_reproduces_real_tissue(model, role, colour):
    if not REAL.is_dir():
        pytest.skip(f"the real pictures are not in {REAL}")
    slide = api.open_slide(
        REAL / "01.jpg", vessels_channel="red", nuclei_channel="blue", pixel_size_um=0.69
    )
    shape = (400, 400)
    plane = read_region(slide.channel(colour), Box(0, 0, *shape), 1.0, slide.origin, shape)
    assert agreement(model, scaled(plane), role) > 0.95


def test_a_damaged_file_is_named(monkeypatch, tmp_path):
    path = tmp_path / autoencoder.FILE
    path.parent.mkdir()
    shutil.copyfile(bundled_folder() / autoencoder.FILE, path)
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setattr(autoencoder, "bundled_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=r"ours\.safetensors is damaged"):
        take_trained_autoencoders(DAMM(DAMMConfig.of_preset("small", "ours")))

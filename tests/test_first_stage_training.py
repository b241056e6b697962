"""Training of a first stage: its loss by other means, its latents, its codebook."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import randomise
from skimage.metrics import structural_similarity

from napari_damm.first_stage_training import (
    FirstStageConfig,
    image_loss,
    place_codebook,
    reconstruction_loss,
    replant,
    scale_to_unit_spread,
    ssim_map,
    standardise_latents,
    train_first_stage,
)
from napari_damm.model import VQGAN, VQGANConfig
from napari_damm.train_state import TrainState

CONFIG = VQGANConfig((32, 32), image_channels=1, latent_channels=3, codebook=32)


def images(step=0, n=2, side=24):
    generator = torch.Generator().manual_seed(step)
    coarse = torch.rand(n, 1, side // 8, side // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 2 - 1


@pytest.fixture
def stage():
    return randomise(VQGAN(CONFIG))


def test_ssim_agrees_with_scikit_image():
    a, b = torch.rand(2, 1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = float(ssim_map(a, b).mean())
    _, full = structural_similarity(
        a[0, 0].numpy(),
        b[0, 0].numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    assert ours == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-4)


def test_the_loss_of_a_perfect_image_is_zero_and_weights_are_two_thirds_and_one_third():
    image = images(side=32)
    half = torch.nn.functional.interpolate(image, scale_factor=0.5, mode="nearest-exact")
    assert float(reconstruction_loss(image, image, half)) == pytest.approx(0, abs=1e-5)
    wrong = -half
    expected = float(image_loss(wrong, half)) / 3
    assert float(reconstruction_loss(image, image, wrong)) == pytest.approx(expected, abs=1e-5)


def test_standardised_latents_have_no_mean_and_unit_spread(stage):
    batch = images(n=8)
    standardise_latents(stage, batch)
    with torch.no_grad():
        z = stage.encode(batch)
    assert z.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert (z.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3


def test_rescaling_the_latents_leaves_the_images_as_they_were(stage):
    batch = images()
    with torch.no_grad():
        before, z = stage(batch).image, stage.encode(batch)
        scale_to_unit_spread(stage, 4.0)
        assert torch.allclose(stage.encode(batch) * 4.0, z, atol=1e-5)
        assert torch.allclose(stage(batch).image, before, atol=1e-4)


def test_the_codebook_goes_where_the_latents_are(stage):
    batches = [images(k) for k in range(3)]
    with torch.no_grad():
        z = torch.cat([stage.encode(b) for b in batches]).permute(0, 2, 3, 1).reshape(-1, 3)
    stage.quantizer.codebook.data.fill_(100.0)
    place_codebook(stage, batches)
    distance = torch.cdist(z, stage.quantizer.codebook.detach()).min(dim=1).values
    assert distance.mean() < 0.5 * z.std()


def test_only_idle_entries_are_replanted(stage):
    with torch.no_grad():
        used = torch.zeros(32, dtype=torch.bool)
        used[stage.quantizer.nearest(stage.encode(images())).flatten()] = True
    before = stage.quantizer.codebook.detach().clone()
    assert replant(stage, [images()], seed=1) == int((~used).sum()) > 0
    moved = (stage.quantizer.codebook.detach() != before).any(dim=1)
    assert torch.equal(moved, ~used)


def test_training_reconstructs_better_and_uses_the_codebook():
    torch.manual_seed(0)
    stage = VQGAN(CONFIG)
    config = FirstStageConfig(steps=60, warmup_steps=30, learning_rate=3e-3, replant_every=10)
    steps = list(train_first_stage(stage, images, config))
    assert np.mean([s.l1 for s in steps[-5:]]) < 0.6 * np.mean([s.l1 for s in steps[:5]])
    assert not any(step.replanted for step in steps[: config.warmup_steps])
    with torch.no_grad():
        codes = [stage.quantizer.nearest(stage.encode(images(k))) for k in range(8)]
    assert len(torch.cat([c.flatten() for c in codes]).unique()) > 4


def test_a_resumed_first_stage_equals_an_uninterrupted_one(tmp_path):
    config = FirstStageConfig(steps=9, warmup_steps=2, learning_rate=1e-3, replant_every=2)

    def fresh():
        torch.manual_seed(0)
        stage = VQGAN(CONFIG)
        return stage, TrainState(stage, config.learning_rate)

    whole, state = fresh()
    list(train_first_stage(whole, images, config, state))
    half, state = fresh()
    for step in train_first_stage(half, images, config, state):
        if step.step == 4:
            state.save(tmp_path / "half")
            break
    again, state = fresh()
    state.load(tmp_path / "half")
    list(train_first_stage(again, images, config, state))
    for name, value in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(ValueError, match="11"):
        FirstStageConfig(steps=10, warmup_steps=11)

"""Training of an autoencoder: its loss by other means, its latents, its codebook."""

from __future__ import annotations

import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import torch
from models import randomise
from skimage.metrics import structural_similarity

from napari_damm.model import VQGAN, VQGANConfig
from napari_damm.model.discriminator import PatchDiscriminator
from napari_damm.train.autoencoder import (
    AutoencoderState,
    AutoencoderTraining,
    train_autoencoder,
)
from napari_damm.train.autoencoder.adversary import hinge_loss, ratio_weight
from napari_damm.train.autoencoder.codebook import (
    latent_drift,
    place_codebook,
    replant,
    scale_to_unit_spread,
    standardise_latents,
)
from napari_damm.train.autoencoder.image_losses import (
    image_loss,
    load_lpips,
    reconstruction_loss,
    ssim_map,
)
from napari_damm.train.state import NotFinite

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


def test_drift_of_latents_is_by_hand():
    # channel 0: mean 2, std 2 (of 0 and 4, unbiased 2.83); channel 1: mean 0, std 1
    z = torch.tensor([[[[0.0, 4.0]], [[-(0.5**0.5), 0.5**0.5]]]])
    assert float(latent_drift(z)) == pytest.approx((4 + (8**0.5 - 1) ** 2) / 2, abs=1e-5)


def test_hinge_loss_is_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-2.0, 0.0, 1.0])
    # (0 + 0.5) / 2 and (0 + 1 + 2) / 3
    assert float(hinge_loss(real, fake)) == pytest.approx((0.25 + 1.0) / 2)


def test_ratio_weight_is_the_ratio_of_gradients_at_the_last_layer():
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    # gradients (3, 4) and (0, 2): norms 5 and 2
    weight = ratio_weight(3 * w[0] + 4 * w[1], w[1].square() / 2, w)
    assert float(weight) == pytest.approx(5 / (2 + 1e-4))
    assert not weight.requires_grad
    assert float(ratio_weight(1e9 * w.sum(), w.sum() * 0, w)) == 1e4
    assert float(ratio_weight(w.sum() * 0, w.sum(), w)) == 0


def test_a_discriminator_scores_patches_and_needs_room_for_one():
    judge = PatchDiscriminator(image_channels=3, channels=4)
    assert judge(torch.zeros(2, 3, 96, 64)).shape == (2, 1, 10, 6)
    assert judge(torch.zeros(2, 3, 24, 24)).shape == (2, 1, 1, 1)
    with pytest.raises(ValueError, match="24 px or more"):
        judge(torch.zeros(2, 3, 96, 23))


def trained(config, stage=None, state=None, batch=images):
    torch.manual_seed(0)
    stage = stage or VQGAN(CONFIG)
    state = state or AutoencoderState(stage, config)
    steps = list(train_autoencoder(stage, batch, config, state))
    return stage, state, steps


def same_weights(a, b):
    return all(torch.equal(value, b.state_dict()[name]) for name, value in a.state_dict().items())


@pytest.mark.slow
def test_training_reconstructs_better_and_uses_the_codebook():
    config = AutoencoderTraining(steps=60, warmup_steps=30, learning_rate=3e-3, replant_every=10)
    stage, _, steps = trained(config)
    assert np.mean([s.l1 for s in steps[-5:]]) < 0.6 * np.mean([s.l1 for s in steps[:5]])
    assert not any(step.replanted for step in steps[: config.warmup_steps])
    with torch.no_grad():
        codes = [stage.quantizer.nearest(stage.encode(images(k))) for k in range(8)]
    assert len(torch.cat([c.flatten() for c in codes]).unique()) > 4


@pytest.mark.parametrize("discriminator_from", [None, 3])
@pytest.mark.parametrize("stop", [2, 5])
def test_a_resumed_autoencoder_equals_an_uninterrupted_one(tmp_path, stop, discriminator_from):
    config = AutoencoderTraining(
        steps=8, warmup_steps=2, learning_rate=1e-3, replant_every=2,
        discriminator_from=discriminator_from,
    )  # fmt: skip
    whole, _, steps = trained(config)
    torch.manual_seed(0)
    half = VQGAN(CONFIG)
    state = AutoencoderState(half, config)
    begun = train_autoencoder(half, images, config, state)
    first = [next(begun) for _ in range(stop)]
    state.save(tmp_path / "half")
    torch.manual_seed(1)
    again = VQGAN(CONFIG)
    state = AutoencoderState(again, config)
    state.load(tmp_path / "half")
    _, _, rest = trained(config, again, state)
    assert first + rest == steps
    assert same_weights(whole, again)


def test_replanting_asks_for_no_batch_before_the_first():
    asked = []

    def batch(step):
        asked.append(step)
        return images(step)

    config = AutoencoderTraining(steps=6, warmup_steps=0, replant_every=2)
    trained(config, batch=batch)
    assert min(asked) == 0


def test_a_discriminator_joins_late_and_pulls_the_reconstruction():
    alone, _, _ = trained(AutoencoderTraining(steps=4, warmup_steps=1))
    config = AutoencoderTraining(steps=4, warmup_steps=1, discriminator_from=4)
    watched, state, _ = trained(config)
    fresh = AutoencoderState(VQGAN(CONFIG), config)
    assert same_weights(alone, watched)
    assert state.adversary.state.step == 0
    assert same_weights(state.adversary.state.module, fresh.adversary.state.module)
    # the last layer is zero at first: gradients reach the stage from the second step on
    judged, state, _ = trained(AutoencoderTraining(steps=4, warmup_steps=1, discriminator_from=2))
    assert state.adversary.state.step == 2
    assert not same_weights(alone, judged)
    assert not same_weights(state.adversary.state.module, fresh.adversary.state.module)


@pytest.mark.slow
def test_a_discriminator_learns_to_tell_images_from_reconstructions():
    config = AutoencoderTraining(steps=25, warmup_steps=5, discriminator_from=0)
    stage, state, _ = trained(config)
    judge = state.adversary.state.module
    with torch.no_grad():
        real = images(100, n=8)
        assert judge(real).mean() > judge(stage(real).image).mean()


@pytest.mark.slow
def test_adapting_keeps_what_the_stage_knows_and_improves_on_new_images():
    def stripes(step):
        phase = torch.rand(2, 1, 1, 1, generator=torch.Generator().manual_seed(step)) * 6.28
        return 0.8 * torch.sin(phase + torch.arange(24) * 0.9).expand(2, 1, 24, 24)

    stage, _, _ = trained(AutoencoderTraining(steps=80, warmup_steps=40, learning_rate=3e-3))
    adapted = AutoencoderTraining(steps=60, warmup_steps=0, learning_rate=1e-3, adapt=True)
    with torch.no_grad():
        before = float((stage(stripes(0)).image - stripes(0)).abs().mean())
    _, _, steps = trained(adapted, stage, batch=stripes)
    assert steps[0].l1 == pytest.approx(before, rel=1e-4)  # neither standardised nor placed anew
    assert np.mean([s.l1 for s in steps[-5:]]) < 0.7 * before
    with torch.no_grad():
        z = torch.cat([stage.encode(stripes(k)) for k in range(8)])
    assert float(latent_drift(z)) < 0.01  # 34 without the term that holds them


def test_adapting_has_no_warm_up():
    with pytest.raises(ValueError, match="adapt needs no warmup_steps"):
        AutoencoderTraining(adapt=True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_and_leaves_the_step_before(bad):
    config = AutoencoderTraining(steps=5, warmup_steps=0)
    stage = VQGAN(CONFIG)
    state = AutoencoderState(stage, config)

    def batch(step):
        # place_codebook looks ahead at step 0
        return images(step) if step != 2 or state.step < 2 else images(step) * bad

    begun = train_autoencoder(stage, batch, config, state)
    next(begun), next(begun)
    before = {name: value.clone() for name, value in stage.state_dict().items()}
    with pytest.raises(NotFinite, match="step 3"):
        next(begun)
    assert state.step == 2
    assert all(torch.equal(before[name], value) for name, value in stage.state_dict().items())


# ---------------------------------------------------------------- LPIPS


class Gap(torch.nn.Module):
    """Stands in for the package's network: mean squared difference, per image."""

    shapes: ClassVar = []

    def __init__(self, net, verbose):
        super().__init__()
        assert (net, verbose) == ("vgg", False)
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, a, b):
        self.shapes.append(tuple(a.shape))
        return self.scale * (a - b).square().mean(dim=(1, 2, 3), keepdim=True)


@pytest.fixture
def lpips(monkeypatch):
    module = types.ModuleType("lpips")
    module.LPIPS = Gap
    monkeypatch.setitem(sys.modules, "lpips", module)
    Gap.shapes.clear()
    return module


def test_lpips_counts_at_both_resolutions_on_three_channels(lpips):
    distance = load_lpips(1, torch.device("cpu"))
    image = images(side=32)
    half = torch.nn.functional.interpolate(image, scale_factor=0.5, mode="nearest-exact")
    with_it = float(reconstruction_loss(image, image + 0.3, half - 0.6, distance))
    without = float(reconstruction_loss(image, image + 0.3, half - 0.6))
    assert with_it - without == pytest.approx(2 / 3 * 0.09 + 1 / 3 * 0.36, abs=1e-5)
    assert Gap.shapes == [(2, 3, 32, 32), (2, 3, 16, 16)]


def test_lpips_takes_part_and_is_not_trained(lpips):
    plain, _, _ = trained(AutoencoderTraining(steps=3, warmup_steps=1))
    both, state, _ = trained(AutoencoderTraining(steps=3, warmup_steps=1, lpips=True))
    assert not same_weights(plain, both)
    assert not any("scale" in name for name in state.stage.tensors())


def test_lpips_that_cannot_be_had_is_refused_before_the_first_step(monkeypatch):
    config = AutoencoderTraining(steps=3, warmup_steps=1, lpips=True)
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ValueError, match="pip install lpips, or leave it out"):
        next(train_autoencoder(VQGAN(CONFIG), images, config))

    def offline(**_):
        raise OSError("no route to host")

    module = types.ModuleType("lpips")
    module.LPIPS = offline
    monkeypatch.setitem(sys.modules, "lpips", module)
    with pytest.raises(ValueError, match="no route to host"):
        next(train_autoencoder(VQGAN(CONFIG), images, config))
    with pytest.raises(ValueError, match="1 or 3 channels, got 2"):
        load_lpips(2, torch.device("cpu"))


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(ValueError, match="11"):
        AutoencoderTraining(steps=10, warmup_steps=11)

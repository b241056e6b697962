"""A step of the noise estimator: phases, losses, parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import random_model, tiny_config
from trainings import config

from napari_damm.model import DAMM
from napari_damm.sampling import sample_dpm_solver
from napari_damm.schedule import NoiseSchedule
from napari_damm.train.batches import Batch
from napari_damm.train.losses import gated_loss, joint_loss
from napari_damm.train.progress import learning_rate
from napari_damm.train.state import TrainState
from napari_damm.train.step import NoiseStep, phase_at, timestep_weights


def latents(n=4, side=4, seed=3):
    generator = torch.Generator().manual_seed(seed)
    made = (torch.randn(n, 4, side, side, generator=generator) for _ in range(3))
    return Batch(*made, torch.zeros(n, side, side))


def stepper(model, **changes):
    wishes = config(**changes)
    state = TrainState(model.unet, wishes.learning_rate or 2e-4, ema_decay=wishes.ema_decay)
    model.unet.train()
    return NoiseStep(model.unet, state, wishes, model.config.unet)


def gradients(model):
    return {n: p.grad.clone() for n, p in model.unet.named_parameters() if p.grad is not None}


def test_the_gated_phase_starts_at_its_share():
    assert phase_at(0.39, config(gated_from=0.4)) == "joint"
    assert phase_at(0.4, config(gated_from=0.4)) == "gated"
    assert phase_at(0.0, config(gated_from=0.0)) == "gated"


def test_the_joint_loss_is_the_mean_of_both_branches():
    step = stepper(random_model(tiny_config()), weight_limit=0.0)
    losses = step.backward(latents(), 5, "joint", 1, 0)
    assert losses.loss == pytest.approx((losses.uni + losses.multi) / 2, rel=1e-5)


@pytest.mark.parametrize("phase", ["joint", "gated"])
def test_a_step_is_the_loss_of_its_phase(phase):
    """The same numbers as the two losses, computed by hand from the same call."""
    model = random_model(tiny_config())
    step = stepper(model, weight_limit=0.0, confidence_weight=0.01)
    batch = latents()
    made = step.backward(batch, 7, phase, 1, 0)
    generator = torch.Generator().manual_seed((0 * 1_000_003 + 7) * 64 + 500_000_000)
    t = torch.randint(1000, (4,), generator=generator)
    eps = torch.randn(batch.target.shape, generator=generator)
    x_t = NoiseSchedule().add_noise(batch.target, eps, t)
    other = random_model(tiny_config())
    other.unet.train()
    outputs = other.predict_noise(x_t, t, batch.primary, batch.secondary, phase == "gated")
    if phase == "gated":
        loss = gated_loss(outputs, eps, 0.5, 0.01).total
    else:
        loss = joint_loss(outputs, eps)
    assert made.loss == pytest.approx(float(loss.detach()), rel=1e-5)


def test_parts_add_up_to_the_whole_batch():
    """With fixed statistics the gradients of two halves are those of the whole."""
    found = []
    for parts in (1, 2):
        model = random_model(tiny_config())
        step = stepper(model)
        model.unet.eval()
        step.backward(latents(), 3, "gated", parts, 0)
        found.append(gradients(model))
    whole, halves = found
    for name, gradient in whole.items():
        torch.testing.assert_close(halves[name], gradient, rtol=1e-3, atol=1e-6)


def test_the_joint_phase_leaves_the_confidence_alone():
    model = random_model(tiny_config())
    stepper(model).backward(latents(), 3, "joint", 1, 0)
    assert not [name for name in gradients(model) if "confidence" in name]


def test_without_a_limit_all_timesteps_weigh_alike():
    assert torch.equal(timestep_weights(NoiseSchedule(), 0.0), torch.ones(1000))


def test_timesteps_weigh_by_the_error_of_the_picture_up_to_the_limit():
    schedule = NoiseSchedule()
    weights = timestep_weights(schedule, 20.0)
    assert float(weights.mean()) == pytest.approx(1.0, rel=1e-5)
    # the error of x_0 per error of eps is sqrt((1 - abar) / abar)
    for t in (0, 100, 500):
        abar = float(schedule.alphas_cumprod[t])
        ratio = ((1 - abar) / abar) ** 0.5 / 20.0
        assert float(weights[t] / weights[999]) == pytest.approx(ratio, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [2.0, 0.0], ids=["uni", "multi"])
def test_it_overfits_four_patches(four_patches, gamma):
    """What is sampled from the patches' conditions is what they are, by either branch."""
    model, batch = four_patches

    def denoise(x_t, t):
        return model.gated_noise(x_t, t, batch.primary, batch.secondary, gamma).eps

    noise = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        sampled = sample_dpm_solver(denoise, noise, NoiseSchedule(), 16)
    error = (sampled - batch.target).square().mean() / batch.target.square().mean()
    assert float(error) < 0.1


@pytest.fixture(scope="module")
def four_patches():
    """A model that was trained long on four patches, each three times in a batch."""
    torch.manual_seed(0)
    model = DAMM(tiny_config(unet=(32, 32)))
    step = stepper(model, learning_rate=5e-3, weight_limit=0.0)
    batch, errors = latents(4), []
    repeated = Batch(*(z.repeat(3, *[1] * (z.ndim - 1)) for z in batch))
    for k in range(500):
        errors.append(step.backward(repeated, k, "joint", 1, 0).loss)
        step.state.apply(learning_rate(5e-3, k, 500, k / 500), 1.0)
    assert np.mean(errors[:5]) > 0.7  # the best constant guess makes 0.80
    assert np.mean(errors[-40:]) < 0.2
    model.unet.eval()
    return model, batch


def planted(better: str) -> tuple[float, float]:
    """Mean confidence before and after training where one branch is always the better one."""
    torch.manual_seed(0)
    model = random_model(tiny_config(), seed=1)
    step = stepper(model, learning_rate=2e-3, confidence_weight=1.0, weight_limit=0.0)
    worse = model.unet.multi if better == "uni" else model.unet.uni
    with torch.no_grad():  # its output is far from any noise, and stays so
        worse.output.bias.fill_(5.0)
    for parameter in worse.parameters():
        parameter.requires_grad_(False)
    state = TrainState(model.unet, 2e-3)
    step.state = state
    seen = []
    for k in range(60):
        seen.append(step.backward(latents(4, seed=k), k, "gated", 1, 0).confidence)
        state.apply(2e-3, 1.0)
    return float(np.mean(seen[:5])), float(np.mean(seen[-5:]))


@pytest.mark.slow
def test_confidence_falls_where_the_nuclei_mislead():
    before, after = planted("uni")
    assert after < before - 0.05
    assert after < 0.45


@pytest.mark.slow
def test_confidence_rises_where_the_nuclei_help():
    before, after = planted("multi")
    assert after > before + 0.05
    assert after > 0.55

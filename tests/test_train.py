"""Training of the noise estimator: phases, resuming, and that it learns."""

from __future__ import annotations

import pytest
import torch
from models import random_model, tiny_config

from napari_damm.model import DAMM
from napari_damm.schedule import NoiseSchedule
from napari_damm.train import (
    Latents,
    TrainConfig,
    draw_batch,
    encode_windows,
    timestep_weights,
    train_noise_estimator,
)
from napari_damm.train_state import TrainState


def latents(n=6, side=4):
    generator = torch.Generator().manual_seed(3)
    return Latents(*(torch.randn(n, 4, side, side, generator=generator) for _ in range(3)))


def fresh():
    torch.manual_seed(0)
    return DAMM(tiny_config(unet=(32, 32, 32)))


def train(model, config, state=None):
    state = state or TrainState(model.unet, config.learning_rate, config.average)
    return list(train_noise_estimator(model, latents(), config, state)), state


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"steps": 10, "gated_from": 11}, "11"),
        ({"batch_size": 0}, "0"),
        ({"learning_rate": 0.0}, "0.0"),
    ],
)
def test_a_bad_setting_is_refused_by_value(values, named):
    with pytest.raises(ValueError, match=named):
        TrainConfig(**values)


def test_the_gated_phase_starts_where_it_is_told():
    steps, _ = train(fresh(), TrainConfig(steps=4, gated_from=2, batch_size=2))
    assert [step.phase for step in steps] == ["joint", "joint", "gated", "gated"]


def test_the_joint_loss_is_the_mean_of_both_branches():
    steps, _ = train(fresh(), TrainConfig(steps=2, gated_from=2, batch_size=2))
    for step in steps:
        assert step.loss == pytest.approx((step.loss_uni + step.loss_multi) / 2, rel=1e-5)


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    config = TrainConfig(steps=6, gated_from=3, batch_size=2)
    whole = fresh()
    _, whole_state = train(whole, config)

    model = fresh()
    state = TrainState(model.unet, config.learning_rate, config.average)
    for step in train_noise_estimator(model, latents(), config, state):
        if step.step == 3:
            state.save(tmp_path / "half")
            break
    again = random_model(tiny_config(unet=(32, 32, 32)), seed=9)
    resumed = TrainState(again.unet, config.learning_rate, config.average)
    resumed.load(tmp_path / "half")
    train(again, config, resumed)
    for name, value in whole.unet.state_dict().items():
        assert torch.equal(again.unet.state_dict()[name], value), name
    for name, value in whole_state.smooth.items():
        assert torch.equal(resumed.smooth[name], value), name


def test_it_learns():
    config = TrainConfig(steps=40, gated_from=30, batch_size=4, learning_rate=3e-3)
    steps, _ = train(fresh(), config)
    first = sum(step.loss_uni for step in steps[:10]) / 10
    last = sum(step.loss_uni for step in steps[-10:]) / 10
    assert last < 0.97 * first


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


def test_a_batch_is_a_function_of_seed_and_step():
    config = TrainConfig(batch_size=3, crop=2, seed=1)
    a, b, other = (draw_batch(latents(), config, step) for step in (5, 5, 6))
    assert a.primary.shape == (3, 4, 2, 2)
    assert torch.equal(a.target, b.target)
    assert not torch.equal(a.target, other.target)


def test_windows_are_encoded_by_the_first_stage_of_their_role():
    model = random_model(tiny_config())
    windows = torch.rand(2, 3, 16, 16) * 2 - 1
    made = encode_windows(model, windows)
    with torch.no_grad():
        assert torch.allclose(made.secondary, model.encode(windows[:, 1:2], "nuclei"), atol=1e-5)
        assert torch.allclose(made.target, model.encode(windows[:, 2:], "target"), atol=1e-5)

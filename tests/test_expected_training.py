"""The expected map is learnt on pixels: the decoder learns along, encoders stay, bits resume."""

from __future__ import annotations

from contextlib import closing

import pytest
import torch
from models import CARD, randomise
from training_data import layers
from trainings import config, run, weights

from napari_damm.events import TrainStep
from napari_damm.model import DAMM, DAMMConfig
from napari_damm.schedule import NoiseSchedule
from napari_damm.train import fine_tune
from napari_damm.train.expected import clean, expected_error, learns_expected_map


def guided():
    model = randomise(DAMM(DAMMConfig.of_preset("tiny", "ours")))
    model.card.update({**CARD, "name": "base"})
    return model


def test_the_clean_latent_is_what_the_velocity_says():
    generator = torch.Generator().manual_seed(0)
    x_0, eps = torch.randn(2, 1, 4, 4, 4, generator=generator)
    abar = NoiseSchedule().alphas_cumprod[-1].float()
    x_t = abar**0.5 * x_0 + (1 - abar) ** 0.5 * eps
    velocity = abar**0.5 * eps - (1 - abar) ** 0.5 * x_0
    torch.testing.assert_close(clean(velocity, x_t), x_0, rtol=1e-4, atol=1e-4)


def test_its_error_is_drawn_by_seed_and_step():
    model, images = guided(), torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        first, again, later, other = (
            float(expected_error(model, images, step, seed))
            for step, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
        )
    assert first == again
    assert len({first, later, other}) == 3


@pytest.mark.parametrize("step", [3, 7])
def test_every_fourth_time_the_target_s_own_latent_is_drawn(step):
    model, images = guided(), torch.rand(2, 3, 64, 64) * 2 - 1
    expected_error(model, images, step, 0).backward()
    assert all(p.grad is None for p in model.unet.parameters())
    guide = [p.grad for p in model.first_stage("target").guide.parameters()]
    assert (guide[0] is None) == (step == 7)


def test_models_without_a_guided_decoder_have_no_such_part():
    assert learns_expected_map(guided(), 1.0)
    assert not learns_expected_map(guided(), 0.0)
    assert not learns_expected_map(DAMM(DAMMConfig.of_preset("tiny")), 1.0)


def test_decoder_and_noise_estimator_learn_and_encoders_stay(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(whole, model=guided())
    made, base = weights(whole / "mine.safetensors"), guided().state_dict()
    changed = {name for name, value in made.items() if not torch.equal(value, base[name].half())}
    changed = {name for name in changed if "running" not in name and "tracked" not in name}
    assert any(name.startswith("unet.") for name in changed)
    target = {n.split(".")[2] for n in changed if n.startswith("first_stages.")}
    assert target == {"from_latent", "decoder", "up", "guide", "output"}
    assert all(n.startswith("first_stages.target") for n in changed if n.startswith("first_"))
    # and a training that is stopped and resumed ends with the same bits
    with closing(fine_tune(layers(), guided(), config(), out)) as events:
        next(event for event in events if isinstance(event, TrainStep) and event.step == 2)
    run(out, model=guided(), resume=True)
    again = weights(out / "mine.safetensors")
    assert all(torch.equal(again[name], value) for name, value in made.items())

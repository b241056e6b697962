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
from napari_damm.train.batches import Crops
from napari_damm.train.expected import (
    DECODER,
    ENCODER,
    clean,
    encode_crops,
    expected_error,
    learns_expected_map,
    reproduces,
    reproduction_error,
    settle_statistics,
)


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


def crops(planted=0.0):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Crops(images, torch.full((2, 8, 8), planted))


def test_its_error_is_drawn_by_seed_and_step():
    model, given = guided(), crops()
    with torch.no_grad():
        encoded = encode_crops(model, given)
        first, again, later, other = (
            float(expected_error(model, given, encoded, step, seed))
            for step, seed in ((0, 0), (0, 0), (1, 0), (0, 1))
        )
    assert first == again
    assert len({first, later, other}) == 3


@pytest.mark.parametrize("step", [15, 31])
def test_every_sixteenth_time_the_target_s_own_latent_is_drawn(step):
    model = guided()
    assert reproduces(step)
    reproduction_error(model, crops(), step).backward()
    assert all(p.grad is None for p in model.unet.parameters())
    guide = [p.grad for p in model.first_stage("target").guide.parameters()]
    assert (guide[0] is None) == (step == 31)


def test_a_nuclei_image_that_misleads_has_no_part_in_the_map():
    model, given = guided(), crops(planted=1.0)
    other = given._replace(images=given.images.clone())
    other.images[:, 1] = -other.images[:, 1]
    with torch.no_grad():
        first, second = (
            float(expected_error(model, each, encode_crops(model, each), 0, 0))
            for each in (given, other)
        )
    assert first == second


def test_settled_statistics_are_those_of_the_weights_whatever_was_counted_before():
    model, other = guided(), guided()
    for norm in (each.first_stage("target").detail[1] for each in (model, other)):
        assert norm.momentum == 0.1
    other.first_stage("target").detail[1].running_mean += 5
    for each in (model, other):
        settle_statistics(each.eval(), [crops(), crops(0.2)], 0)
    first, second = model.state_dict(), other.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not any(each.training for each in model.modules())
    # what is drawn now is what a batch of these crops would be drawn as
    given = crops()
    settle_statistics(model, [given], 0)
    with torch.no_grad():
        settled = float(expected_error(model, given, encode_crops(model, given), 0, 0))
        model.first_stage("target").train()
        in_a_batch = float(expected_error(model, given, encode_crops(model, given), 0, 0))
    assert settled == pytest.approx(in_a_batch, rel=1e-3)
    assert model.first_stage("target").detail[1].momentum == 0.1


def test_models_without_a_guided_decoder_have_no_such_part():
    assert learns_expected_map(guided(), 1.0)
    assert not learns_expected_map(guided(), 0.0)
    assert not learns_expected_map(DAMM(DAMMConfig.of_preset("tiny")), 1.0)


@pytest.mark.parametrize("encoders", [False, True])
def test_what_draws_the_map_learns_and_resumes_to_the_same_bits(tmp_path, encoders):
    whole, out = tmp_path / "whole", tmp_path / "out"
    settings = config(adapt_encoders=encoders)
    run(whole, model=guided(), changes={"adapt_encoders": encoders})
    made, base = weights(whole / "mine.safetensors"), guided().state_dict()
    changed = {name for name, value in made.items() if not torch.equal(value, base[name].half())}
    changed = {name for name in changed if "running" not in name and "tracked" not in name}
    assert any(name.startswith("unet.") for name in changed)
    parts = {tuple(n.split(".")[1:3]) for n in changed if n.startswith("first_stages.")}
    assert {name for role, name in parts if role == "target"} == set(DECODER)
    assert {name for role, name in parts if role != "target"} == set(ENCODER if encoders else ())
    # and a training that is stopped and resumed ends with the same bits
    with closing(fine_tune(layers(), guided(), settings, out)) as events:
        next(event for event in events if isinstance(event, TrainStep) and event.step == 2)
    run(out, model=guided(), changes={"adapt_encoders": encoders}, resume=True)
    again = weights(out / "mine.safetensors")
    assert all(torch.equal(again[name], value) for name, value in made.items())

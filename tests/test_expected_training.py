"""The expected map is learnt on pixels: the decoder learns along, encoders stay, bits resume."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest
import torch
from models import CARD, guided, randomise
from training_data import layers
from trainings import config, run, small, weights

from napari_damm.engine.sampler import WindowSampler
from napari_damm.events import Notice, TrainStep
from napari_damm.model import DAMM, DAMMConfig
from napari_damm.model_file import read_card
from napari_damm.schedule import NoiseSchedule
from napari_damm.train import fine_tune
from napari_damm.train.batches import Crops
from napari_damm.train.expected import (
    DECODER,
    ENCODER,
    GIVEN_DETAIL,
    choose_parameters,
    clean,
    encode_crops,
    expected_errors,
    learns_expected_map,
    pixel_error,
    reproduces,
    reproduction_error,
    with_detail,
)
from napari_damm.train.settling import settle_statistics


@pytest.fixture(scope="module", autouse=True)
def _small():
    with small():
        yield


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


def test_its_error_is_that_of_the_map_of_no_noise_whatever_the_step():
    model, given = guided().eval(), crops()
    with torch.no_grad():
        encoded = encode_crops(model, given)
        first, later, alone = (
            float(expected_errors(model, given, encoded, step).pixels) for step in (0, 1, 8)
        )
        nothing = torch.zeros_like(encoded.primary)
        t = torch.full((len(nothing),), 999)
        between = model.unet.encode(nothing, t, encoded.primary, encoded.secondary)
        latent = clean(model.unet.decode_multi(between), nothing)
        made = model.decode(latent, primary=encoded.features, secondary=given.images[:, 1:2])
    assert first == later == pytest.approx(float(pixel_error(made, given.images[:, 2:])), rel=1e-5)
    assert alone != first  # the turn of the uni-modal branch


@pytest.mark.parametrize("step", [15, 31])
def test_every_sixteenth_time_the_target_s_own_latent_is_drawn(step):
    model = guided()
    assert reproduces(step)
    choose_parameters(model, decoder=True)
    reproduction_error(model, crops(), step).backward()
    assert all(p.grad is None for p in model.unet.parameters())
    guide = [p.grad for p in model.first_stage("target").guide.parameters()]
    assert (guide[0] is None) == (step == 31)


@pytest.mark.parametrize("step", [15, 31])
def test_a_decoder_that_stays_as_it_is_leaves_detail_to_learn(step):
    model = guided()
    choose_parameters(model)
    reproduction_error(model, crops(), step).backward()
    learnt = {name for name, p in model.named_parameters() if p.grad is not None}
    assert learnt == {name for name, _ in model.named_parameters() if name.startswith("detail.")}


def test_what_learns_from_scratch_and_in_fine_tuning():
    def parts(**chosen):
        model = guided()
        choose_parameters(model, **chosen)
        names = [n.split(".") for n, p in model.named_parameters() if p.requires_grad]
        return {tuple(n[1:3]) if n[0] == "first_stages" else n[0] for n in names}

    decoder, encoders = (
        [("target", name) for name in DECODER],
        [(role, name) for role in ("primary", "secondary") for name in ENCODER],
    )
    assert parts() == {"unet", "detail"}
    assert parts(decoder=True) == {"unet", "detail", *decoder}
    assert parts(encoders=True) == {"unet", "detail", *encoders}


def test_a_nuclei_image_that_misleads_has_no_part_in_the_map():
    model, given = guided(), crops(planted=1.0)
    other = given._replace(images=given.images.clone())
    other.images[:, 1] = -other.images[:, 1]
    with torch.no_grad():
        first, second = (
            float(expected_errors(model, each, encode_crops(model, each), 0).pixels)
            for each in (given, other)
        )
    assert first == second


def test_settled_statistics_are_those_of_the_weights_whatever_was_counted_before():
    model, other = guided(), guided()
    for norm in (each.detail.down[0][1] for each in (model, other)):
        assert norm.momentum == 0.1
    other.detail.down[0][1].running_mean += 5
    for each in (model, other):
        settle_statistics(each.eval(), [crops(), crops(0.2)])
    first, second = model.state_dict(), other.state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not any(each.training for each in model.modules())
    # what is drawn now is what a batch of these crops would be drawn as
    given = crops()
    settle_statistics(model, [given])
    with torch.no_grad():
        settled = float(expected_errors(model, given, encode_crops(model, given), 0).pixels)
        model.detail.train()
        in_a_batch = float(expected_errors(model, given, encode_crops(model, given), 0).pixels)
    assert settled == pytest.approx(in_a_batch, rel=1e-2)
    assert model.detail.down[0][1].momentum == 0.1


def test_models_that_predict_the_noise_have_no_such_part():
    assert learns_expected_map(guided(), 1.0)
    assert not learns_expected_map(guided(), 0.0)
    noise = DAMM(DAMMConfig.of_preset("tiny"))
    assert not learns_expected_map(noise, 1.0)
    assert not learns_expected_map(with_detail(noise, 0), 1.0)


def older():
    """Return a model of our recipe as it was before: other autoencoders, no detail."""
    config = DAMMConfig.of_preset("tiny")
    unet = replace(config.unet, predicts="velocity", confidence_from="both")
    model = randomise(DAMM(replace(config, unet=unet, gate="cell", read_out="mean")))
    model.card.update({**CARD, "name": "base"})
    return model


@torch.no_grad()
def test_detail_that_is_given_to_an_older_model_adds_nothing_yet():
    base, image = older(), crops().images[:, :1]
    given = with_detail(base, 3)
    assert given.config == replace(base.config, detail=GIVEN_DETAIL)
    assert given.card == base.card
    assert with_detail(given, 4) is given
    z = base.encode(image, "target")
    assert torch.equal(given.decode(z, primary=image, secondary=image), base.decode(z))
    again, other = with_detail(base, 3).state_dict(), with_detail(base, 4).state_dict()
    name = "detail.down.0.0.weight"
    assert torch.equal(again[name], given.state_dict()[name])
    assert not torch.equal(again[name], other[name])


def test_an_older_model_learns_its_map_and_keeps_its_autoencoders(tmp_path, monkeypatch):
    base, starts, sample = older(), [], WindowSampler.run
    monkeypatch.setattr(
        WindowSampler,
        "run",
        lambda self, pool: starts.append(self.sampling.expected_from) or sample(self, pool),
    )
    run(tmp_path / "out", model=base)
    made, before = weights(tmp_path / "out" / "mine.safetensors"), base.state_dict()
    assert any(made[n].any() for n in made if n.startswith("detail.output."))
    stages = [n for n in before if n.startswith("first_stages.") and "codebook" not in n]
    assert all(torch.equal(made[name], before[name].half()) for name in stages)
    card = read_card(tmp_path / "out" / "mine.safetensors")
    assert card["architecture"]["expected_from"] == "zero"
    assert base.config.expected_from == "noise"
    # the base is judged as it predicts, what comes of it as it learns
    assert (starts[0], set(starts[1:])) == ("noise", {"zero"})
    assert any(not torch.equal(made[n], before[n].half()) for n in before if n.startswith("unet."))


@pytest.mark.slow
@pytest.mark.parametrize("encoders", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_what_draws_the_map_learns_and_resumes_to_the_same_bits(tmp_path, encoders):
    whole, out = tmp_path / "whole", tmp_path / "out"
    settings = config(adapt_encoders=encoders)
    run(whole, model=guided(), changes={"adapt_encoders": encoders})
    made, base = weights(whole / "mine.safetensors"), guided().state_dict()
    changed = {name for name, value in made.items() if not torch.equal(value, base[name].half())}
    assert any(name.startswith("detail.") for name in changed)
    assert any(name.startswith("unet.") for name in changed)
    parts = {tuple(n.split(".")[1:3]) for n in changed if n.startswith("first_stages.")}
    assert not [name for role, name in parts if role == "target"]
    assert {name for role, name in parts if role != "target"} == set(ENCODER if encoders else ())
    # and a training that is stopped and resumed ends with the same bits
    with closing(fine_tune(layers(), guided(), settings, out)) as events:
        next(event for event in events if isinstance(event, TrainStep) and event.step == 2)
    run(out, model=guided(), changes={"adapt_encoders": encoders}, resume=True)
    again = weights(out / "mine.safetensors")
    assert all(torch.equal(again[name], value) for name, value in made.items())


@pytest.mark.slow
def test_crops_of_the_map_are_computed_in_parts_when_memory_runs_out(tmp_path, monkeypatch):
    from napari_damm.train import gradients

    def scarce(model, some, *rest):
        if len(some.images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return expected_errors(model, some, *rest)

    monkeypatch.setattr(gradients, "expected_errors", scarce)
    events = run(tmp_path / "run", model=guided())
    told = [event.message for event in events if isinstance(event, Notice)]
    assert any("out of memory" in message and "parts" in message for message in told)
    assert [event for event in events if isinstance(event, TrainStep)]

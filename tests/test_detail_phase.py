"""The detail alone learns at last: all else stays, maps are drawn once, bits hang on the step."""

from __future__ import annotations

import pytest
import torch
from models import CARD, randomise

from napari_damm.model import DAMM, DAMMConfig
from napari_damm.train import detail_phase
from napari_damm.train.batches import Crops
from napari_damm.train.config import TrainConfig
from napari_damm.train.detail_phase import DetailPhase
from napari_damm.train.expected import choose_parameters, detail_error, drawn_crops
from napari_damm.train.progress import detail_from, part_of
from napari_damm.train.state import TrainState


def crops(step):
    generator = torch.Generator().manual_seed(step)
    return Crops(torch.rand(1, 3, 64, 64, generator=generator) * 2 - 1, torch.zeros(1, 8, 8))


@pytest.fixture
def state():
    model = randomise(DAMM(DAMMConfig.of_preset("tiny", "ours")))
    model.card.update(CARD)
    choose_parameters(model)
    state = TrainState(model, 1e-2)
    for average in state.ema.values():
        average.add_(0.01)  # they lag behind, as after some steps
    return state


def phase_of(state, read=crops):
    return DetailPhase(state.module, state, read, [crops(99)], crop_px=32, seed=1)


def test_the_averaged_weights_of_all_else_become_the_weights_and_stay(state):
    phase = phase_of(state)
    settled = {n: p.detach().clone() for n, p in state.parameters.items()}
    phase.backward(5, 1.0)
    state.apply(1e-2)
    for name, parameter in state.parameters.items():
        if name.startswith("detail."):
            assert not torch.equal(parameter, settled[name])
        else:
            assert torch.equal(parameter, state.ema[name])
            assert torch.equal(parameter, settled[name])


def test_all_learns_again_where_a_training_goes_back(state):
    phase = phase_of(state)
    assert not all(p.requires_grad for p in state.parameters.values())
    phase.end()
    assert all(p.requires_grad for p in state.parameters.values())


def test_a_map_is_drawn_once_and_seen_often(state, monkeypatch):
    read = []

    def counted(step):
        read.append(step)
        return crops(step)

    phase = phase_of(state, counted)
    monkeypatch.setattr(detail_phase, "KEPT", 4)
    monkeypatch.setattr(detail_phase, "DRAWN_EVERY", 2)
    for step in range(40, 44):
        assert phase.batch(step).drawn.shape == (detail_phase.CROPS, 1, 32, 32)
    assert read == [17, 18, 19, 20, 21]


def test_a_resumed_phase_sees_what_an_uninterrupted_one_sees(state):
    phase = phase_of(state)
    for step in range(3, 6):
        phase.batch(step)
    again = phase_of(state)
    for there, here in zip(phase.batch(6), again.batch(6), strict=True):
        assert torch.equal(there, here)


def test_the_images_of_a_crop_are_turned_alike(state, monkeypatch):
    monkeypatch.setattr(
        detail_phase,
        "drawn_crops",
        lambda model, given, step: detail_phase.DrawnCrops(*[given.images[:, :1]] * 4),
    )
    # an image whose pixels are all different: each says where it came from
    ramp = torch.arange(64.0 * 64).reshape(1, 1, 64, 64)
    images = crops(0)._replace(images=ramp.expand(1, 3, 64, 64))
    seen = phase_of(state, lambda number: images).batch(3)
    assert all(torch.equal(image, seen.drawn) for image in seen)
    rows, columns = (seen.drawn.diff(dim=dim)[:, 0, 0, 0].tolist() for dim in (2, 3))
    ways = set(zip(rows, columns, strict=True))
    assert all({abs(row), abs(column)} == {1, 64} for row, column in ways)
    assert len(ways) > 2


@torch.no_grad()
def test_what_it_learns_from_is_what_a_prediction_draws(state):
    model, given = state.module.eval(), crops(0)
    drawn = drawn_crops(model, given, 3)
    made = model.detail(drawn.drawn, drawn.primary, drawn.secondary)
    vessels, nuclei, target = given.images.split(1, dim=1)
    assert torch.equal(drawn.primary, vessels)
    assert torch.equal(drawn.secondary, nuclei)
    error = (made - target).square().mean()
    torch.testing.assert_close(detail_error(model, drawn), error)
    # each sixteenth time the target's own latent
    latent, (_, features) = model.encode(target, "target"), model.encode_primary(vessels)
    assert torch.equal(drawn_crops(model, given, 15).drawn, model.draw(latent, features))


def test_parts_of_a_training():
    assert part_of(0.25, 0.5) == (False, 0.5)
    assert part_of(0.5, 0.5) == (True, 0.0)
    assert part_of(0.75, 0.5) == (True, 0.5)
    assert part_of(0.99, 1.0) == (False, 0.99)
    assert part_of(0.0, 0.0) == (True, 0.0)
    assert detail_from(TrainConfig()) == 0.4
    assert detail_from(TrainConfig(preset="tiny")) == 0.9
    assert detail_from(TrainConfig(detail_from=1.0)) == 1.0

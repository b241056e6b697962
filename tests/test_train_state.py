"""The state of a training: learning rate, moving average, checkpoints."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_damm.train_state import WARMUP_STEPS, TrainState


def line():
    torch.manual_seed(0)
    return nn.Linear(2, 1)


def descend(state, times, rate=0.1):
    for _ in range(times):
        state.descend(state.module(torch.ones(1, 2)).square().sum(), rate)


def test_the_learning_rate_warms_up_and_falls_to_its_floor():
    state = TrainState(line(), 1.0)
    assert state.cosine_rate(1.0, 1000) == pytest.approx(1 / WARMUP_STEPS)
    state.step = 500
    assert state.cosine_rate(1.0, 1000) == pytest.approx(0.05 + 0.95 / 2)
    state.step = 1000
    assert state.cosine_rate(1.0, 1000) == pytest.approx(0.05)


def test_without_averaging_the_average_is_the_weights():
    state = TrainState(line(), 0.1, average=0.0)
    descend(state, 3)
    assert torch.equal(state.smooth["weight"], state.module.weight)


def test_the_average_of_one_step_is_by_hand():
    state = TrainState(line(), 0.1, average=0.999)
    before = state.module.weight.detach().clone()
    descend(state, 1)
    # a young average uses (1 + step) / (10 + step) = 2 / 11
    expected = before * 2 / 11 + state.module.weight.detach() * 9 / 11
    assert torch.allclose(state.smooth["weight"], expected)
    state.use_average()
    assert torch.allclose(state.module.weight, expected)


def test_a_checkpoint_restores_weights_average_optimiser_and_step(tmp_path):
    state = TrainState(line(), 0.1, average=0.9)
    descend(state, 5)
    state.save(tmp_path / "c")
    other = TrainState(nn.Linear(2, 1), 0.1, average=0.9)
    other.load(tmp_path / "c")
    assert other.step == 5
    descend(state, 5)
    descend(other, 5)
    assert torch.equal(state.module.weight, other.module.weight)
    assert torch.equal(state.smooth["bias"], other.smooth["bias"])


def test_saving_leaves_one_file_even_over_an_old_one(tmp_path):
    state = TrainState(line(), 0.1)
    for _ in range(2):
        state.save(tmp_path / "c")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_parameter_set_by_hand_can_be_forgotten():
    state = TrainState(line(), 0.1)
    descend(state, 1)
    state.forget(state.module.bias)
    assert state.module.bias not in state.optimizer.state
    assert state.module.weight in state.optimizer.state

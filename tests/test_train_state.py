"""The state of a training: steps, learning rate, moving average, checkpoints."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from napari_damm.train.rates import cosine_rate, warmup_steps
from napari_damm.train.state import (
    NotFinite,
    TrainState,
    load_states,
    read_extra,
    save_states,
)
from napari_damm.util import files


def line(inputs=2):
    torch.manual_seed(0)
    return nn.Linear(inputs, 1)


def descend(state, times, rate=0.1):
    for _ in range(times):
        state.descend(state.module(torch.ones(1, 2)).square().sum(), rate)


def everything(state):
    return {name: tensor.clone() for name, tensor in state.tensors().items()}, state.step


def same(a, b):
    return a[1] == b[1] and a[0].keys() == b[0].keys() and all(
        torch.equal(a[0][name], b[0][name]) for name in a[0]
    )  # fmt: skip


def test_the_learning_rate_warms_up_and_falls_to_its_floor():
    assert cosine_rate(0.0, 0, warmup=100) == pytest.approx(1 / 100)
    assert cosine_rate(0.0, 99, warmup=100) == pytest.approx(1)
    assert cosine_rate(0.5, 500, warmup=100) == pytest.approx(0.05 + 0.95 / 2)
    assert cosine_rate(1.0, 1000, warmup=100) == pytest.approx(0.05)
    assert cosine_rate(1.5, 1000, warmup=100, floor=0.2) == pytest.approx(0.2)


def test_the_warm_up_is_a_twentieth_of_the_steps_but_100_at_most_and_1_at_least():
    assert [warmup_steps(n) for n in (10**5, 2000, 400, 5)] == [100, 100, 20, 1]


def test_gradients_of_parts_add_up_to_those_of_the_whole_batch():
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
    whole, parts = TrainState(line(), 0.1), TrainState(line(), 0.1)
    whole.descend(whole.module(x).square().mean(), 0.1)
    for part in (x[:2], x[2:]):
        parts.backward(parts.module(part).square().mean(), len(part) / len(x))
    parts.apply(0.1)
    assert torch.allclose(whole.module.weight, parts.module.weight)
    assert whole.step == parts.step == 1


def test_gradients_are_clipped_to_the_norm_asked_for():
    seen = []
    state = TrainState(line(), 0.1)
    state.optimizer.register_step_pre_hook(
        lambda *_: seen.append(sum(p.grad.square().sum() for p in state.parameters.values()) ** 0.5)
    )
    state.backward(1000 * state.module(torch.ones(1, 2)).sum())
    state.apply(0.1, clip=0.25)
    assert float(seen[0]) == pytest.approx(0.25, rel=1e-4)


def test_discarded_gradients_do_not_count():
    state, other = TrainState(line(), 0.1), TrainState(line(), 0.1)
    state.backward(100 * state.module(torch.ones(1, 2)).sum())
    state.discard()
    descend(state, 1)
    descend(other, 1)
    assert same(everything(state), everything(other))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradients_that_are_no_numbers_change_nothing(bad):
    state = TrainState(line(), 0.1, ema_decay=0.9)
    descend(state, 2)
    before = everything(state)
    state.backward(bad * state.module(torch.ones(1, 2)).sum())
    with pytest.raises(NotFinite, match="step 3"):
        state.apply(0.1)
    assert same(everything(state), before)
    descend(state, 1)
    assert all(bool(torch.isfinite(p).all()) for p in state.module.parameters())


def test_without_averaging_the_average_is_the_weights():
    state = TrainState(line(), 0.1, ema_decay=0.0)
    descend(state, 3)
    assert torch.equal(state.ema["weight"], state.module.weight)


def test_the_average_of_one_step_is_by_hand():
    state = TrainState(line(), 0.1, ema_decay=0.999)
    before = state.module.weight.detach().clone()
    descend(state, 1)
    # a young average uses (1 + step) / (10 + step) = 2 / 11
    expected = before * 2 / 11 + state.module.weight.detach() * 9 / 11
    assert torch.allclose(state.ema["weight"], expected)


def test_all_parameters_at_once_step_as_one_by_one_and_resume_exactly(tmp_path, monkeypatch):
    """What is used on a card, here on the CPU."""
    plain = TrainState(line(), 0.1, 0.9)
    monkeypatch.setattr("napari_damm.train.state.on_card", lambda parameters: True)
    state = TrainState(line(), 0.1, 0.9)
    assert state.together > plain.together
    for each in (state, plain):
        descend(each, 5)
    for name, tensor in plain.tensors().items():
        torch.testing.assert_close(state.tensors()[name], tensor, atol=1e-6, rtol=1e-6)
    state.save(tmp_path / "c")
    other = TrainState(nn.Linear(2, 1), 0.1, 0.9)
    other.load(tmp_path / "c")
    for each in (state, other):
        descend(each, 3)
    assert same(everything(state), everything(other))


def test_a_checkpoint_restores_weights_average_optimiser_and_step(tmp_path):
    state = TrainState(line(), 0.1, ema_decay=0.9)
    descend(state, 5)
    state.save(tmp_path / "c")
    other = TrainState(nn.Linear(2, 1), 0.1, ema_decay=0.9)
    descend(other, 1)
    other.load(tmp_path / "c")
    assert other.step == 5
    descend(state, 5)
    descend(other, 5)
    assert same(everything(state), everything(other))


def test_going_back_to_a_checkpoint_of_no_step_forgets_the_moments(tmp_path):
    state = TrainState(line(), 0.1)
    before = everything(state)
    state.save(tmp_path / "c")
    descend(state, 3)
    state.load(tmp_path / "c")
    assert same(everything(state), before)


def test_fabric_may_take_over_backward_and_optimiser(tmp_path):
    plain = TrainState(line(), 0.1, ema_decay=0.9)
    descend(plain, 4)
    fabric = Fabric(accelerator="cpu", devices=1)

    def wrapped():
        state = TrainState(line(), 0.1, ema_decay=0.9, backward=fabric.backward)
        network, state.stepper = fabric.setup(state.module, state.optimizer)
        return state, network

    def steps(state, network):
        for _ in range(2):
            state.backward(network(torch.ones(1, 2)).square().sum())
            state.apply(0.1)

    state, network = wrapped()
    steps(state, network)
    state.save(tmp_path / "c")
    again, network = wrapped()
    again.load(tmp_path / "c")
    steps(again, network)
    assert same(everything(again), everything(plain))


def test_strings_go_into_the_header_and_come_back(tmp_path):
    state = TrainState(line(), 0.1)
    state.save(tmp_path / "c", {"standing": '{"best": 0.5}', "step": "é"})
    assert read_extra(tmp_path / "c") == {"standing": '{"best": 0.5}', "step": "é"}
    state.save(tmp_path / "c")
    assert read_extra(tmp_path / "c") == {}


def test_several_states_share_one_checkpoint(tmp_path):
    a, b = TrainState(line(), 0.1), TrainState(line(), 0.1)
    descend(a, 2)
    descend(b, 3)
    save_states(tmp_path / "c", {"a": a, "b": b})
    c, d = TrainState(line(), 0.1), TrainState(line(), 0.1)
    load_states(tmp_path / "c", {"a": c, "b": d})
    assert same(everything(a), everything(c))
    assert same(everything(b), everything(d))


def test_saving_leaves_one_file_even_over_an_old_one(tmp_path):
    state = TrainState(line(), 0.1)
    for _ in range(2):
        state.save(tmp_path / "c")
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_of_another_architecture_is_refused_and_changes_nothing(tmp_path):
    TrainState(nn.Linear(3, 1), 0.1).save(tmp_path / "wide")
    TrainState(nn.Linear(2, 1, bias=False), 0.1).save(tmp_path / "unbiased")
    more = TrainState(nn.Sequential(line()), 0.1)
    more.save(tmp_path / "nested")
    state = TrainState(line(), 0.1)
    descend(state, 1)
    before = everything(state)
    for name in ("wide", "unbiased", "nested"):
        with pytest.raises(ValueError, match=f"{name} is a checkpoint of another architecture"):
            state.load(tmp_path / name)
    assert same(everything(state), before)


def test_states_are_taken_all_or_none(tmp_path):
    save_states(
        tmp_path / "c", {"a": TrainState(line(), 0.1), "b": TrainState(nn.Linear(3, 1), 0.1)}
    )
    a, b = TrainState(line(), 0.1), TrainState(line(), 0.1)
    descend(a, 1)
    before = everything(a)
    with pytest.raises(ValueError, match="another architecture"):
        load_states(tmp_path / "c", {"a": a, "b": b})
    assert same(everything(a), before)


def test_a_damaged_or_foreign_file_is_refused_in_one_sentence(tmp_path):
    from safetensors.torch import save_file

    state = TrainState(line(), 0.1)
    state.save(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "truncated").write_bytes(data[:-7])
    (tmp_path / "text").write_text("no checkpoint")
    (tmp_path / "empty").write_bytes(b"")
    save_file({"weight": torch.ones(2)}, tmp_path / "foreign")
    for name in ("truncated", "text", "empty", "foreign"):
        with pytest.raises(ValueError, match=name) as told:
            state.load(tmp_path / name)
        assert "\n" not in str(told.value)
    with pytest.raises(OSError, match="missing"):
        state.load(tmp_path / "missing")
    with pytest.raises(ValueError, match="truncated"):
        read_extra(tmp_path / "truncated")


@pytest.mark.parametrize("number", [errno.ENOSPC, getattr(errno, "EDQUOT", errno.EFBIG), errno.EIO])
def test_a_full_disk_keeps_the_old_checkpoint_and_the_system_number(tmp_path, monkeypatch, number):
    state = TrainState(line(), 0.1)
    state.save(tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    descend(state, 1)

    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="cannot be written") as told:
        state.save(tmp_path / "c")
    assert told.value.errno == number
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    assert (tmp_path / "c").read_bytes() == before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are POSIX")
def test_a_limit_on_file_sizes_is_told_by_its_number(tmp_path):
    script = f"""
        import errno, pathlib, resource, signal
        from torch import nn
        from napari_damm.train.state import TrainState
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        path = pathlib.Path({str(tmp_path / "c")!r})
        TrainState(nn.Linear(2, 1), 0.1).save(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            TrainState(nn.Linear(100, 100), 0.1).save(path)
        except OSError as error:
            assert error.errno == errno.EFBIG, error
            TrainState(nn.Linear(2, 1), 0.1).load(path)
            print([p.name for p in path.parent.iterdir()])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "['c']", done.stderr


def test_a_parameter_set_by_hand_can_be_forgotten():
    state = TrainState(line(), 0.1)
    descend(state, 1)
    state.forget(state.module.bias)
    assert state.module.bias not in state.optimizer.state
    assert state.module.weight in state.optimizer.state

"""A pool of windows ends whole, whatever happens to one of them, and where memory runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import random_model, tiny_config

from napari_damm.engine.config import default_batch
from napari_damm.engine.recovery import (
    Downgraded,
    Ladder,
    NothingWorks,
    StepsDone,
    WindowFailed,
    WindowsDone,
    sample_pool,
)
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput, WindowOutput
from napari_damm.sampling import SamplerStep

STEPS = 3
BLANK = np.zeros((4, 4), np.float32)


class Network:
    """Stands for `WindowSampler`: some windows raise or give NaN, batches above `fits` do not fit.

    Out of memory comes after `at` steps; `runs` lists the pools it was given.
    """

    device = "cpu"

    def __init__(self, batch=8, raises=(), nan=(), fits=8, at=1, model=None):
        self.model = model or self
        self.sampling = Sampling("fast", STEPS, 0, 0.5, batch)
        self.raises, self.nan, self.fits, self.at = raises, nan, fits, at
        self.runs = []

    def run(self, pool):
        self.runs.append(len(pool))
        for step in range(STEPS):
            if self.sampling.batch_size > self.fits and step == self.at:
                raise torch.OutOfMemoryError("the card is full")
            for each in pool:
                if step == 1 and each.window in self.raises:
                    raise ZeroDivisionError("bad\nwindow")
            yield SamplerStep(step, STEPS, 0, torch.zeros(len(pool), 1, 1, 1))
        yield [self.output(each) for each in pool]

    def output(self, each):
        values = np.full_like(BLANK, np.nan) if each.window in self.nan else BLANK
        return WindowOutput(each.window, values, BLANK, BLANK.astype(np.uint8))


class Steps(Ladder):
    """A ladder of stand-ins."""

    def step_down(self, failed):
        smaller = failed.sampling.batch_size // 2
        if not smaller:
            raise MemoryError("nothing smaller")
        old = failed
        self.current = Network(smaller, old.raises, old.nan, old.fits, old.at)
        return f"batches of {smaller}"


def pool(count):
    return [WindowInput((0, k), (0, 192 * k), BLANK, BLANK) for k in range(count)]


def work(network, count):
    return list(sample_pool(Steps(network), pool(count)))


def done(messages):
    return [out.window for m in messages if isinstance(m, WindowsDone) for out in m.outputs]


def failed(messages):
    return {m.window: m.error for m in messages if isinstance(m, WindowFailed)}


def steps(messages):
    return sum(m.windows for m in messages if isinstance(m, StepsDone))


def test_a_good_pool_is_sampled_once():
    network = Network()
    messages = work(network, 5)
    assert network.runs == [5]
    assert done(messages) == [(0, k) for k in range(5)]
    assert steps(messages) == 5 * STEPS


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_one_bad_window_takes_no_other_with_it(fault):
    messages = work(Network(**{fault: {(0, 1)}}), 4)
    assert sorted(done(messages)) == [(0, 0), (0, 2), (0, 3)]
    assert list(failed(messages)) == [(0, 1)]
    said = {"raises": "ZeroDivisionError: bad window", "nan": "not finite"}[fault]
    assert said in failed(messages)[0, 1]


def test_windows_that_came_out_well_are_not_sampled_again():
    network = Network(nan={(0, 1)})
    work(network, 4)
    assert network.runs == [4, 1]


@pytest.mark.parametrize("fault", ["raises", "nan"])
def test_a_pool_in_which_every_window_fails_stops_the_job_with_the_reason(fault):
    everything = {(0, k) for k in range(3)}
    with pytest.raises(NothingWorks, match="bad window" if fault == "raises" else "not finite"):
        work(Network(**{fault: everything}), 3)


def test_a_single_window_that_fails_is_its_own_fault():
    assert list(failed(work(Network(raises={(0, 0)}), 1))) == [(0, 0)]


def test_out_of_memory_goes_on_in_smaller_pools_and_says_so():
    messages = work(Network(batch=8, fits=2), 6)
    assert [m.message for m in messages if isinstance(m, Downgraded)] == [
        "batches of 4",
        "batches of 2",
    ]
    assert done(messages) == [(0, k) for k in range(6)]
    assert not failed(messages)


def test_out_of_memory_without_a_smaller_rung_ends_the_job():
    with pytest.raises(MemoryError, match="nothing smaller"):
        work(Network(batch=2, fits=0), 3)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 7),
    bad=st.sets(st.integers(0, 6), max_size=3),
    nan=st.booleans(),
    batch=st.sampled_from([1, 2, 4, 8]),
    fits=st.sampled_from([1, 2, 8]),
    at=st.integers(0, STEPS - 1),
)
def test_every_window_ends_once_and_steps_count_those_done(count, bad, nan, batch, fits, at):
    windows = {(0, k) for k in range(count)}
    victims = {(0, k) for k in bad} & windows
    network = Network(batch, fits=fits, at=at, **{"nan" if nan else "raises": victims})
    if victims == windows:
        with pytest.raises(NothingWorks):
            work(network, count)
        return
    messages = work(network, count)
    assert sorted(done(messages)) == sorted(windows - victims)
    assert set(failed(messages)) == victims
    assert steps(messages) == STEPS * (count - len(victims))
    sofar = np.cumsum([m.windows for m in messages if isinstance(m, StepsDone)])
    assert (sofar >= 0).all()
    assert (sofar <= STEPS * count).all()


# ---------------------------------------------------------------- the ladder of batch sizes


@pytest.fixture
def sampler():
    return WindowSampler(random_model(), Sampling("fast", 2, 7, 0.5, 4), "cpu")


def down_to_the_end(ladder):
    sizes = []
    while True:
        try:
            ladder.step_down(ladder.current)
        except MemoryError as error:
            return sizes, str(error)
        sizes.append((ladder.current.sampling.batch_size, ladder.current.device))


def test_batches_halve_down_to_single_windows(sampler):
    sizes, said = down_to_the_end(Ladder(sampler))
    assert sizes == [(2, "cpu"), (1, "cpu")]
    assert "close other programs" in said


def test_nothing_else_of_the_sampling_changes(sampler):
    ladder = Ladder(sampler)
    told = ladder.step_down(sampler)
    now, before = ladder.current.sampling, sampler.sampling
    assert (now.mode, now.steps, now.seed, now.gamma) == (
        before.mode, before.steps, before.seed, before.gamma
    )  # fmt: skip
    assert ladder.current.model is sampler.model
    assert told.startswith("out of memory: going on with batches of 2 on cpu")
    assert "may differ" in told


def test_a_lane_that_failed_on_an_earlier_rung_follows_without_a_word(sampler):
    ladder = Ladder(sampler)
    ladder.step_down(sampler)
    here = ladder.current
    assert ladder.step_down(sampler) is None
    assert ladder.current is here


def test_strict_mode_stops_at_once_and_says_what_to_do(sampler):
    with pytest.raises(MemoryError, match=r"batches of 4.*leave out strict"):
        Ladder(sampler, strict=True).step_down(sampler)


def test_an_accelerator_hands_over_to_the_cpu_with_a_model_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: None)

    class Elsewhere(WindowSampler):
        """A sampler that says it is on an accelerator."""

        def __init__(self, model, sampling, device):
            super().__init__(model, sampling, "cpu")
            self.device = device

    first = Elsewhere(random_model(tiny_config()), Sampling("fast", 2, 0, 0.5, 2), "mps")
    ladder = Ladder(first)
    sizes, _ = down_to_the_end(ladder)
    cpu = default_batch("cpu")
    assert sizes[:2] == [(1, "mps"), (cpu, "cpu")]
    assert sizes[-1] == (1, "cpu")
    assert ladder.current.model is not first.model


@pytest.mark.parametrize(("device", "given_back"), [("cuda", 1), ("mps", 1), ("cpu", 0)])
def test_what_an_allocator_keeps_is_given_back(monkeypatch, device, given_back):
    called = []
    for module in (torch.cuda, torch.mps):
        monkeypatch.setattr(module, "empty_cache", lambda: called.append(1))
    Ladder._release(device)
    assert len(called) == given_back

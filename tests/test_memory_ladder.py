"""Out of memory: smaller batches, then the CPU, then an end that says why."""

from __future__ import annotations

import pytest
from models import random_model, tiny_config

from napari_damm.engine import memory_ladder
from napari_damm.engine.config import default_batch
from napari_damm.engine.memory_ladder import Ladder
from napari_damm.engine.sampler import Sampling, WindowSampler


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
    assert ladder.told == ["out of memory: going on with batches of 2 on cpu"]
    assert told.startswith(ladder.told[0])
    assert "may differ" in told


def test_a_lane_that_failed_on_an_earlier_rung_follows_without_a_word(sampler):
    ladder = Ladder(sampler)
    ladder.step_down(sampler)
    here = ladder.current
    assert ladder.step_down(sampler) is None
    assert ladder.current is here
    assert len(ladder.told) == 1


def test_strict_mode_stops_at_once_and_says_what_to_do(sampler):
    with pytest.raises(MemoryError, match=r"batches of 4.*strict=False"):
        Ladder(sampler, strict=True).step_down(sampler)


def test_an_accelerator_hands_over_to_the_cpu_with_a_model_of_its_own(monkeypatch):
    class Elsewhere(WindowSampler):
        """A sampler that says it is on an accelerator."""

        def __init__(self, model, sampling, device):
            super().__init__(model, sampling, "cpu")
            self.device = device

    monkeypatch.setattr(memory_ladder, "WindowSampler", Elsewhere)
    first = Elsewhere(random_model(tiny_config()), Sampling("fast", 2, 0, 0.5, 2), "mps")
    ladder = Ladder(first)
    sizes, _ = down_to_the_end(ladder)
    cpu = default_batch("cpu")
    assert sizes[:2] == [(1, "mps"), (cpu, "cpu")]
    assert sizes[-1] == (1, "cpu")
    assert ladder.current.model is not first.model

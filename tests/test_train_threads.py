"""A training uses several threads only while they help."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from trainings import of, run

from napari_damm.events import TrainStep
from napari_damm.train.loop import TrainingLoop
from napari_damm.train.threads import PERIOD, TRIED, ThreadChoice

pytestmark = pytest.mark.usefixtures("quick_training")


def used(choice, seconds, steps=PERIOD):
    """Make steps that take `seconds[count]`; return the threads of each."""
    counts = []
    for _ in range(steps):
        counts.append(choice.count())
        choice.took(seconds[counts[-1]])
    return counts


def test_both_are_tried_and_the_faster_goes_on():
    for seconds, faster in (({4: 1.0, 1: 2.0}, 4), ({4: 9.0, 1: 2.0}, 1)):
        counts = used(ThreadChoice(4), seconds)
        assert counts == [4] * TRIED + [1] * TRIED + [faster] * (PERIOD - 2 * TRIED)


def test_a_machine_that_becomes_busy_is_noticed_and_one_that_becomes_idle_too():
    choice = ThreadChoice(2)
    assert used(choice, {2: 1.0, 1: 2.0})[-1] == 2
    assert used(choice, {2: 9.0, 1: 2.0})[-1] == 1
    assert used(choice, {2: 1.0, 1: 2.0})[-1] == 2


def test_one_slow_step_does_not_decide():
    choice = ThreadChoice(2)
    choice.took(50.0)  # the first of all is slow
    assert used(choice, {2: 1.0, 1: 2.0}, PERIOD - 1)[-1] == 2


def test_where_there_is_one_there_is_nothing_to_choose():
    assert set(used(ThreadChoice(1), {1: 1.0})) == {1}


@pytest.mark.parametrize(
    ("kind", "world", "minutes", "chooses"),
    [("cpu", 1, 3.0, True), ("cpu", 1, None, False), ("cpu", 2, 3.0, False), ("cuda", 1, 3, False)],
)
def test_only_a_training_by_the_clock_on_one_processor_chooses(kind, world, minutes, chooses):
    training = SimpleNamespace(
        machine=SimpleNamespace(kind=kind, world=world), config=SimpleNamespace(minutes=minutes)
    )
    assert isinstance(TrainingLoop._thread_choice(training), ThreadChoice) == chooses


def test_what_was_chosen_is_what_steps_are_made_with(tmp_path, monkeypatch):
    seen = []
    learn = TrainingLoop._learn

    def watched(self, step, progress):
        event = learn(self, step, progress)
        seen.append((self.threads, torch.get_num_threads()))
        return event

    monkeypatch.setattr(TrainingLoop, "_learn", watched)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    events = run(tmp_path / "minutes", changes={"minutes": 0.03})
    assert of(events, TrainStep)
    assert [count for _, count in seen[:4]] == [2, 2, 2, 1][: len(seen)]
    assert isinstance(seen[0][0], ThreadChoice)

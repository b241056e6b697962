"""What a step tells as waiting: of a card only the time in which it does not learn."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from trainings import of, quick, run

from napari_damm.events import TrainStep
from napari_damm.train import batches, data_time
from napari_damm.train.data_time import DataTime


class Card:
    """A host and a card, which does what the host starts in its order, as soon as it can."""

    def __init__(self):
        self.host = self.done = 0.0

    def computes(self, seconds):
        """Give the card work."""
        self.done = max(self.done, self.host) + seconds

    def mark(self):
        """As an event that is recorded in the stream."""
        self.done = max(self.done, self.host)
        return self.done


@pytest.mark.parametrize(
    ("prepares", "cuts", "waited"),
    [
        (1.5, 0.0, 0.0),  # the host is done before the card has learnt
        (3.5, 0.0, 1.5),  # the card is idle from 2.0 on
        (1.5, 0.25, 0.25),  # what the card computes of the data
        (3.5, 0.25, 1.75),
    ],
)
def test_of_a_card_only_what_it_does_not_learn_meanwhile_counts(prepares, cuts, waited):
    card = Card()
    clock = DataTime("cuda", card.mark, lambda a, b: b - a)
    card.computes(2.0)  # a step
    with clock.spent():
        card.host += prepares
        card.computes(cuts)
    assert clock.taken()() == pytest.approx(waited)
    assert clock.taken()() == 0


def test_of_a_processor_all_counts_and_each_time_but_once(monkeypatch):
    times = iter([1.0, 3.0, 4.0, 4.5, 9.0, 10.0])
    now = SimpleNamespace(perf_counter=lambda: next(times))
    monkeypatch.setattr(data_time, "time", now)
    clock = DataTime("cpu")
    with clock.spent():
        pass
    with clock.spent():
        pass
    first = clock.taken()
    with clock.spent():
        pass
    assert first() == 2.5
    assert clock.taken()() == 1.0


def test_marks_of_a_card_are_read_when_it_has_come_to_them(monkeypatch):
    class Event:
        clock = 0.0

        def __init__(self, enable_timing):
            assert enable_timing
            self.read = False

        def record(self):
            Event.clock += 40.0
            self.at = Event.clock

        def synchronize(self):
            self.read = True

        def elapsed_time(self, other):
            assert other.read
            return other.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    clock = DataTime("cuda")
    with clock.spent():
        pass
    assert clock.taken()() == pytest.approx(0.04)  # milliseconds


def test_a_step_tells_the_share_of_its_own_data(tmp_path, monkeypatch):
    waited = []

    class Half(DataTime):
        def taken(self):
            spans = len(self._spans)
            super().taken()
            waited.append(spans)
            return lambda: 1e9 if spans else 0.0

    monkeypatch.setattr(batches, "DataTime", Half)
    with quick():
        steps = of(run(tmp_path / "run"), TrainStep)
    assert [step.waiting for step in steps] == [1.0] * 4  # never more than all
    assert waited[1::2] == [1] * 4  # what came before a step is none of it

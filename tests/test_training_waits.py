"""A training on a graphics card waits for nothing: its losses come while the next step is computed.

Shown on tensors of the processor; `Tape` stands in for CUDA graphs.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from types import SimpleNamespace

import pytest
import torch
from models import guided
from tape import HOST_READS, Calls, Tape, Waits
from training_data import layers
from trainings import config, of, run, small, weights

from napari_damm.dataset import open_sections, survey
from napari_damm.dataset.patches import split_patches
from napari_damm.engine import transfers
from napari_damm.events import Notice, TrainStep
from napari_damm.train import fine_tune, loop, state
from napari_damm.train.detail_phase import DETAIL
from napari_damm.train.device_batches import DeviceBatches
from napari_damm.train.device_views import DeviceSections
from napari_damm.train.expected import choose_parameters
from napari_damm.train.gradients import Gradients
from napari_damm.train.recorded_step import RecordedSteps
from napari_damm.train.state import NotFinite, TrainState
from napari_damm.train.step import GATED, JOINT
from napari_damm.train.underway import Underway

WISHES = {"noise_every": 2, "expected_crops": 2, "batch_size": 2, "variants": 2}


@pytest.fixture(scope="module", autouse=True)
def _small():
    with small():
        yield


@pytest.fixture(autouse=True)
def as_on_a_card(monkeypatch):
    monkeypatch.setattr(state, "on_card", lambda parameters: True)


@pytest.fixture(scope="module")
def data():
    fields = list(survey(list(open_sections(layers((320, 1000)))), 1.0))
    return fields, split_patches(fields, 0.3, 0)


def learning(data, tape):
    fields, split = data
    wishes, model = config(**WISHES), guided()
    choose_parameters(model)
    made = TrainState(model, 1e-4, ema_decay=0.9, faster=("detail.",))
    machine = SimpleNamespace(
        wrap=lambda network: network, rank=0, world=1, kind="cpu", arithmetic=nullcontext
    )
    sections = DeviceSections(fields, "cpu")
    batches = DeviceBatches(model, fields, split, wishes, None, sections, 2**30)
    parts = SimpleNamespace(config=wishes, machine=machine, model=model)
    return Gradients(parts, batches, made), RecordedSteps(made, 1.0, tape)


class Replayed:
    """A replay that costs nothing."""

    def __init__(self, count):
        self.found = tuple(torch.zeros(()) for _ in range(count))

    def __call__(self, given):
        return self.found


# the noise and the map, the map alone, the uni-modal branch, the target's own latents; the detail
@pytest.mark.parametrize(
    ("numbers", "phase"), [((2, 1, 7, 8, 14, 15), JOINT), ((2, 9), GATED), ((16, 17, 24), DETAIL)]
)
@pytest.mark.usefixtures("sent_as_to_a_card")
def test_a_step_waits_for_nothing(data, monkeypatch, numbers, phase):
    grads, recorded = learning(data, Tape())
    fetched = []

    def fetch(self, value):
        fetched.append(value.detach().clone())
        return fetched[-1].numpy

    monkeypatch.setattr(transfers.Transfers, "fetch", fetch)
    for number in numbers:  # each is recorded at its first
        recorded.take(grads.pieces(number, 0.5, phase), 1e-4)
    for graph in recorded._graphs.values():
        assert not graph.trouble
        count = 5 if graph._function._pieces[0][0] == 7 else 1  # losses of the noise's piece
        monkeypatch.setattr(
            graph, "_recorded", {shapes: Replayed(count + 1) for shapes in graph._recorded}
        )
    for number in numbers:
        grads.pieces(number - 1, 0.5, phase)  # so that what this one needs is underway
        reading = grads._ahead.get(number)
        if reading is not None:  # it is on the host by now
            needed = reading[1]()
            grads._ahead[number] = (reading[0], lambda needed=needed: needed)
        before = len(fetched)
        with Waits() as waits, Calls() as calls:
            recorded.take(grads.pieces(number, 0.5, phase), 1e-4)
        assert waits.sent > 0 or phase == DETAIL
        assert not waits.noted
        assert not calls.named(HOST_READS)
        assert len(fetched) > before


def test_losses_are_read_one_step_late_and_what_is_left_before_a_pause():
    read = []

    def step(number):
        return lambda spent: read.append(number) or (number, spent)

    clock = iter([5.0, 6.0, 9.0, 9.0])
    underway = Underway(lambda: next(clock))
    underway.add(0, 1.0, step(0))
    assert underway.arrived(late=1) == []
    underway.add(1, 2.0, step(1))
    assert underway.oldest(2) == 0
    assert underway.arrived(late=1) == [(0, 4.0)]
    assert read == [0]
    assert underway.arrived() == [(1, 3.0)]  # from the end of the first one on
    assert underway.oldest(2) == 2


@pytest.fixture
def late(monkeypatch):
    """Note the steps that are started and those that are told, in their order."""
    order, take = [], RecordedSteps.take

    def taken(self, pieces, rate):
        number = self.state.step
        told = take(self, pieces, rate)
        order.append(("taken", number))
        return lambda: order.append(("told", number)) or told()

    monkeypatch.setattr(RecordedSteps, "take", taken)
    monkeypatch.setattr(loop, "recorder_for", lambda kind, world: Tape())
    return order


def test_the_next_step_is_started_before_a_step_is_told(tmp_path, late):
    events = run(tmp_path / "run", model=guided(), changes={"noise_every": 2, "validations": 1})
    assert [event.step for event in of(events, TrainStep)] == [1, 2, 3, 4]
    started = [late.index(("taken", number)) for number in range(1, 4)]
    told = [late.index(("told", number)) for number in range(3)]
    assert all(a < b for a, b in zip(started, told, strict=True))


@pytest.mark.slow
def test_a_training_that_ends_before_a_loss_is_read_keeps_no_weights_that_are_no_numbers(
    tmp_path, monkeypatch, late
):
    take, broken = RecordedSteps.take, []

    def no_number(self, pieces, rate):
        told = take(self, pieces, rate)
        if self.state.step < 3:
            return told
        broken.append(self.state.step)
        with torch.no_grad():
            for parameter in self.state.parameters.values():
                parameter.fill_(float("nan"))

        def told_so():
            raise NotFinite("no number")

        return told_so

    monkeypatch.setattr(RecordedSteps, "take", no_number)
    out, changes = tmp_path / "run", {"noise_every": 2, "validations": 1, "epochs": 3}
    with closing(fine_tune(layers(), guided(), config(**changes), out)) as events:
        next(event for event in events if isinstance(event, TrainStep) and event.step == 2)
    assert broken == [3]  # it was underway when the training was stopped
    monkeypatch.setattr(RecordedSteps, "take", take)
    again = run(out, model=guided(), changes=changes, resume=True)
    assert of(again, TrainStep)[0].step == 1
    made = weights(out / "mine.safetensors")
    assert all(torch.isfinite(value).all() for value in made.values())


def test_the_step_that_is_said_to_have_no_loss_is_the_one_that_has_none(
    tmp_path, monkeypatch, late
):
    take, failed = RecordedSteps.take, []

    def no_number(self, pieces, rate):
        told = take(self, pieces, rate)
        if self.state.step == 2 and not failed:
            failed.append(True)

            def told_so():
                raise NotFinite("no number")

            return told_so
        return told

    monkeypatch.setattr(RecordedSteps, "take", no_number)
    events = run(tmp_path / "run", model=guided(), changes={"noise_every": 2, "validations": 1})
    (told,) = [each for each in of(events, Notice) if "became NaN" in each.message]
    assert "at step 1: back to step 0" in told.message
    assert [event.step for event in of(events, TrainStep)] == [1, 1, 2, 3, 4]

"""Training steps that are recorded are those of the plain loop; `Tape` stands in for CUDA."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from models import guided
from tape import Tape
from trainings import config, of, run, small, weights

from napari_damm.events import Notice, TrainStep
from napari_damm.train import loop, state
from napari_damm.train.batches import Crops
from napari_damm.train.detail_phase import DETAIL
from napari_damm.train.expected import choose_parameters
from napari_damm.train.gradients import Gradients, losses_of
from napari_damm.train.recorded_step import RecordedSteps, recorder_for
from napari_damm.train.state import NotFinite, TrainState
from napari_damm.train.step import GATED, JOINT

RATE = 1e-4


@pytest.fixture(scope="module", autouse=True)
def _small():
    with small():
        yield


@pytest.fixture
def as_on_a_card(monkeypatch):
    """Step by the optimiser of graphics cards; torch has it for processors as well."""
    monkeypatch.setattr(state, "on_card", lambda parameters: True)


class Pictures:
    """Stands for `Batches`: crops of noise, of which some mislead in a part, some all over."""

    def crops(self, step, count, side, jitter):
        draw = torch.Generator().manual_seed(step)
        images = torch.rand(count, 3, side, side, generator=draw) * 2 - 1
        planted = torch.zeros(count, side // 8, side // 8)
        if step % 3 == 1:
            planted[0, : side // 16] = 1
        if step % 5 == 4:
            planted[:] = 1
        return Crops(images, planted)


def learning(model, wishes):
    """Return what computes gradients, and what steps down them."""
    choose_parameters(model)
    made = TrainState(model, RATE, ema_decay=0.9, faster=("detail.",))
    machine = SimpleNamespace(
        wrap=lambda network: network, rank=0, world=1, kind="cpu", arithmetic=nullcontext
    )
    parts = SimpleNamespace(config=wishes, machine=machine, model=model)
    return Gradients(parts, Pictures(), made), made


def steps_of(wishes, numbers, phases, tape=None):
    """Take steps; return their losses, and weights and averages as they are after each."""
    model = guided()
    grads, made = learning(model, wishes)
    recorded = None if tape is None else RecordedSteps(made, wishes.gradient_clip, tape)
    losses, after = [], []
    for number, phase in zip(numbers, phases, strict=True):
        if recorded is None:
            losses.append(grads.backward(number, 0.5, phase, 1))
            made.apply(RATE, wishes.gradient_clip)
        else:
            losses.append(losses_of(recorded.take(grads.pieces(number, 0.5, phase), RATE)()))
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        after.append(kept | {f"ema.{name}": value.clone() for name, value in made.ema.items()})
    if recorded is not None:
        assert not list(recorded.notices())
    assert made.step == len(losses)
    return losses, after


def without_gradients(names):
    """Name the biases before a norm, which takes them out, and its means, which hold them.

    Of a group norm only where a channel is a group, as in these models.

    Their gradients are rounding, which AdamW makes steps of.
    """
    biases = re.compile(
        r"(detail\..*\.[03]|mask_\w+\.[03]|fusions\.\d+\.project|unit\.conv)\.bias$"
    )
    return {each for each in names if biases.search(each) or each.endswith("running_mean")}


WISHES = {"noise_every": 8, "expected_crops": 2, "batch_size": 2}
# by turns: noise and map, map alone, the uni-modal branch, the target's own latents
NUMBERS = [0, 1, 2, 4, 8, 15, 16, 17, 31, 32, 33, 34]
PHASES = [JOINT] * 6 + [GATED] * 3 + [DETAIL] * 3


@pytest.mark.usefixtures("as_on_a_card")
def test_recorded_steps_are_those_of_the_loop():
    wishes, tape = config(**WISHES), Tape()
    known, plain = steps_of(wishes, NUMBERS, PHASES)
    found, recorded = steps_of(wishes, NUMBERS, PHASES, tape)
    assert tape.recorded < len(NUMBERS) < 2 * tape.replayed  # some kinds come again
    for a, b in zip(known, found, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-4)
        for name in ("uni", "multi", "confidence"):
            one, other = getattr(a, name), getattr(b, name)
            assert other == pytest.approx(one, rel=1e-4, nan_ok=True)
    for before, after in zip(plain, recorded, strict=True):
        for name in before.keys() - without_gradients(before):
            torch.testing.assert_close(after[name], before[name], rtol=0, atol=1e-5, msg=name)


@pytest.mark.usefixtures("as_on_a_card")
def test_a_kind_is_recorded_once_and_asks_the_host_nothing():
    tape, wishes = Tape(), config(**WISHES)
    steps_of(wishes, [1, 1, 1, 2, 3], [JOINT, JOINT, GATED, JOINT, JOINT], tape)
    # a part misleads in number 1, nothing in 2 and 3; the phase is the noise's alone
    assert tape.recorded == 2
    called = Counter(name for name, *_ in tape.calls)
    assert called["_fused_adamw_"] == 2  # of the detail and of all else
    assert not called["nonzero"]


@pytest.mark.usefixtures("as_on_a_card")
def test_what_a_step_does_not_reach_stays_as_it_is():
    _, (before, after) = steps_of(config(**WISHES), [0, 15], [JOINT] * 2, Tape())
    changed = {name for name, value in before.items() if not torch.equal(after[name], value)}
    learnt = {name for name in changed if not name.startswith("ema.")}
    assert learnt  # of the target's own latents the detail learns, and nothing else
    assert all(name.startswith("detail.") for name in learnt)


@pytest.mark.usefixtures("as_on_a_card")
def test_steps_that_cannot_be_recorded_are_taken_all_the_same_and_it_is_told_once():
    model, wishes = guided(), config(**WISHES)
    grads, made = learning(model, wishes)
    tape = Tape(fails=torch.OutOfMemoryError("the card\nis full"))
    recorded = RecordedSteps(made, 1.0, tape)
    found = [losses_of(recorded.take(grads.pieces(k, 0.5, JOINT), RATE)()) for k in (1, 2)]
    known, _ = steps_of(wishes, [1, 2], [JOINT] * 2, Tape())
    assert repr(found) == repr(known)  # a loss that was not computed is no number
    (told,) = [*recorded.notices(), *recorded.notices()]
    assert "could not be recorded" in told.message
    assert "the card is full" in told.message


@pytest.mark.usefixtures("as_on_a_card")
def test_what_is_forgotten_is_recorded_anew():
    grads, made = learning(guided(), config(**WISHES))
    tape = Tape()
    recorded = RecordedSteps(made, 1.0, tape)
    for _ in range(2):
        recorded.take(grads.pieces(2, 0.5, JOINT), RATE)
        recorded.take(grads.pieces(2, 0.5, JOINT), RATE)
        recorded.forget()
    assert (tape.recorded, tape.replayed) == (2, 4)


@pytest.mark.usefixtures("as_on_a_card")
@pytest.mark.parametrize("number", [0, 1])
def test_a_step_whose_gradients_are_no_numbers_is_said_to_be(number):
    model, wishes = guided(), config(**WISHES)
    grads, made = learning(model, wishes)
    recorded = RecordedSteps(made, 1.0, Tape())
    recorded.take(grads.pieces(number, 0.5, GATED), RATE)
    with torch.no_grad():  # so that the confidence is none
        model.unet.attention.confidence.bias.fill_(float("nan"))
    told = recorded.take(grads.pieces(number, 0.5, GATED), RATE)
    with pytest.raises(NotFinite, match="at step 2"):
        told()


def test_only_one_process_on_a_card_records():
    assert recorder_for("cpu", 1) is None
    assert recorder_for("cuda", 2) is None
    assert recorder_for("cuda", 1) is not None


@pytest.mark.slow
@pytest.mark.usefixtures("as_on_a_card")
def test_a_whole_training_is_that_of_the_loop_and_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    changes = {"noise_every": 2, "epochs": 3}
    known = [
        event.loss
        for event in of(run(tmp_path / "loop", model=guided(), changes=changes), TrainStep)
    ]
    tapes = []

    def recorder(kind, world):
        tapes.append(Tape())
        return tapes[-1]

    monkeypatch.setattr(loop, "recorder_for", recorder)
    whole = run(tmp_path / "whole", model=guided(), changes=changes)
    assert tapes[0].replayed >= tapes[0].recorded > 1
    found = [event.loss for event in of(whole, TrainStep)]
    assert found == pytest.approx(known, rel=1e-3)
    assert not [event for event in of(whole, Notice) if "recorded" in event.message]
    stopped = run_until(2, tmp_path / "cut", changes)
    assert len(stopped) == 2
    run(tmp_path / "cut", model=guided(), changes=changes, resume=True)
    made = weights(tmp_path / "whole" / "mine.safetensors")
    again = weights(tmp_path / "cut" / "mine.safetensors")
    assert all(torch.equal(again[name], value) for name, value in made.items())


def run_until(step, out, changes):
    from contextlib import closing

    from training_data import layers

    from napari_damm.train import fine_tune

    seen = []
    with closing(fine_tune(layers(), guided(), config(**changes), out)) as events:
        for event in events:
            if isinstance(event, TrainStep):
                seen.append(event)
                if event.step == step:
                    break
    return seen


def test_after_going_back_it_is_recorded_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "on_card", lambda parameters: True)
    tape, failed = Tape(), []
    monkeypatch.setattr(loop, "recorder_for", lambda kind, world: tape)
    take = RecordedSteps.take

    def once_not_finite(self, pieces, rate):
        if self.state.step == 2 and not failed:
            failed.append(tape.recorded)
            with torch.no_grad():
                for parameter in self.state.parameters.values():
                    parameter.fill_(float("nan"))
            raise NotFinite("no number")
        return take(self, pieces, rate)

    monkeypatch.setattr(RecordedSteps, "take", once_not_finite)
    forget, forgot = RecordedSteps.forget, []
    monkeypatch.setattr(
        RecordedSteps, "forget", lambda self: (forgot.append(self.state.step), forget(self))
    )
    events = run(tmp_path / "run", model=guided(), changes={"noise_every": 1})
    assert any("back to step 2" in event.message for event in of(events, Notice))
    assert [event.step for event in of(events, TrainStep)] == [1, 2, 3, 4]
    assert forgot == [2]
    assert tape.recorded > failed[0]
    assert all(
        torch.isfinite(value).all()
        for value in weights(tmp_path / "run" / "mine.safetensors").values()
    )


def test_where_memory_runs_out_batches_are_computed_in_parts_by_the_plain_loop(
    tmp_path, monkeypatch
):
    asked = []

    def full(self, pieces, rate):
        asked.append(self.state.step)
        raise torch.OutOfMemoryError("the card is full")

    monkeypatch.setattr(loop, "recorder_for", lambda kind, world: Tape())
    monkeypatch.setattr(RecordedSteps, "take", full)
    events = run(tmp_path / "run", model=guided())
    assert asked == [0]
    assert any("computed in 2 parts" in event.message for event in of(events, Notice))
    assert [event.step for event in of(events, TrainStep)] == [1, 2, 3, 4]


def test_what_pieces_cost_is_one_sum_and_what_is_the_noise_s_apart():
    assert losses_of([1.0]).loss == 1.0
    found = losses_of([1.0, 2.0, 3.0, 0.5, 0.25])
    assert (found.loss, found.uni, found.multi, found.confidence) == (1.25, 2.0, 3.0, 0.5)

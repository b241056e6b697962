"""An autoencoder learns on a graphics card what it does in the plain loop; `Tape` stands in."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from models import guided, randomise
from tape import HOST_READS, Calls, Tape, Waits
from test_train_autoencoder_all_roles import ADAPT, batch, model
from training_data import layers
from trainings import config, of, run, small

from napari_damm.dataset import open_sections, survey
from napari_damm.dataset.patches import split_patches
from napari_damm.engine import transfers
from napari_damm.events import Notice, TrainStep
from napari_damm.model import VQGAN, Autoencoder, VQGANConfig
from napari_damm.model.autoencoder import AutoencoderConfig
from napari_damm.train import start
from napari_damm.train import state as train_state
from napari_damm.train.autoencoder import (
    AutoencoderState,
    AutoencodersTraining,
    AutoencoderTraining,
    preparation,
    train_autoencoder,
    train_autoencoders,
)
from napari_damm.train.autoencoder.adversary import Adversary
from napari_damm.train.autoencoder.learning import RecordedLearning
from napari_damm.train.device_batches import sections_within
from napari_damm.train.device_views import DeviceSections
from napari_damm.train.section_blocks import BLOCK_BYTES
from napari_damm.train.state import NotFinite
from napari_damm.train.unreadable import UnreadablePatches


@pytest.fixture(autouse=True)
def as_on_a_card(monkeypatch):
    """Step by the optimiser of graphics cards; torch has it for processors as well."""
    monkeypatch.setattr(train_state, "on_card", lambda parameters: True)


def images(step=0, n=2, side=24):
    draw = torch.Generator().manual_seed(step)
    coarse = torch.rand(n, 1, side // 8, side // 8, generator=draw)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 2 - 1


CODED, PLAIN = VQGANConfig((32, 32), 1, 3, 32), VQGANConfig((32, 32), 1, 3, 0)
OURS = AutoencoderConfig((32, 32), 1, 8)
KINDS = {
    "from scratch": (CODED, {"steps": 8, "warmup_steps": 3, "replant_every": 2}, 2),
    "adapted": (CODED, {"steps": 4, "warmup_steps": 0, "adapt": True}, 1),
    "judged": (CODED, {"steps": 8, "warmup_steps": 2, "discriminator_from": 4}, 3),
    "not coded": (PLAIN, {"steps": 4, "warmup_steps": 0}, 1),
    "ours": (OURS, {"steps": 4, "warmup_steps": 0, "ema_decay": 0.9}, 1),
    "ours, half": (OURS, {"steps": 4, "warmup_steps": 0, "half": True}, 1),
}


def made(sizes):
    torch.manual_seed(0)
    return randomise(Autoencoder(sizes) if sizes is OURS else VQGAN(sizes)).train()


def learnt(sizes, settings, recorder=None):
    stage, wishes = made(sizes), AutoencoderTraining(learning_rate=1e-4, **settings)
    state = AutoencoderState(stage, wishes)
    steps = list(train_autoencoder(stage, images, wishes, state, recorder))
    learned = dict(stage.state_dict())
    if state.adversary is not None:
        theirs = state.adversary.state.module.state_dict()
        learned |= {f"adversary.{name}": value for name, value in theirs.items()}
        learned["adversary's steps"] = torch.tensor(state.adversary.state.step)
    return learned, steps


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_steps_are_those_of_the_loop(kind):
    sizes, settings, kinds = KINDS[kind]
    tape = Tape()
    known, plain = learnt(sizes, settings)
    found, recorded = learnt(sizes, settings, tape)
    assert tape.recorded == kinds
    assert tape.replayed == settings["steps"]
    assert not any(step.said for step in recorded)
    for a, b in zip(plain, recorded, strict=True):
        assert (b.step, b.steps, b.replanted) == (a.step, a.steps, a.replanted)
        assert b.loss == pytest.approx(a.loss, rel=1e-4)
        assert b.l1 == pytest.approx(a.l1, rel=1e-4)
    for name, value in known.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(("sizes", "differs"), [(OURS, True), (PLAIN, True), (CODED, False)])
def test_in_bfloat16_computes_what_has_no_codebook(sizes, differs):
    settings = {"steps": 2, "warmup_steps": 0, "adapt": True}
    full, half = (learnt(sizes, {**settings, "half": half})[1] for half in (False, True))
    assert ([step.loss for step in full] != [step.loss for step in half]) == differs
    assert [step.loss for step in half] == pytest.approx([step.loss for step in full], rel=0.05)


def test_an_adversary_learns_by_its_own_loss_alone():
    image, other = images(0), images(1)
    found = []
    for rewarded in (False, True):
        judge = Adversary(1, 1e-3, torch.device("cpu"))
        if rewarded:
            judge.state.module(other).mean().backward()
        judge.gradients(image, other)
        found.append([each.grad for each in judge.state.parameters.values()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_step_is_told_when_the_next_one_has_been_started():
    sizes, settings, _ = KINDS["ours"]
    stage, wishes = made(sizes), AutoencoderTraining(**settings)
    state = AutoencoderState(stage, wishes)
    steps = train_autoencoder(stage, images, wishes, state, Tape())
    assert [(step.step, state.step) for step in steps] == [(1, 2), (2, 3), (3, 4), (4, 4)]


def test_what_is_kept_on_the_way_goes_on_to_the_same_bits(tmp_path):
    sizes, settings, _ = KINDS["judged"]
    whole, steps = learnt(sizes, settings, Tape())
    stage, wishes = made(sizes), AutoencoderTraining(learning_rate=1e-4, **settings)
    state = AutoencoderState(stage, wishes)
    begun = train_autoencoder(stage, images, wishes, state, Tape())
    first = [next(begun) for _ in range(4)]
    state.save(tmp_path / "half")
    again = made(sizes)
    state = AutoencoderState(again, wishes)
    state.load(tmp_path / "half")
    assert state.step == 5  # one ahead of what was told
    rest = list(train_autoencoder(again, images, wishes, state, Tape()))
    assert first + rest == steps[:4] + steps[5:]
    assert all(torch.equal(value, whole[name]) for name, value in again.state_dict().items())


def broken_at(number):
    def images(role, step):
        return batch(role, step) * (float("nan") if step == number else 1)

    return images


def test_a_training_that_is_stopped_before_a_loss_is_read_keeps_no_weights_that_are_none(tmp_path):
    wishes = AutoencodersTraining(roles=("target",), adapt=True, steps=4)
    steps = train_autoencoders(model(), broken_at(3), wishes, tmp_path, Tape)
    with closing(steps):
        assert [next(steps).step for _ in range(3)] == [1, 2, 3]  # the fourth is underway
    assert not list(tmp_path.iterdir())
    steps = train_autoencoders(model(), batch, wishes, tmp_path, Tape)
    with closing(steps):
        assert [next(steps).step for _ in range(2)] == [1, 2]  # the third is, and has a loss
    rest = list(train_autoencoders(model(), batch, wishes, tmp_path, Tape))
    assert [step.step for step in rest] == [4]


def test_a_loss_that_is_no_number_names_the_images_and_keeps_the_checkpoint(tmp_path):
    wishes = AutoencodersTraining(roles=("target",), adapt=True, steps=6, checkpoint_seconds=0)
    steps = train_autoencoders(model(), broken_at(3), wishes, tmp_path, Tape)
    with pytest.raises(NotFinite, match=r"autoencoder of the target images .* step 4"):
        list(steps)
    again = list(train_autoencoders(model(), batch, wishes, tmp_path, Tape))
    assert [step.step for step in again] == [4, 5, 6]


def test_steps_that_cannot_be_recorded_are_taken_all_the_same_and_it_is_told_once(tmp_path):
    known = list(train_autoencoders(model(), batch, ADAPT, tmp_path / "a", Tape))
    found = list(
        train_autoencoders(
            model(), batch, ADAPT, tmp_path / "b", lambda: Tape(RuntimeError("no graphs here"))
        )
    )
    assert [step.loss for step in found] == pytest.approx([step.loss for step in known])
    said = [step.step for step in found if "no graphs here" in step.said]
    assert said == [1, 1]  # of each role


# ---------------------------------------------------------------- of fine_tune


@pytest.fixture(scope="module")
def data():
    fields = list(survey(list(open_sections(layers((320, 1000)))), 1.0))
    return fields, split_patches(fields, 0.3, 0)


def prepared(data, room, kind="cpu", precision="32-true", folder=Path(), device="cpu"):
    fields, split = data
    parts = SimpleNamespace(
        model=guided().to(device),
        data=SimpleNamespace(fields=fields, split=split),
        config=config(first_stage_steps=3),
        machine=SimpleNamespace(
            kind=kind, precision=precision, world=1, first=True, agree=lambda value: value
        ),
        unreadable=UnreadablePatches(fields),
        new_autoencoders=False,
        schedule=SimpleNamespace(variants=2),
        checkpoints=SimpleNamespace(folder=SimpleNamespace(path=folder)),
    )
    sections = None if room is None else sections_within(room, fields, device)
    return preparation.AutoencoderPreparation(parts, sections)


@pytest.mark.parametrize("room", [2**30, 4 * BLOCK_BYTES])
def test_crops_cut_on_the_device_are_those_that_are_read(data, room):
    loop, there = (prepared(data, room=each) for each in (None, room))
    for step in (0, 7):
        for role in (None, "primary", "target"):
            assert torch.equal(there._batch(role, step), loop._batch(role, step))
    assert there.data_time.taken()() > 0


@pytest.mark.usefixtures("sent_as_to_a_card")
def test_crops_are_had_and_learnt_from_without_waiting_for_the_device(data, monkeypatch):
    there = prepared(data, room=2**30)
    stage, wishes = made(OURS), AutoencoderTraining(steps=9, warmup_steps=0)
    steps = RecordedLearning(AutoencoderState(stage, wishes), wishes, None, Tape())
    steps.learn(there._batch("target", 0))
    monkeypatch.setattr(transfers.Transfers, "fetch", lambda self, value: value.numpy)
    with Waits() as waits, Calls() as calls:
        losses = steps.learn(there._batch("target", 1))
    assert waits.sent > 5
    assert not waits.noted
    assert not calls.named(HOST_READS)
    assert losses()[0] > 0


@pytest.mark.parametrize(
    ("kind", "precision", "half"),
    [("cuda", "bf16-mixed", True), ("cuda", "32-true", False), ("cpu", "bf16-mixed", False)],
)
def test_a_card_computes_in_bfloat16_where_that_is_asked_for(
    data, monkeypatch, kind, precision, half
):
    given = []

    def stages(model, batch, wishes, folder, recorder):
        given.append((wishes.half, recorder() is not None))
        yield from ()

    monkeypatch.setattr(preparation, "train_autoencoders", stages)
    list(prepared(data, None, kind, precision)._train(("target",), scratch=False))
    assert given == [(half, kind == "cuda")]


def test_adapting_on_the_device_is_that_of_the_loop(data, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "USUAL_CROPS", (3, 64))
    loop = prepared(data, None, folder=tmp_path / "loop")
    known = list(loop._train(("primary", "target"), scratch=False))
    monkeypatch.setattr(preparation, "recorder_for", lambda kind, world: Tape())
    there = prepared(data, 4 * BLOCK_BYTES, folder=tmp_path / "there")
    found = list(there._train(("primary", "target"), scratch=False))
    assert len(found) == 6
    assert [e.loss for e in found] == pytest.approx([e.loss for e in known], rel=1e-4)
    for steps in (known, found):
        assert all(event.samples_per_s > 0 for event in steps)
        assert 0 < sum(event.waiting for event in steps) <= 6
    for name, value in loop.model.first_stages.state_dict().items():
        made = there.model.first_stages.state_dict()[name]
        torch.testing.assert_close(made, value, rtol=0, atol=1e-5, msg=name)


def test_fine_tune_cuts_their_crops_on_the_card_and_tells_what_is_not_recorded(
    tmp_path, monkeypatch
):
    changes = {"adapt_first_stages": True, "first_stage_steps": 1, "epochs": 1, "validations": 1}
    full = RuntimeError("no graphs here")
    monkeypatch.setattr(preparation, "recorder_for", lambda kind, world: Tape(fails=full))
    monkeypatch.setattr(start, "sections_on_card", DeviceSections)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (2**30, 2**30))
    monkeypatch.setattr(preparation.AutoencoderPreparation, "_cut", None)  # one by one
    monkeypatch.setattr(preparation, "USUAL_CROPS", (3, 64))
    with small():
        events = run(tmp_path / "run", model=guided(), changes=changes)
    assert any("no graphs here" in event.message for event in of(events, Notice))
    phases = [event.phase for event in of(events, TrainStep)]
    assert sum(phase.startswith("autoencoder of") for phase in phases) == 3

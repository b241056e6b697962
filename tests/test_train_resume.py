"""Trainings that are stopped, resumed, lengthened: the same bits, or a refusal that says why."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

import pytest
import torch
from models import CARD, random_model, tiny_config
from training_data import layers, write_slide
from trainings import LEVELS, base_model, config, of, run, weights

from napari_damm.dataset import SlideSource
from napari_damm.events import Finished, Notice, TrainStep, Validated
from napari_damm.model_file import read_card
from napari_damm.train import fine_tune
from napari_damm.train.run_folder import _difference, read_training

pytestmark = pytest.mark.usefixtures("quick_training")


def stop_after(out, step, **options):
    """Run until a step is done, then close the generator."""
    given = {"data": layers(), "model": base_model(), "config": config(), **options}
    with closing(fine_tune(**given, out=out)) as events:
        for event in events:
            if isinstance(event, TrainStep) and event.step == step:
                return


@pytest.mark.parametrize(
    "step", [2, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 3))]
)
def test_a_resumed_run_equals_an_uninterrupted_one(finished_training, tmp_path, step):
    _, whole = finished_training
    out = tmp_path / "run"
    stop_after(out, step)
    state = read_training(out)
    assert (state.step, state.resumable, state.finished) == (step, True, False)
    run(out, resume=True)
    for name in ("last.ckpt", "mine.safetensors"):
        there, here = weights(whole / name), weights(out / name)
        assert there.keys() == here.keys()
        for key, value in there.items():
            assert torch.equal(here[key], value), key
    curves = [(path / "curves.csv").read_text() for path in (whole, out)]
    assert curves[0] == curves[1]


def test_resuming_takes_data_base_and_settings_from_the_folder(tmp_path, tiny_base_file):
    slide = SlideSource(write_slide(tmp_path / "a.ome.tif"))
    out = tmp_path / "run"
    stop_after(out, 2, data=slide, model=tiny_base_file)
    events = list(fine_tune(out=out, resume=True))
    assert [step.step for step in of(events, TrainStep)] == [3, 4]
    assert isinstance(events[-1], Finished)


def test_stopping_after_a_validation_leaves_the_best_model(tmp_path):
    out = tmp_path / "run"
    stop_after(out, 3)
    state = read_training(out)
    assert state.model == out / "mine.safetensors"
    assert read_card(state.model)["training"]["step"] == 3
    assert set(state.scores) == {"ssim", "psnr", "mse", "r", "r2", "std_ratio"}


def test_stopping_before_a_validation_leaves_no_model_but_a_checkpoint(tmp_path):
    out = tmp_path / "run"
    stop_after(out, 1)
    state = read_training(out)
    assert state.model is None
    assert state.resumable


@pytest.mark.slow
def test_autoencoders_are_resumed_too(tmp_path):
    """Stopped within them and once more after them, a new model comes out the same."""
    changes = {"preset": "tiny", "first_stage_steps": 3, "epochs": 1, "validations": 1}
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(whole, changes=changes, model=None)
    for phase in ("autoencoder of nuclei", "joint"):
        given = {"config": config(**changes), "resume": out.exists()}
        with closing(fine_tune(layers(), None, out=out, **given)) as events:
            next(event for event in events if isinstance(event, TrainStep) and event.phase == phase)
        assert read_training(out).resumable
    run(out, changes=changes, model=None, resume=True)
    there, here = (weights(path / "mine.safetensors") for path in (whole, out))
    for key, value in there.items():
        assert torch.equal(here[key], value), key


def test_a_finished_training_is_not_run_again(finished_training):
    _, out = finished_training
    events = run(out, resume=True)
    assert not of(events, TrainStep)
    assert events[-1].result.path == out / "mine.safetensors"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"changes": {"learning_rate": 0.5}}, "learning_rate is None there and 0.5 here"),
        ({"model": base_model(seed=7)}, "base model is another"),
    ],
)
def test_a_finished_training_is_not_called_finished_for_another(finished_training, options, words):
    _, out = finished_training
    with pytest.raises(ValueError, match=words):
        run(out, resume=True, **options)


def test_another_name_is_told_not_to_count(finished_training):
    _, out = finished_training
    (told,) = [
        event.message
        for event in run(out, resume=True, changes={"name": "other"})
        if isinstance(event, Notice) and event.level == "warning"
    ]
    assert told.startswith("the model goes on being called 'mine', as the training was begun, and ")
    assert told.endswith("not 'other': a copy of its file can have another name")
    said = [e.message for e in run(out, resume=True) if isinstance(e, Notice)]
    assert said == [
        f"{out} is finished, mine.safetensors is there: to go on from it, give more epochs or "
        "minutes"
    ]


def test_a_training_whose_checkpoint_is_gone_does_not_begin_anew(finished_training, tmp_path):
    _, whole = finished_training
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "last.ckpt").unlink()
    before = (out / "run.json").read_bytes()
    with pytest.raises(FileNotFoundError, match=r"last.ckpt is missing.*step 4"):
        run(out, resume=True, changes={"epochs": 3})
    assert (out / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"step": float("inf")},
        {"progress": float("nan")},
        {"config": []},
        {"config": {"epochs": float("inf")}},
        {"scores": ["ssim"]},
        {"data": 5},
        {"model": "../elsewhere.safetensors"},
        {"model": 7},
    ],
    ids=str,
)
def test_a_state_that_lies_is_refused(finished_training, tmp_path, change):
    _, whole = finished_training
    record = {**json.loads((whole / "run.json").read_text()), **change}
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"is (damaged|unusable)"):
        read_training(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "null", '{"step": 1e999}'], ids=len)
def test_a_state_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"is (damaged|unusable)"):
        read_training(tmp_path)


def test_a_training_of_the_last_release_is_resumed(finished_training, tmp_path):
    """Its `run.json` calls a setting by the old name."""
    _, whole = finished_training
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    record = json.loads((out / "run.json").read_text())
    record["config"]["average"] = record["config"].pop("ema_decay")
    (out / "run.json").write_text(json.dumps(record))
    events = run(out, resume=True, changes={"epochs": 3})
    assert [step.step for step in of(events, TrainStep)] == [5, 6]


def test_a_finished_training_goes_on_when_given_more(finished_training, tmp_path):
    _, whole = finished_training
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    events = run(out, resume=True, changes={"epochs": 3})
    assert [step.step for step in of(events, TrainStep)] == [5, 6]
    assert [event.step for event in of(events, Validated)] == [0, 6]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"changes": {"batch_size": 3}}, "batch_size is 2 there and 3 here"),
        ({"data": layers(seed=4)}, "images"),
        ({"model": base_model(seed=7)}, "base model"),
    ],
)
def test_another_training_is_not_resumed_into_the_folder(
    finished_training, tmp_path, options, words
):
    _, whole = finished_training
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    changes = {"epochs": 9, **options.pop("changes", {})}
    with pytest.raises(ValueError, match=words):
        run(out, resume=True, changes=changes, **options)


def test_only_one_run_writes_a_folder(tmp_path):
    out = tmp_path / "run"
    events = fine_tune(layers(), base_model(), config(), out)
    with closing(events):
        next(event for event in events if isinstance(event, TrainStep))
        with pytest.raises(OSError, match="another run"):
            run(out, resume=True)


@pytest.mark.slow
def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    out = tmp_path / "run"
    stop_after(out, 1)
    other = tmp_path / "other"
    model = random_model(tiny_config(LEVELS, (32, 32, 32, 64)))
    model.card.update({**CARD, "name": "base"})
    stop_after(other, 1, model=model)
    (other / "last.ckpt").replace(out / "last.ckpt")
    with pytest.raises(ValueError, match="another"):
        run(out, resume=True)


def test_it_is_named_in_what_the_images_differ():
    def record(name, um):
        return {"data": [{"name": name, "identity": {"vessels": {"pixel_size_um": um}}}] * 4}

    begun = record("02", 0.69)
    assert _difference(begun, record("02", 0.69)) == ""
    assert _difference(begun, record("05", 0.5)) == (
        " (begun on 02, 02, 02, ..., given 05, 05, 05, ...)"
    )
    assert _difference(begun, record("02", 0.5)) == " (pixels of 0.69 um then, of 0.5 um now)"
    assert _difference({"data": [{"name": "02", "identity": 3}] * 4}, begun) == ""

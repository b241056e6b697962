"""A training from its wishes to the model: what it tells, what it leaves, how it goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from models import CARD, tiny_config
from training_data import layers, write_folder
from trainings import base_model, config, of, run

from napari_damm import api
from napari_damm.dataset import FolderSource, SimulatedSource
from napari_damm.events import (
    FailedItem,
    Finished,
    Notice,
    Preparing,
    Saved,
    TrainPlanned,
    TrainStep,
    Validated,
)
from napari_damm.model_file import read_card
from napari_damm.train.run_folder import TrainedModel, read_training
from napari_damm.train.setup import find_base, measure, open_data
from napari_damm.train.validation import gain_over

pytestmark = pytest.mark.usefixtures("quick_training")


def test_nothing_that_was_true_of_the_base_alone_is_on_the_card(tmp_path):
    base = base_model()
    of_base = {"intervals": {"level": 0.9}, "spread_factor": 1.3, "history": "x", "limits": ["y"]}
    errors = {"intensities": [0.1], "half_widths": [0.7]}
    base.card.update({**of_base, "errors": errors, "trust": {"windows": {}}, "metrics": {"z": 1}})
    path = run(tmp_path / "run", model=base)[-1].result.path
    card = read_card(path)
    assert not of_base.keys() & card.keys()
    assert card.get("errors") != errors
    assert "z" not in card["metrics"]
    assert card.get("trust") != base.card["trust"]
    assert base.card["spread_factor"] == 1.3  # and the base is as it was


def test_it_tells_what_it_does_in_order(finished_training):
    events, out = finished_training
    (planned,) = of(events, TrainPlanned)
    assert (planned.sections, planned.train_patches, planned.validation_patches) == (1, 4, 1)
    assert planned.modalities == ("vessels", "nuclei", "nanoparticles")
    assert (planned.steps, planned.folder) == (4, out)
    steps = of(events, TrainStep)
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert [step.phase for step in steps] == ["joint", "joint", "gated", "gated"]
    assert all(np.isfinite([s.loss, s.loss_uni, s.loss_multi, s.confidence]).all() for s in steps)
    validated = of(events, Validated)
    assert [event.step for event in validated] == [0, 2, 4]
    assert validated[0].scores == validated[0].base_scores == validated[2].base_scores
    assert isinstance(events[-1], Finished)
    assert isinstance(events[0], Preparing)


def test_the_model_that_comes_out_is_usable_and_says_where_it_comes_from(finished_training):
    events, out = finished_training
    trained = events[-1].result
    assert isinstance(trained, TrainedModel)
    assert trained.path == out / "mine.safetensors"
    model = api.load_model(trained.path, "cpu")
    card = model.card
    assert card["name"] == "mine"
    assert card["training"]["base"] == "base"
    assert card["training"]["settings"]["batch_size"] == 2
    assert card["training_data"]["patches"] == {"train": 4, "validation": 1}
    assert card["training_data"]["sections"][0]["identity"]["target"]["sha256"]
    assert "simulated tissue" in card["training_data"]["description"]
    assert card["metrics"]["mean"] == trained.scores
    assert card["metrics"]["base"] == of(events, Validated)[0].scores
    assert [row["step"] for row in card["curves"]["validation"]] == [2, 4]
    assert set(card["training"]["first_stages"]) == {"vessels", "nuclei", "nanoparticles"}
    assert card["licence"] == CARD["licence"]
    assert card["versions"]["torch"] == torch.__version__


def test_the_folder_says_that_it_is_finished(finished_training):
    _, out = finished_training
    state = read_training(out)
    assert (state.finished, state.resumable, state.step, state.progress) == (True, False, 4, 1.0)
    assert state.model == out / "mine.safetensors"
    assert state.base == "base"
    assert state.data == ("layers",)


def test_the_best_of_the_validations_is_kept(finished_training):
    events, _ = finished_training
    tried = of(events, Validated)[1:]
    best = max(tried, key=lambda event: event.scores["ssim"])
    assert best.best
    assert events[-1].result.scores == best.scores


def test_tiles_show_windows_that_no_training_patch_touches(finished_training):
    events, _ = finished_training
    (tile,) = of(events, Validated)[-1].tiles
    assert (tile.y, tile.x, tile.pixel_size_um) == (0, 320, 1.0)
    assert tile.corner_um == (0.0, 320.0)
    for image in (tile.primary, tile.secondary, tile.truth, tile.before, tile.now):
        assert image.shape == (256, 256)
        assert 0 <= image.min() <= image.max() <= 1
    np.testing.assert_array_equal(tile.before, of(events, Validated)[0].tiles[0].now)


def test_the_base_model_given_is_left_as_it_was(tmp_path):
    base = base_model()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    run(tmp_path / "run", model=base, changes={"epochs": 1, "validations": 1})
    for name, value in base.state_dict().items():
        assert torch.equal(value, before[name]), name


# ---------------------------------------------------------------- other ways to train


@pytest.mark.slow
def test_time_on_the_clock_may_rule(tmp_path, monkeypatch):
    from napari_damm.train import start

    clock = iter(range(0, 100_000, 2))
    ticking = partial(start.TrainingProgress, clock=lambda: float(next(clock)))
    monkeypatch.setattr(start, "TrainingProgress", ticking)
    events = run(tmp_path / "run", changes={"minutes": 1.0})
    steps = of(events, TrainStep)
    assert {step.phase for step in steps} == {"joint", "gated"}
    assert 0.6 < max(step.progress for step in steps) < 1
    assert steps[0].seconds_left == pytest.approx(60, abs=10)
    assert isinstance(events[-1], Finished)


@pytest.mark.slow
def test_a_folder_and_the_simulator_may_be_mixed(tmp_path):
    write_folder(tmp_path / "patches", 4)
    data = [FolderSource(tmp_path / "patches", pixel_size_um=1.0), SimulatedSource(1, 512)]
    events = run(tmp_path / "run", data=data)
    assert of(events, TrainPlanned)[0].sections == 5
    assert isinstance(events[-1], Finished)


def test_it_stops_early_when_nothing_gets_better(tmp_path, monkeypatch):
    from napari_damm.train.validation import Validator

    worse = iter(range(100))
    scores = Validator.scores
    monkeypatch.setattr(
        Validator, "scores", lambda self, p: {**scores(self, p), "ssim": -float(next(worse))}
    )
    changes = {"epochs": 10, "validations": 20, "patience": 3}
    events = run(tmp_path / "run", changes=changes)
    assert [event.step for event in of(events, Validated)] == [0, 1, 2, 3, 4]
    assert any("no better for 3 validations" in notice.message for notice in of(events, Notice))
    assert read_training(tmp_path / "run").finished


@pytest.mark.slow
def test_a_new_model_is_trained_from_scratch(tmp_path):
    changes = {"preset": "tiny", "first_stage_steps": 2, "modalities": ("T1", "T2", "FLAIR")}
    # what stands for the autoencoders in these tests has nothing to learn on pixels
    changes |= {"expected_weight": 0.0}
    events = run(tmp_path / "run", changes=changes, model=None)
    phases = [step.phase for step in of(events, TrainStep)]
    assert phases[0] == "autoencoder of all images"
    assert "autoencoder of FLAIR" in phases
    assert phases[-1] == "gated"
    assert [event.step for event in of(events, Validated)] == [2, 4]
    assert of(events, Validated)[0].tiles[0].before is None
    card = events[-1].result.card
    assert card["modalities"] == ["T1", "T2", "FLAIR"]
    assert card["pixel_size_um"] == 1.0
    assert card["training"]["base"] is None
    progress = [step.progress for step in of(events, TrainStep)]
    assert progress == sorted(progress)


@pytest.mark.slow
def test_batches_are_computed_in_parts_when_memory_runs_out(tmp_path, monkeypatch):
    from napari_damm.train.step import NoiseStep

    part = NoiseStep._part

    def scarce(self, batch, *rest):
        if len(batch.target) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return part(self, batch, *rest)

    monkeypatch.setattr(NoiseStep, "_part", scarce)
    events = run(tmp_path / "run")
    told = [notice.message for notice in of(events, Notice)]
    assert any("out of memory" in message and "2 parts" in message for message in told)
    assert len(of(events, TrainStep)) == 4


def test_no_memory_at_all_is_an_error_and_nothing_is_lost(tmp_path, monkeypatch):
    from napari_damm.train.step import NoiseStep

    def none(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(NoiseStep, "_part", none)
    with pytest.raises(MemoryError, match="smaller batch_size"):
        run(tmp_path / "run")
    assert read_training(tmp_path / "run").resumable


def test_a_loss_that_is_no_number_goes_back_and_slows_down(tmp_path, monkeypatch):
    from napari_damm.train.step import NoiseStep

    part, broken = NoiseStep._part, []

    def breaks_once(self, batch, *rest):
        if self.state.step == 3 and not broken:
            broken.append(True)
            batch = batch._replace(target=batch.target * float("nan"))
        return part(self, batch, *rest)

    monkeypatch.setattr(NoiseStep, "_part", breaks_once)
    events = run(tmp_path / "run")
    (told,) = [n.message for n in of(events, Notice) if "NaN" in n.message]
    assert "at step 3: back to step 2, with half the learning rate" in told
    steps = of(events, TrainStep)
    assert [step.step for step in steps] == [1, 2, 3, 3, 4]
    assert steps[3].learning_rate == pytest.approx(steps[2].learning_rate / 2)


def test_a_loss_that_is_never_a_number_ends_with_a_sentence(tmp_path, monkeypatch):
    from napari_damm.train.step import NoiseStep

    part = NoiseStep._part

    def breaks(self, batch, *rest):
        return part(self, batch._replace(target=batch.target * float("nan")), *rest)

    monkeypatch.setattr(NoiseStep, "_part", breaks)
    with pytest.raises(RuntimeError, match="lower learning_rate"):
        run(tmp_path / "run")


def test_a_patch_that_cannot_be_read_is_told_and_left_out(tmp_path, monkeypatch):
    from napari_damm.dataset.fields import Field

    read = Field.read

    def damaged(self, role, box):
        if self.section.name == "patch_01.tif":
            raise OSError("tile 3 is damaged")
        return read(self, role, box)

    write_folder(tmp_path / "patches", 5)
    source = FolderSource(tmp_path / "patches", pixel_size_um=1.0)
    monkeypatch.setattr(Field, "read", damaged)
    events = run(tmp_path / "run", data=source)
    (failed,) = of(events, FailedItem)
    assert "patch_01.tif" in failed.item
    assert "tile 3 is damaged" in failed.message
    assert events[-1].failed == (f"{failed.item}: {failed.message}",)


def test_checkpoints_are_saved_on_the_way(tmp_path):
    events = run(tmp_path / "run", changes={"checkpoint_minutes": 1e-9})
    # each step, and once more with each best model
    best = [tried.step for tried in of(events, Validated) if tried.best and tried.step > 0]
    assert best
    assert [saved.step for saved in of(events, Saved)] == sorted([1, 2, 3, 4, *best])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": layers((200, 200))}, "too few patches"),
        ({"data": []}, "nothing to train on"),
        ({"model": "no such model"}, "no such model"),
        ({"changes": {"device": "cuda"}}, "cuda"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        run(tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_taken_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="already exists"):
        run(tmp_path / "run")


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(ValueError, match="no training"):
        run(tmp_path / "run", resume=True)


def test_a_damaged_state_is_said(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        read_training(tmp_path)


def test_a_model_without_a_fitting_window_is_refused(tmp_path):
    from models import random_model

    model = random_model(tiny_config(levels=(32,) * 8, unet=(32,) * 6))
    model.card.update(CARD)
    with pytest.raises(ValueError, match="do not fit windows of 256 px"):
        run(tmp_path / "run", model=model)


def test_run_json_is_plain(finished_training):
    _, out = finished_training
    record = json.loads((out / "run.json").read_text())
    assert record["patches"] == {"train": 4, "validation": 1}
    assert record["sources"] == [None]


def test_a_gain_that_may_be_chance_is_told_from_one_that_is_not():
    rng = np.random.default_rng(0)
    truths = list(rng.random((8, 64, 64), np.float32))
    worse = [truth + rng.normal(0, 0.3, truth.shape) for truth in truths]
    better = [truth + rng.normal(0, 0.1, truth.shape) for truth in truths]
    low, high = gain_over(truths, worse, better).values()
    assert 0 < low < high
    other = [truth + rng.normal(0, 0.3, truth.shape) for truth in truths]
    low, high = gain_over(truths, worse, other).values()
    assert low < 0 < high
    assert gain_over(truths[:3], worse[:3], better[:3]) == {}


def test_a_target_that_covers_a_part_only_is_told_before_anything_is_learnt():
    (section,) = open_data(layers((640, 1280)))
    part = replace(section, target=replace(section.target, pixel_size_um=0.7))
    base = find_base(base_model(), config())
    said = [e.message for e in measure([part], base, config()) if isinstance(e, Notice)]
    assert said == [
        "nanoparticles cover 49 % of the vessels' image of layers: only there is something to learn"
    ]
    assert not [e for e in measure([section], base, config()) if isinstance(e, Notice)]

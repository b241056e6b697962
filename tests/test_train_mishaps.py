"""Trainings that meet odd data, odd stops and bad luck: what must still hold."""

from __future__ import annotations

import errno
from contextlib import closing

import numpy as np
import pytest
import torch
from training_data import images, layers, write_folder
from trainings import base_model, config, of, run, weights

from napari_damm.dataset import FolderSource, Region, SectionSource
from napari_damm.events import FailedItem, Notice, TrainStep, Validated
from napari_damm.model_file import read_card
from napari_damm.train import fine_tune
from napari_damm.train.run_folder import read_training
from napari_damm.train.step import NoiseStep
from napari_damm.train.validation import Validator

pytestmark = pytest.mark.usefixtures("quick_training")


def stop_at(out, kind, **options):
    """Run until the first event of a kind (after step 0), then close the generator."""
    given = {"data": layers(), "model": base_model(), "config": config(), **options}
    with closing(fine_tune(**given, out=out)) as events:
        next(event for event in events if isinstance(event, kind) and event.step > 0)


def score(monkeypatch, values):
    """Let validations have these SSIMs, that of the base first."""
    values, scores = iter(values), Validator.scores
    monkeypatch.setattr(
        Validator, "scores", lambda self, p: {**scores(self, p), "ssim": next(values)}
    )


def break_at(monkeypatch, step):
    """Let the loss be no number, once, at a step."""
    part, broken = NoiseStep._part, []

    def breaks(self, batch, *rest):
        if self.state.step == step and not broken:
            broken.append(True)
            batch = batch._replace(target=batch.target * float("nan"))
        return part(self, batch, *rest)

    monkeypatch.setattr(NoiseStep, "_part", breaks)


# ---------------------------------------------------------------- what is kept


@pytest.mark.slow
def test_stopping_on_a_validation_changes_nothing(tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(whole)
    stop_at(out, Validated)
    run(out, resume=True)
    for name in ("last.ckpt", "mine.safetensors"):
        there, here = weights(whole / name), weights(out / name)
        assert all(torch.equal(here[key], value) for key, value in there.items())
    assert (whole / "curves.csv").read_text() == (out / "curves.csv").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("saves", [True, False])
def test_the_best_model_survives_going_back(tmp_path, monkeypatch, saves):
    """Also where the checkpoint that goes with it could not be written."""
    from napari_damm.train.checkpointing import Checkpointer

    if not saves:
        notice = Notice("the disk is full", "warning")
        monkeypatch.setattr(Checkpointer, "save_if_room", lambda self, state: notice)
    score(monkeypatch, [0.1, 0.6, 0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1])
    break_at(monkeypatch, 3)
    out = tmp_path / "run"
    events = run(out, changes={"validations": 4})
    assert events[-1].result.scores["ssim"] == 0.9
    assert read_card(out / "mine.safetensors")["metrics"]["mean"]["ssim"] == 0.9


def test_the_best_model_waits_for_room_on_the_disk(tmp_path, monkeypatch):
    """Its weights, not those of a later, worse one, are what is written at the end."""
    from napari_damm.train import checkpointing

    score(monkeypatch, [0.1, 0.9, 0.2])
    save, kept = checkpointing.save_model, []

    def full_at_first(model, path, card):
        if not kept:
            kept.append({n: v.clone() for n, v in model.state_dict().items()})
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(model, path, card)

    monkeypatch.setattr(checkpointing, "save_model", full_at_first)
    out = tmp_path / "run"
    events = run(out)
    assert any("cannot be saved now" in notice.message for notice in of(events, Notice))
    written = weights(out / "mine.safetensors")
    learnt = [name for name in written if name.startswith("unet.") and name.endswith("weight")]
    assert len(learnt) > 50
    for name in learnt:
        assert torch.equal(written[name], kept[0][name].to(written[name].dtype)), name
    assert read_training(out).scores["ssim"] == 0.9


def test_a_resumed_training_keeps_its_name(tmp_path):
    out = tmp_path / "run"
    stop_at(out, TrainStep)
    events = run(out, resume=True, changes={"name": "another"})
    assert events[-1].result.path == out / "mine.safetensors"


@pytest.mark.slow
def test_patience_that_ran_out_can_be_given_anew(tmp_path, monkeypatch):
    score(monkeypatch, [0.9, 0.8, 0.7, 0.6, *[0.5] * 20])
    out = tmp_path / "run"
    changes = {"epochs": 4, "validations": 8, "patience": 2}
    assert len(of(run(out, changes=changes), TrainStep)) == 3
    assert len(of(run(out, resume=True, changes={**changes, "patience": 0}), TrainStep)) == 5


# ---------------------------------------------------------------- other data


def test_another_region_is_another_training(tmp_path):
    """What validated before would be trained on."""
    shape = (320, 1024)
    mask = np.zeros(shape, bool)
    mask[:, :640] = True
    out = tmp_path / "run"
    stop_at(out, TrainStep, data=layers(shape, region=Region(mask, 1.0)))
    with pytest.raises(ValueError, match="images or their intensities"):
        run(out, resume=True, data=layers(shape))


@pytest.mark.slow
def test_a_renamed_layer_is_the_same(tmp_path):
    out = tmp_path / "run"
    stop_at(out, TrainStep, data=layers(name="before"))
    assert of(run(out, resume=True, data=layers(name="after")), TrainStep)


def test_a_base_that_is_in_no_file_has_to_be_given_again(tmp_path):
    from training_data import write_slide

    from napari_damm.dataset import SlideSource

    out, slide = tmp_path / "run", SlideSource(write_slide(tmp_path / "a.ome.tif"))
    stop_at(out, TrainStep, data=slide)
    with pytest.raises(ValueError, match="in no file: give it again"):
        run(out, resume=True, data=None, model=None)


def test_a_target_without_structure_where_it_validates_has_no_r2(tmp_path):
    given = images()
    given["target"][:, 320:] = 2000
    given["target"][::4] = 2000  # as it has elsewhere: how this picture shows nothing, no fill
    events = run(tmp_path / "run", data=SectionSource(given, 1.0))
    card = events[-1].result.card
    assert card["metrics"]["mean"]["r2"] is None
    assert "r2" not in read_training(tmp_path / "run").scores


def test_messages_name_the_section_and_the_modality(tmp_path):
    model = base_model()
    model.card["modalities"] = ["T1", "T2", "FLAIR"]
    blank = SectionSource(images() | {"secondary": np.full((320, 576), 7, np.uint16)}, 1.0)
    with pytest.raises(ValueError, match="the T2 image of layers is blank") as caught:
        run(tmp_path / "run", data=blank, model=model)
    assert "--" not in str(caught.value)
    odd = {name: image.astype(np.float32) for name, image in images().items()}
    odd["target"][3, 5] = np.inf
    with pytest.raises(ValueError, match=r"FLAIR image of layers: .*NaN or infinite"):
        run(tmp_path / "run", data=SectionSource(odd, 1.0), model=model)
    assert not (tmp_path / "run").exists()


def unreadable(monkeypatch, *names):
    from napari_damm.dataset.fields import Field

    read = Field.read

    def damaged(self, role, box):
        if self.section.name in names:
            raise OSError("tile 3 is damaged")
        return read(self, role, box)

    monkeypatch.setattr(Field, "read", damaged)


def test_a_validation_window_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    data = FolderSource(write_folder(tmp_path / "patches", 8), pixel_size_um=1.0)
    unreadable(monkeypatch, "patch_07.tif")
    changes = {"validation_share": 0.25, "epochs": 1}
    events = run(tmp_path / "run", data=data, changes=changes)
    assert ["patch_07.tif" in failed.item for failed in of(events, FailedItem)] == [True]


def test_nothing_is_left_where_no_validation_window_can_be_read(tmp_path, monkeypatch):
    data = FolderSource(write_folder(tmp_path / "patches", 5), pixel_size_um=1.0)
    unreadable(monkeypatch, "patch_04.tif")
    with pytest.raises(OSError, match="no validation window can be read: tile 3 is damaged"):
        run(tmp_path / "run", data=data)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------- the machine


def test_memory_that_runs_out_in_a_validation_makes_it_smaller(tmp_path, monkeypatch):
    from napari_damm.engine.sampler import WindowSampler

    run_pool = WindowSampler.run

    def scarce(self, inputs):
        if self.sampling.batch_size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run_pool(self, inputs)

    monkeypatch.setattr(WindowSampler, "run", scarce)
    data = FolderSource(write_folder(tmp_path / "patches", 8), pixel_size_um=1.0)
    changes = {"validation_share": 0.25, "epochs": 1}
    events = run(tmp_path / "run", data=data, changes=changes)
    assert len(of(events, Validated)) == 3
    said = [notice.message for notice in of(events, Notice)]
    assert any("out of memory: going on with batches of 1 on cpu" in each for each in said)


def test_any_seed_will_do(tmp_path):
    assert of(run(tmp_path / "run", changes={"seed": 2**64 - 1, "epochs": 1}), TrainStep)

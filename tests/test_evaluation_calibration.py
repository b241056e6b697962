"""Intervals from sections that were kept aside: what goes on a model's card, and what does not."""

from __future__ import annotations

import json
import shutil
from functools import partial

import numpy as np
import pytest
from evaluations import section_file, section_folder, window_model
from models import CARD, velocity_model

from napari_damm import api, cli
from napari_damm.dataset import FolderSource, SimulatedSource, SlideSource, open_sections
from napari_damm.evaluation.calibration import window_pairs
from napari_damm.evaluation.scores import Ground
from napari_damm.events import FailedItem, Finished, Notice
from napari_damm.model_file import bundled_folder, load_model, read_card, save_model, spread_factor
from napari_damm.slide import slide_from_arrays
from napari_damm.trust.intervals import KEY, Intervals
from napari_damm.util.tiling import Box


@pytest.fixture(scope="module", autouse=True)
def _small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_damm.engine.job.default_batch", lambda *_: 1)
        yield


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return save(tmp_path / "models" / "mine.safetensors")


def save(path, **card):
    return save_model(velocity_model(), path, {**CARD, "name": path.stem, **card})


@pytest.fixture(scope="module")
def eight(tmp_path_factory):
    """Eight sections of one window."""
    return section_folder(tmp_path_factory.mktemp("eight") / "data", 8)


def calibrate(data, model, **options):
    return list(api.calibrate(data, model, **options))


def test_sections_are_the_units_and_what_is_found_holds_on_them(model, eight):
    weights = load_model(model).state_dict()
    *_, finished = calibrate(FolderSource(eight), "mine")
    assert isinstance(finished, Finished)
    assert finished.result.path == model
    found = Intervals.of_card(read_card(model))
    assert (found.count, found.unit, found.truth) == (8, "sections", "image as taken")
    assert found.fitted_on == "8 sections (s0.ome.tif, s1.ome.tif, s2.ome.tif, ...)"
    assert finished.result.width > 0
    again = load_model(model)
    assert all((weights[name] == value).all() for name, value in again.state_dict().items())
    *_, judged = api.evaluate(FolderSource(eight), again, api.EvaluateConfig(mode="expected"))
    covered = [r.scores["coverage"] for r in judged.result.rows if r.branch == "gated"]
    assert np.mean(covered) == pytest.approx(90, abs=3)


def test_of_few_sections_windows_are_the_units(model):
    *_, finished = calibrate(SimulatedSource(1, 768, first_seed=10_000), "mine")
    found = finished.result.intervals
    assert (found.count, found.unit) == (9, "windows")
    assert found.fitted_on == "9 windows of 256 px of 1 section (simulated internal 10000)"


def test_predictions_have_the_intervals_from_then_on(model, eight):
    calibrate(FolderSource(eight), "mine")
    drawn = api.simulate_slide(256, 10_020)
    slide = slide_from_arrays({"vessels": drawn.vessels, "nuclei": drawn.nuclei}, 1.0)
    *_, finished = api.predict(slide, "mine")
    interval = api.prediction_interval(finished.result)
    assert interval is not None
    assert interval.fitted_on.startswith("8 sections that the model had not learnt from")


def test_too_little_tissue_is_refused_and_nothing_changes(model, eight):
    before = model.read_bytes()
    with pytest.raises(ValueError, match=r"^1 window of 256 px .* 8 are needed: give more"):
        calibrate(SimulatedSource(1, 256, first_seed=10_000), "mine")
    assert model.read_bytes() == before


def test_what_could_not_be_used_is_named_and_why_stands_with_it_alone(model, tmp_path):
    tiny = section_file(tmp_path / "tiny.ome.tif", 96, 10_050)
    slide = SlideSource(tiny, "vessels", "nuclei", "nanoparticles")
    sources = [slide, SimulatedSource(1, 256, first_seed=10_000)]
    with pytest.raises(ValueError, match=r"larger sections; tiny\.ome\.tif could not be used$"):
        calibrate(sources, "mine")


def test_a_model_of_samples_alone_is_refused(model, eight):
    window_model(model)
    with pytest.raises(ValueError, match="predicts noise and has no expected map"):
        calibrate(FolderSource(eight), "mine")


def test_sections_that_it_learnt_from_are_left_out(model, eight, tmp_path):
    path = section_file(tmp_path / "learnt.ome.tif")
    learnt = SlideSource(path, "vessels", "nuclei", "nanoparticles")
    (section,) = open_sections(learnt)
    listed = json.loads(json.dumps([{"name": "learnt", "identity": section.identity}]))
    card = {"training_data": {"kind": "images", "sections": listed}}
    save(model, **card)
    *events, finished = calibrate([learnt, FolderSource(eight)], "mine")
    (failed,) = [e for e in events if isinstance(e, FailedItem)]
    assert "the model learnt from it" in failed.message
    assert finished.result.intervals.count == 8
    with pytest.raises(ValueError, match="the model learnt from it"):
        calibrate(learnt, "mine")


def test_the_bundled_model_is_never_changed_but_a_copy_is(model, eight, monkeypatch, tmp_path):
    folder = tmp_path / "bundled"
    folder.mkdir()
    bundled = save(folder / "small.safetensors")
    for place in ("model_file.library", "model_file", "evaluation.calibrated_file"):
        monkeypatch.setattr(f"napari_damm.{place}.bundled_folder", lambda: folder)
    before = bundled.read_bytes()
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "link.safetensors").symlink_to(bundled)
    spelled = "small", bundled, folder / ".." / "bundled" / "small.safetensors"
    for given in (*spelled, tmp_path / "link" / "small.safetensors", tmp_path / "link.safetensors"):
        with pytest.raises(ValueError, match=r"'small' is bundled .* give the name of a new model"):
            calibrate(FolderSource(eight), given)
    *_, finished = calibrate(FolderSource(eight), "small", name="here")
    assert finished.result.path == model.parent / "here.safetensors"
    assert read_card(finished.result.path)["name"] == "here"
    assert KEY in read_card(finished.result.path)
    assert bundled.read_bytes() == before
    with pytest.raises(ValueError, match="'mine' is there already"):
        calibrate(FolderSource(eight), "small", name="mine")


def test_the_file_that_a_link_leads_to_is_changed(model, eight, tmp_path):
    link = tmp_path / "link.safetensors"
    link.symlink_to(model)
    *_, finished = calibrate(FolderSource(eight), link)
    assert finished.result.path == model
    assert link.is_symlink()
    assert KEY in read_card(model)


def test_what_cannot_be_written_is_refused_before_the_work(model, eight, tmp_path, monkeypatch):
    refused = partial(api.calibrate, FolderSource(eight))
    with pytest.raises(ValueError, match="at most 243 bytes"):
        next(refused(model, "x" * 300))
    with pytest.raises(ValueError, match=r"without .safetensors: 'x.safetensors'"):
        next(refused(model, "x.safetensors"))
    plain = shutil.copy(model, tmp_path / "plain")
    with pytest.raises(ValueError, match=r"plain does not end in .safetensors"):
        next(refused(plain))
    monkeypatch.setattr("napari_damm.evaluation.calibrated_file.os.access", lambda *_: False)
    with pytest.raises(PermissionError, match="may not be written: give the name"):
        next(refused(model))
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(plain))
    with pytest.raises(NotADirectoryError, match="plain is no folder"):
        next(refused(model, "new"))


def test_a_model_that_was_changed_meanwhile_is_left_as_it_is(model, eight):
    running = api.calibrate(FolderSource(eight), "mine")
    next(running)
    save(model, licence="other")
    with pytest.raises(ValueError, match="was changed meanwhile"):
        list(running)
    assert KEY not in read_card(model)


def test_a_name_that_was_taken_meanwhile_is_left_alone(model, eight):
    running = api.calibrate(FolderSource(eight), "mine", "new")
    next(running)
    shutil.copy(model, model.parent / "new.safetensors")
    with pytest.raises(ValueError, match="'new' is there already"):
        list(running)
    assert KEY not in read_card(model.parent / "new.safetensors")


def test_the_same_picture_counts_once_and_small_ones_are_named(model, eight, tmp_path):
    again = SlideSource(
        shutil.copy(eight / "CD31" / "s3.ome.tif", tmp_path / "again.ome.tif"),
        secondary=eight / "DAPI" / "s3.ome.tif",
        target=eight / "QD" / "s3.ome.tif",
    )
    tiny = section_file(tmp_path / "tiny.ome.tif", 96, 10_050)
    sources = [FolderSource(eight), again, SlideSource(tiny, "vessels", "nuclei", "nanoparticles")]
    *events, finished = calibrate(sources, "mine")
    failed = {e.item: e.message for e in events if isinstance(e, FailedItem)}
    assert failed["again.ome.tif"] == "it is the same picture as s3.ome.tif: it counts once"
    assert "no window of 256 px has tissue" in failed["tiny.ome.tif"]
    assert finished.result.intervals.count == 8


def test_what_widened_samples_on_other_tissue_is_gone(model, eight):
    save(model, spread_factor=1.3)
    calibrate(FolderSource(eight), "mine")
    assert spread_factor(read_card(model)) == 1.0


def test_a_card_that_does_not_list_its_sections_is_told(model, eight):
    data = {"kind": "images", "sections": [], "number_of_sections": 60}
    save(model, training_data=data)
    events = calibrate(FolderSource(eight), "mine")
    told = [e.message for e in events if isinstance(e, Notice)]
    assert any("does not list 60 of the sections" in each for each in told)


@pytest.mark.parametrize("data", ["a folder", None, 5, [], ["a folder"]])
def test_what_is_no_source_is_refused_at_once(model, data):
    with pytest.raises(ValueError, match="sections"):
        next(api.calibrate(data, "mine"))
    with pytest.raises(ValueError, match="sections"):
        next(api.evaluate(data, "mine"))


def test_windows_lie_beside_each_other_and_count_what_is_inside():
    inside = np.zeros((300, 600), bool)
    inside[:, :400] = True
    truth = np.arange(inside.size, dtype=np.float32).reshape(inside.shape)
    ground = Ground(Box(0, 0, *inside.shape), 1.0, inside, truth, None)
    pairs = list(window_pairs(ground, truth + 1))
    assert [len(t) for _, t in pairs] == [4000, 4000]  # the lower ones are too small
    assert [t.max() % 600 < 400 for _, t in pairs] == [True, True]
    assert all((p - t == 1).all() for p, t in pairs)


def test_the_command_says_that_windows_of_few_sections_do_not_tell_of_others(model, capfd):
    asked = ["calibrate", "--simulated", "1", "--simulated-size", "768", "--model", str(model)]
    assert cli.main(asked) == 0
    assert (
        "windows of few sections: of other sections less than 90 % may lie inside; give 8 sections "
        "or more" in capfd.readouterr().out
    )


def test_the_command_says_what_it_found(model, eight, capfd):
    assert cli.main(["calibrate", str(eight), "--model", "mine"]) == 0
    said = capfd.readouterr().out
    assert "90 % intervals from 8 sections (s0.ome.tif" in said
    assert f"model {model}" in said
    assert "few sections" not in said
    assert cli.main(["calibrate", str(eight), "--model", "mine", "--name", "mine"]) == 2
    assert "there already" in capfd.readouterr().err
    assert cli.main(["calibrate", str(eight)]) == 2
    assert "is bundled with napari-damm" in capfd.readouterr().err
    assert (bundled_folder() / "small.safetensors").exists()

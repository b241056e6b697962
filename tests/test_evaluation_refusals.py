"""Evaluations that are refused, before anything is predicted, and leave nothing behind."""

from __future__ import annotations

import pytest
from evaluations import FOLDERS, QUICK, section_file, section_folder, window_model

from napari_damm import api
from napari_damm.dataset import FolderSource, SimulatedSource, SlideSource
from napari_damm.evaluation import writing


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return window_model(tmp_path_factory.mktemp("model") / "a.safetensors")


@pytest.fixture
def folder(tmp_path):
    return section_folder(tmp_path / "data")


def refused(data, model, error=ValueError, **more):
    """Return why an evaluation is refused; nothing may come before."""
    events = api.evaluate(data, model, api.EvaluateConfig(**QUICK), **more)
    with pytest.raises((error, OSError)) as caught:
        next(events)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_existing_output_is_refused_and_left_alone(model, tmp_path):
    (tmp_path / "precious").write_text("data")
    data = SimulatedSource(1, 256, first_seed=10_000)
    assert "already exists" in refused(data, model, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious"]
    assert "create it first" in refused(data, model, out=tmp_path / "no" / "where")


def test_an_output_that_appears_meanwhile_is_left_alone(model, tmp_path, monkeypatch):
    data = SimulatedSource(1, 256, first_seed=10_000)
    *_, finished = api.evaluate(data, model, api.EvaluateConfig(**QUICK))
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="already exists"):
        writing.write(finished.result, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_seeds_that_a_training_may_have_seen_are_refused(model):
    assert "10000" in refused(SimulatedSource(2, 256, first_seed=9_999), model)


def test_an_unknown_model_is_refused(folder):
    assert "no-such-model" in refused(FolderSource(folder), "no-such-model")


def test_models_that_cannot_be_compared_are_refused(folder, model, tmp_path):
    coarse = window_model(tmp_path / "c.safetensors", pixel_size_um=2.0)
    other = window_model(tmp_path / "d.safetensors", modalities=["T1", "T2", "FLAIR"])
    for path, word in ((coarse, "pixel size"), (other, "modalities")):
        config = api.EvaluateConfig(**QUICK, compare=path)
        with pytest.raises(ValueError, match=word):
            next(api.evaluate(FolderSource(folder), model, config))


def test_no_data_are_refused(model):
    assert "there are no sections" in refused([], model)


def test_mismatched_names_are_refused(folder, model):
    (folder / "QD" / "s0.ome.tif").rename(folder / "QD" / "other.ome.tif")
    assert "s0.ome.tif" in refused(FolderSource(folder), model)


def test_a_missing_modality_is_refused(folder, model):
    for path in (folder / FOLDERS[2]).iterdir():
        path.unlink()
    (folder / FOLDERS[2]).rmdir()
    assert "'QD'" in refused(FolderSource(folder), model, OSError)


def test_a_folder_of_text_is_refused(folder, model):
    for name in FOLDERS:
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name / "notes.txt").write_text("hello")
    assert "notes.txt" in refused(FolderSource(folder), model)


def test_a_region_outside_the_section_is_refused(model, tmp_path):
    path = section_file(tmp_path / "s.ome.tif")
    with pytest.raises(ValueError, match=r"inside the region 900 900 999 999 and"):
        list(api.evaluate(SlideSource(path, roi=(900, 900, 999, 999)), model))

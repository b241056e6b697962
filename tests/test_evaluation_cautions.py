"""What an evaluation says of sections whose numbers are to be read with care."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from evaluations import QUICK, section_file, section_folder, window_model, write_tiff

from napari_damm import api
from napari_damm.dataset import (
    FolderSource,
    SectionSource,
    SimulatedSource,
    SlideSource,
    open_sections,
)
from napari_damm.evaluation import predicting
from napari_damm.evaluation.opening import open_all
from napari_damm.evaluation.repeated import Repeated
from napari_damm.events import Finished, Notice
from napari_damm.simulate import simulate_slide


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_damm.engine.job.default_batch", lambda *_: 1)
        yield window_model(tmp_path_factory.mktemp("model") / "a.safetensors")


def evaluate(data, model):
    """Return the report and the warnings."""
    *events, finished = api.evaluate(data, model, api.EvaluateConfig(**QUICK))
    warnings = [e.message for e in events if isinstance(e, Notice) and e.level == "warning"]
    return finished.result, warnings


def test_a_target_without_a_picture_in_part_is_judged_on_the_rest(model, tmp_path):
    drawn = simulate_slide(256, 10_000)
    images = [np.asarray(i, np.float32) for i in (drawn.vessels, drawn.nuclei, drawn.nanoparticles)]
    images[2][:112] = np.nan
    path = write_tiff(tmp_path / "a.ome.tif", *images, names=("vessels", "nuclei", "nanoparticles"))
    report, warnings = evaluate(SlideSource(path), model)
    assert report.sections[0].evaluated_px == 128 * 256
    caution = (
        "the target image of a.ome.tif is fill (one value, or NaN, at its border) in 50 % of the "
        "tissue: that part is left out"
    )
    assert caution in report.cautions
    assert caution in warnings


def said_of(*sources):
    """Return what is said of the sections of sources, group by group."""
    groups, _ = open_all(sources)
    repeated = Repeated()
    return [said for group in groups if (said := repeated.said_of(group))]


def test_a_picture_given_twice_is_a_caution_and_the_numbers_stay(model, tmp_path):
    path = section_file(tmp_path / "a.ome.tif")
    once, _ = evaluate(SlideSource(path), model)
    report, warnings = evaluate([SlideSource(path), SlideSource(path)], model)
    (caution,) = report.cautions
    assert caution.startswith("a.ome.tif (2) shows the same picture as a.ome.tif: ")
    assert "independent sections" in caution
    assert caution in warnings
    assert once.cautions == ()
    scores = [row.scores["ssim"] for row in report.rows]
    assert scores == 2 * [row.scores["ssim"] for row in once.rows]


def test_a_copy_is_the_same_picture_and_one_of_the_same_name_is_not(tmp_path):
    path = section_file(tmp_path / "a.ome.tif")
    copy = shutil.copy(path, tmp_path / "b.ome.tif")
    (tmp_path / "other").mkdir()
    other = section_file(tmp_path / "other" / "a.ome.tif", seed=10_001)
    (said,) = said_of(SlideSource(path), SlideSource(copy))
    assert said.startswith("b.ome.tif shows the same picture as a.ome.tif")
    assert said_of(SlideSource(path), SlideSource(other)) == []


def test_a_folder_given_twice_is_said_in_one_sentence(tmp_path):
    folder = FolderSource(section_folder(tmp_path / "data", 4, 64))
    (said,) = said_of(folder, folder)
    names = "s0.ome.tif (2), s1.ome.tif (2), s2.ome.tif (2), ..."
    assert said.startswith(f"4 sections show pictures that were given before ({names})")
    assert said_of(folder) == []


def test_layers_and_simulated_sections_are_compared_too():
    drawn = SimulatedSource(2, 64, first_seed=10_000)
    (said,) = said_of(drawn, SimulatedSource(1, 64, first_seed=10_001))
    assert "shows the same picture as simulated internal 10001" in said
    (section, _) = open_sections(drawn, evaluation=True)
    pictures = {r: section.raster(r).planes[0] for r in ("primary", "secondary", "target")}
    (said,) = said_of(SectionSource(pictures, 1.0), SectionSource(pictures, 1.0))
    assert "layers (2) shows the same picture as layers" in said


def test_a_verdict_names_its_section_and_other_warnings_none(monkeypatch):
    said = ("do not use: out of focus?", "with care: dim", "memory ran out: smaller batches")
    done = Finished(SimpleNamespace(), 0.0)
    events = [*(Notice(each, "warning") for each in said), done]
    monkeypatch.setattr(predicting.engine, "predict", lambda *_: iter(events))
    field, warned = SimpleNamespace(section=SimpleNamespace(name="a.tif", slide=None)), set()
    told = [list(predicting.predict_section(field, None, None, "", warned)) for _ in range(2)]
    assert [[notice.message for notice in once] for once in told] == [
        [f"a.tif: {said[0]}", f"a.tif: {said[1]}", said[2]],
        [],
    ]

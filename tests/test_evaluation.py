"""A whole evaluation: tiny random models over small sections, and what can be wrong with either."""

from __future__ import annotations

import errno
import json

import numpy as np
import pytest
from evaluations import QUICK, section_file, section_folder, window_model, write_tiff
from imageio.v3 import imread

from napari_damm import api, engine
from napari_damm.dataset import FolderSource, Region, SectionSource, SimulatedSource, SlideSource
from napari_damm.evaluation import predicting, run
from napari_damm.evaluation.drawing import draw
from napari_damm.evaluation.report import BRANCHES, NO_MODEL
from napari_damm.evaluation.trivial import METHODS
from napari_damm.events import FailedItem, Finished, Notice, Preparing

FILES = {"report.json", "sections.csv", "summary.csv", "figure.png"}


@pytest.fixture(scope="module", autouse=True)
def _small_batches():
    """Predict one window at a time: here there is one, and a batch of four costs four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_damm.engine.job.default_batch", lambda *_: 1)
        yield


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [window_model(folder / f"{name}.safetensors", k) for k, name in enumerate("ab")]


@pytest.fixture(scope="module")
def model(models):
    return models[0]


@pytest.fixture
def folder(tmp_path):
    return section_folder(tmp_path / "data")


def evaluate(data, model, out=None, **wishes):
    return list(api.evaluate(data, model, api.EvaluateConfig(**QUICK | wishes), out))


@pytest.fixture(scope="module")
def whole(models, tmp_path_factory):
    """A folder and a simulated section, two models, everything written."""
    base = tmp_path_factory.mktemp("whole")
    data = [FolderSource(section_folder(base / "data")), SimulatedSource(1, 256, first_seed=10_005)]
    out = base / "report"
    events = evaluate(data, models[0], out, compare=models[1])
    return events, out


# ---------------------------------------------------------------- what works


def test_events_say_what_is_being_done_and_end_with_the_report(whole):
    events, out = whole
    assert isinstance(events[-1], Finished)
    assert events[-1].failed == ()
    assert events[-1].result.path == out
    said = {event.what for event in events if isinstance(event, Preparing)}
    assert {"measuring sections", "section 2 of 3, b, gated", "writing the report"} <= said
    assert all(e.done <= e.total for e in events if isinstance(e, Preparing))


def test_every_section_is_scored_for_every_model_and_branch(whole):
    report = whole[0][-1].result
    assert [facts.name for facts in report.sections] == [
        "s0.ome.tif",
        "s1.ome.tif",
        "simulated internal 10005",
    ]
    trivial = [(NO_MODEL, method) for method in METHODS]
    assert [(r.model, r.branch) for r in report.rows] == [
        *((m, b) for m in "ab" for b in BRANCHES),
        *trivial,
    ] * 3
    for row in report.rows:
        assert row.scores["mse"] > 0
        assert -1 <= row.scores["ssim"] <= 1
        assert row.model == NO_MODEL or 0 <= row.scores["uncertainty"] <= 1


def test_trivial_methods_stand_beside_the_model_s_branches(whole):
    report = whole[0][-1].result
    header = next(line for line in report.table() if "gated" in line)
    assert header.split("gated")[-1].split() == ["linear", "model", "best", "blur"]
    scores = {(r.section, r.branch): r.scores for r in report.rows if r.model == NO_MODEL}
    for name in (facts.name for facts in report.sections):
        linear, blur = (scores[name, method] for method in METHODS)
        assert linear["r2"] > blur["r2"] > 0
        assert linear["crps"] < blur["crps"]
        assert 80 < linear["coverage"] < 98
    # random models say nothing of intervals
    assert all(r.scores.get("crps") is None for r in report.rows if r.model != NO_MODEL)


def test_the_branches_are_what_they_say(whole):
    shares = {
        branch: {
            r.scores["multi_modal_share"] for r in whole[0][-1].result.rows if r.branch == branch
        }
        for branch in BRANCHES
    }
    assert shares["uni-modal"] == {0.0}
    assert shares["multi-modal"] == {1.0}


def test_all_of_it_is_written(whole):
    events, out = whole
    report = events[-1].result
    assert {path.name for path in out.iterdir()} == FILES
    assert [p.name for p in out.parent.iterdir() if "partial" in p.name] == []
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert content["models"][0]["training_data"]["description"] == "simulated tissue"
    assert len(content["models"][0]["sha256"]) == 64
    assert content["settings"]["steps"] == 1
    assert len((out / "sections.csv").read_text(encoding="utf-8").splitlines()) == 1 + 24
    assert len(content["differences"]) == len(report.differences) > 0
    assert imread(out / "figure.png").std() > 10


def test_differences_are_those_of_the_rows(whole):
    report = whole[0][-1].result
    ssim = {(r.section, r.model, r.branch): r.scores["ssim"] for r in report.rows}
    by_hand = np.mean(
        [ssim[f.name, "a", "gated"] - ssim[f.name, "b", "gated"] for f in report.sections]
    )
    (found,) = [d for d in report.differences if (d.measure, d.branch) == ("ssim", "gated")]
    assert found.mean == pytest.approx(by_hand)
    assert found.low <= found.mean <= found.high


def test_the_figure_names_modalities_model_and_training_data(whole):
    figure = draw(whole[0][-1].result)
    words = " ".join(text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text")))
    for word in ("simulated tissue", "vessels", "nanoparticles, as taken", "uncertainty", "SSIM"):
        assert word in words


def test_a_figure_speaks_of_other_modalities_by_their_names(tmp_path):
    path = window_model(tmp_path / "mr.safetensors", modalities=["T1", "T2", "FLAIR"])
    rng = np.random.default_rng(0)
    images = {role: rng.integers(0, 999, (256, 256)) for role in ("primary", "secondary", "target")}
    events = evaluate(SectionSource(images, 1.0, name="phantom"), path)
    report = events[-1].result
    words = " ".join(
        t.get_text() for t in draw(report).findobj(lambda a: hasattr(a, "get_text"))
    ) + " ".join(report.table())
    assert "How far FLAIR get from T1" in words
    assert "vessels" not in words
    assert "nanoparticles" not in words


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(model):
    data = SimulatedSource(1, 256, first_seed=10_000)
    first, again, other = (evaluate(data, model, seed=s)[-1].result for s in (3, 3, 4))
    assert first.to_json() == again.to_json()
    assert first.rows != other.rows


@pytest.mark.slow
def test_a_region_is_evaluated_as_the_whole_is_there(model, tmp_path):
    path = section_file(tmp_path / "s.ome.tif", size=320)
    roi = (40.0, 90.0, 200.0, 260.0)  # whole cells: y 64..192, x 96..256
    whole = next(iter(evaluate(SlideSource(path), model)[-1].result.sections))
    part = evaluate(SlideSource(path, roi=roi), model)[-1].result.sections[0]
    assert whole.shape == (320, 320)
    assert part.shape == (128, 160)
    assert part.evaluated_px <= 128 * 160


@pytest.mark.slow
def test_a_region_s_prediction_is_the_crop_of_the_whole_s(model, tmp_path, monkeypatch):
    path = section_file(tmp_path / "s.ome.tif", size=320)
    seen = []
    real = run.score
    monkeypatch.setattr(run, "score", lambda g, p: seen.append((g, p)) or real(g, p))
    evaluate(SlideSource(path), model)
    evaluate(SlideSource(path, roi=(40, 90, 200, 260)), model)
    (whole_ground, whole), (part_ground, part) = seen[0], seen[5]
    crop = part_ground.box.slices
    np.testing.assert_array_equal(whole[crop], part)
    np.testing.assert_array_equal(whole_ground.truth[crop], part_ground.truth)


def test_a_drawn_region_is_evaluated(model):
    rng = np.random.default_rng(0)
    images = {role: rng.integers(0, 999, (300, 300)) for role in ("primary", "secondary", "target")}
    mask = np.zeros((300, 300), bool)
    mask[:130, :130] = True
    mask[128:290, 100:290] = True
    report = evaluate(SectionSource(images, 1.0, region=Region(mask, 1.0)), model)[-1].result
    assert report.sections[0].evaluated_px == 128 * 128 + 160 * 160
    assert report.sections[0].shape == (288, 288)


def test_one_section_has_no_interval_and_says_so_in_the_figure(model):
    report = evaluate(SimulatedSource(1, 256, first_seed=10_000), model)[-1].result
    assert {line.low for line in report.summary} == {None}
    assert "evaluate several" in draw(report).get_supxlabel()


def test_sections_of_one_name_are_told_apart(model, tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    paths = [section_file(tmp_path / name / "s.ome.tif") for name in "xy"]
    report = evaluate([SlideSource(path) for path in paths], model)[-1].result
    assert [facts.name for facts in report.sections] == ["s.ome.tif", "s.ome.tif (2)"]


def test_models_of_one_name_are_told_apart(models, tmp_path):
    twin = window_model(tmp_path / "a.safetensors", 7)
    data = SimulatedSource(1, 256, first_seed=10_000)
    report = evaluate(data, models[0], compare=twin)[-1].result
    assert {row.model for row in report.rows} == {"a", "a (compared)", NO_MODEL}
    renamed = twin.rename(tmp_path / "b.safetensors")
    report = evaluate(data, models[0], compare=renamed)[-1].result
    assert {row.model for row in report.rows} == {"a", "b", NO_MODEL}


def test_a_huge_section_is_said_to_take_memory(model, monkeypatch):
    monkeypatch.setattr(predicting, "LARGE_PX", 255)
    events = evaluate(SimulatedSource(1, 256, first_seed=10_000), model)
    assert any("memory" in e.message for e in events if isinstance(e, Notice))


# ---------------------------------------------------------------- what fails


def test_a_section_that_fails_is_told_and_the_others_go_on(folder, model):
    write_tiff(folder / "QD" / "s0.ome.tif", np.full((256, 256), 7, np.uint16))
    events = evaluate(FolderSource(folder, intensities="image"), model)
    (failure,) = [e for e in events if isinstance(e, FailedItem)]
    assert failure.item == "s0.ome.tif"
    assert "blank" in failure.message
    report = events[-1].result
    assert [facts.name for facts in report.sections] == ["s1.ome.tif"]
    assert report.failed == (f"s0.ome.tif: {failure.message}",) == events[-1].failed


def test_where_all_fail_the_last_reason_is_raised_and_nothing_is_written(folder, model, tmp_path):
    for k in range(2):
        write_tiff(folder / "QD" / f"s{k}.ome.tif", np.full((256, 256), 7, np.uint16))
    with pytest.raises(ValueError, match="blank"):
        evaluate(FolderSource(folder, intensities="image"), model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_section_whose_windows_fail_is_left_out_rather_than_averaged(model, monkeypatch):
    real = engine.predict
    calls = []

    def predict(slide, model, config):
        calls.append(1)
        *events, finished = real(slide, model, config)
        failed = ("window (0, 1): read error",) if len(calls) == 4 else ()
        yield from [*events, Finished(finished.result, 1.0, failed)]

    monkeypatch.setattr(engine, "predict", predict)
    events = evaluate(SimulatedSource(2, 256, first_seed=10_000), model)
    assert [e.item for e in events if isinstance(e, FailedItem)] == ["simulated internal 10001"]
    assert len(events[-1].result.rows) == 3 + len(METHODS)
    assert "1 window could not be predicted: window (0, 1): read error" in events[-1].failed[0]


def test_a_full_disk_leaves_nothing(model, tmp_path, monkeypatch):
    def full(report):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("napari_damm.evaluation.report.Report.summary_csv", full)
    with pytest.raises(OSError, match="No space left"):
        evaluate(SimulatedSource(1, 256, first_seed=10_000), model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_closing_it_early_leaves_nothing(model, tmp_path):
    events = api.evaluate(
        SimulatedSource(1, 256, first_seed=10_000),
        model,
        api.EvaluateConfig(**QUICK),
        tmp_path / "out",
    )
    next(e for e in events if isinstance(e, Preparing) and "gated" in e.what)
    events.close()
    assert list(tmp_path.iterdir()) == []

"""The interval of a result: from its record, its samples, or none."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from evaluations import window_model
from trusting import slide

from napari_damm import api
from napari_damm.engine import trusted
from napari_damm.engine.intervals import (
    NOT_CALIBRATED,
    error_width,
    fitted_on,
    interval_in_words,
    intervals_of,
)
from napari_damm.model_file import load_model
from napari_damm.store.layout import ResultLayout
from napari_damm.train.window_intervals import window_intervals
from napari_damm.trust import widths
from napari_damm.trust.intervals import FEWEST, KEY, Intervals
from napari_damm.trust.widths import NORMAL_90, Widths

WIDTHS = Widths((0.0, 1.0), (0.2, 0.5))
KNOWN = Intervals(WIDTHS, 1.2, 40, "sections", "noise-free field", "drawn sections")


def predicted(model, **settings):
    config = api.PredictConfig(device="cpu", batch_size=1, **settings)
    *_, finished = api.predict(slide(), model, config)
    return finished.result


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = window_model(tmp_path_factory.mktemp("m") / "m.safetensors", spread_factor=1.3)
    return load_model(path, "cpu")


@pytest.fixture(scope="module")
def result(model):
    return predicted(model, mode="draft", steps=1)


def test_an_uncalibrated_result_has_none(result):
    assert api.prediction_interval(result) is None
    assert fitted_on(result.record) == NOT_CALIBRATED


def test_of_an_expected_map_it_is_what_the_record_says(result):
    known = replace(result, record={**result.record, KEY: KNOWN.to_json()})
    found = api.prediction_interval(known)
    assert isinstance(found.low, da.Array)
    half = KNOWN.half_width(np.asarray(result.np))
    np.testing.assert_allclose(np.asarray(found.high), np.asarray(result.np) + half, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(found.low), np.asarray(result.np) - half, atol=1e-4)
    assert found.fitted_on == (
        "40 sections that the model had not learnt from, against the noise-free field"
    )


def test_of_windows_it_says_of_how_few_sections_and_that_others_differ(result):
    few = replace(KNOWN, unit="windows", fitted_on="12 windows of 256 px of 2 sections (a, b)")
    record = {**result.record, KEY: few.to_json(), "trust": {"interval_width": 0.1}}
    said = interval_in_words(record)
    assert said.endswith(
        "(from 12 windows of 256 px of 2 sections (a, b), against the noise-free field; of other "
        "sections less than 90 % may lie inside)"
    )


def test_of_samples_it_is_their_scaled_spread(model):
    drawn = predicted(model, mode="draft", steps=1, samples=2)
    found = api.prediction_interval(drawn)
    half = (np.asarray(found.high) - np.asarray(found.low)) / 2
    np.testing.assert_allclose(half, NORMAL_90 * np.asarray(drawn.np_std), atol=1e-5)
    said = "the spread of 2 samples, times 1.3"
    assert found.fitted_on == f"{said}, which was fitted with 8: of fewer it holds less"
    assert fitted_on({**drawn.record, "samples": 8}) == said.replace("2", "8")
    unscaled = replace(drawn, record={**drawn.record, "spread_factor": 1.0})
    assert api.prediction_interval(unscaled) is None


def test_a_damaged_record_is_refused(result):
    damaged = replace(result, record={**result.record, KEY: {"weights": [1]}})
    with pytest.raises(ValueError, match="damaged"):
        api.prediction_interval(damaged)


def test_the_record_of_a_job_keeps_what_the_model_says():
    model = SimpleNamespace(card={KEY: KNOWN.to_json()})
    assert Intervals.of_card(intervals_of(model, expected=True)) == KNOWN
    assert intervals_of(model, expected=False) == {}
    assert intervals_of(SimpleNamespace(card={}), expected=True) == {}


def test_of_samples_it_keeps_by_how_much_their_spread_of_a_measure_is_widened():
    model = SimpleNamespace(card={KEY: replace(KNOWN, samples={"l50": 1.4}).to_json()})
    kept = Intervals.of_card(intervals_of(model, expected=False, samples=True))
    assert kept is not None
    assert kept.samples == {"l50": 1.4}
    assert intervals_of(model, expected=False) == {}
    silent = SimpleNamespace(card={KEY: KNOWN.to_json()})
    assert intervals_of(silent, expected=False, samples=True) == {}


def test_the_line_after_a_run_says_how_wide_it_is_and_why():
    record = {"samples": 1, KEY: KNOWN.to_json(), "trust": {"interval_width": 0.2149}}
    assert interval_in_words(record) == (
        "90 %: 0.21 wide on average, where the map goes from 0 to 1 (from 40 sections that the "
        "model had not learnt from, against the noise-free field)"
    )
    record["trust"]["verdict"] = "do not use"
    assert interval_in_words(record).endswith("field); not for images like these")
    assert interval_in_words({"samples": 1}) == "not calibrated"
    of_before = interval_in_words({"samples": 1, KEY: KNOWN.to_json()})
    assert of_before.startswith("90 % (from 40 sections that")


class Windows:
    """What a validator knows of its windows."""

    def __init__(self, count, mode="expected"):
        rng = np.random.default_rng(0)
        self.truths = list(rng.random((count, 32, 32), np.float32))
        self.patches = [SimpleNamespace(field=k % 2) for k in range(count)]
        self.sampler = SimpleNamespace(sampling=SimpleNamespace(mode=mode))


def test_a_training_fits_them_to_its_validation_windows():
    windows = Windows(12)
    predicted = [truth + np.float32(0.1) for truth in windows.truths]
    said = window_intervals(windows, predicted)
    assert said[widths.KEY] is None
    found = Intervals.of_card(said)
    assert found.fitted_on == "12 validation windows of 2 sections"
    assert (found.count, found.unit, found.truth) == (12, "windows", "image as taken")
    # all are off by 0.1; of other sections one in ten by 1.38 times that (Student's t, 4 degrees)
    factor = np.exp(0.2 * np.sqrt(3 / 4 * (1 + 1 / 2)) * 1.533)
    np.testing.assert_allclose(found.half_width([0.2, 0.8]), 0.1 * factor, rtol=0.05)


@pytest.mark.parametrize(
    ("windows", "value"),
    [(Windows(12, "fast"), 0.5), (Windows(12), np.nan), (Windows(2), np.nan)],
)
def test_a_training_says_nothing_where_it_cannot_tell(windows, value):
    predicted = [np.full((32, 32), value, np.float32)] * len(windows.truths)
    assert window_intervals(windows, predicted) == {KEY: None, widths.KEY: None}


def test_of_too_few_windows_for_intervals_it_says_where_errors_are_large(result):
    windows = Windows(FEWEST - 1)
    predicted = [truth + np.float32(0.1) * (1 + 2 * (truth > 0.5)) for truth in windows.truths]
    said = window_intervals(windows, predicted)
    assert said[KEY] is None
    assert Widths.of_card(said).at([0.3, 0.9]) == pytest.approx([0.1, 0.3], abs=0.01)
    kept = intervals_of(SimpleNamespace(card=said), expected=True)
    assert intervals_of(SimpleNamespace(card=said), expected=False) == {}
    known = replace(result, record={**result.record, **kept})
    assert api.prediction_interval(known) is None
    assert fitted_on(known.record) == NOT_CALIBRATED
    ranked = np.asarray(error_width(known))
    np.testing.assert_allclose(ranked, Widths.of_card(said).at(np.asarray(result.np)), rtol=1e-3)
    calibrated = replace(known, record={**known.record, KEY: KNOWN.to_json()})
    np.testing.assert_allclose(error_width(calibrated), KNOWN.half_width(result.np), rtol=1e-3)


@pytest.mark.parametrize("damaged", [3, {"intensities": [0.1]}, {"weights": "x"}, []])
def test_damaged_errors_are_refused(result, damaged):
    with pytest.raises(ValueError, match="what the model says of its errors is damaged"):
        error_width(replace(result, record={**result.record, widths.KEY: damaged}))


def test_cells_are_as_wide_as_their_pixels_are_on_average():
    layout = ResultLayout((600, 700), 1.0, cells_origin=(5, 30), with_familiarity=True)
    rng = np.random.default_rng(0)
    values = da.from_array(rng.random((600, 700)), chunks=512)
    found = trusted._cell_means(values, layout)
    assert found.shape == layout.cells_shape
    assert found[0, 0] == pytest.approx(float(values[:27, :2].mean()))
    assert found[17, 3] == pytest.approx(float(values[17 * 32 - 5 : 18 * 32 - 5, 66:98].mean()))
    assert found[-1, -1] == pytest.approx(float(values[18 * 32 - 5 :, 22 * 32 - 30 :].mean()))


def test_cells_are_the_same_however_the_map_is_cut(monkeypatch):
    layout = ResultLayout((600, 700), 1.0, cells_origin=(5, 30), with_familiarity=True)
    rng = np.random.default_rng(0)
    values = da.from_array(rng.random((600, 700)), chunks=512)
    areas = SimpleNamespace(
        mask=lambda box: np.add.outer(np.arange(box.y0, box.y1), np.arange(box.x0, box.x1)) % 7 > 2
    )
    for given in (None, areas):
        known = trusted._cell_means(values, layout, given)
        for down, across, threads in ((1, 1, 1), (2, 3, 4)):
            monkeypatch.setattr(trusted, "CELLS_DOWN", down)
            monkeypatch.setattr(trusted, "CELLS_ACROSS", across)
            monkeypatch.setattr(trusted, "MOST_THREADS", threads)
            assert np.array_equal(trusted._cell_means(values, layout, given), known)

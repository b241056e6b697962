"""What a prediction will take, said before it begins."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QMessageBox

from napari_damm.widgets.predict import forecast
from napari_damm.widgets.predict.destination import Unfinished
from napari_damm.widgets.predict.forecast import (
    UNKNOWN,
    keep_timing,
    seconds_per_window,
    working_memory,
)


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    monkeypatch.setattr(forecast, "devices_here", lambda: forecast.ALWAYS)


SETTINGS = {"mode": "fast", "samples": 1, "device": "cpu"}


def test_windows_are_said_as_soon_as_the_inputs_are_complete(open_widget):
    driver = open_widget(empty=True)
    assert driver.forecast.text() == ""
    driver.add_stains()  # 896 px of 1 um, for a model of 2 um: 448 px, two windows each way
    assert driver.forecast.text() == "roughly 1 s (up to 4 windows)"


def test_on_a_graphics_card_nothing_is_guessed(open_widget, monkeypatch):
    monkeypatch.setattr(forecast, "devices_here", lambda: (*forecast.ALWAYS, "cuda"))
    assert open_widget().forecast.text() == f"{UNKNOWN} (up to 4 windows)"


def test_a_region_takes_less_and_a_path_takes_disk(open_widget, tmp_path):
    driver = open_widget()
    corners = [[9.5, 9.5], [9.5, 99.5], [99.5, 99.5], [99.5, 9.5]]
    driver.viewer.add_shapes([corners], shape_type="rectangle", name="area", units="um")
    driver.region.setCurrentText("area")
    assert driver.forecast.text() == "roughly 1 s (up to 1 window)"
    driver.out.setText(str(tmp_path / "result"))
    assert driver.forecast.text() == "roughly 1 s, up to 1 MB on disk (up to 1 window)"


def test_the_time_is_that_of_the_last_run_of_this_kind(open_widget, fake_predict):
    driver = open_widget()
    driver.run()  # 1.5 s for four windows
    driver.viewer.layers["vessels"].name = "CD31"
    assert driver.forecast.text() == "about 2 s (up to 4 windows)"
    driver.mode.setCurrentText("fast")
    assert driver.forecast.text() == "roughly 4 s (up to 4 windows)"


def test_timings_are_kept_by_kind_and_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast, "MOST_KEPT", 2)
    for k, mode in enumerate(("draft", "fast", "expected")):
        keep_timing(tmp_path, {**SETTINGS, "mode": mode}, 10.0 * (k + 1), 10)
    assert seconds_per_window(tmp_path, {**SETTINGS, "mode": "draft"}) is None
    assert seconds_per_window(tmp_path, SETTINGS) == 2.0
    assert seconds_per_window(tmp_path, {**SETTINGS, "samples": 4}) is None


def test_the_memory_of_the_last_run_is_said(open_widget, monkeypatch):
    driver = open_widget()
    monkeypatch.setattr(forecast, "working_memory", lambda *_: 1.5e9)
    driver.viewer.layers["vessels"].name = "CD31"
    assert driver.forecast.text() == "roughly 1 s, 1.5 GB of memory (up to 4 windows)"


def test_memory_is_kept_beside_the_time(tmp_path):
    keep_timing(tmp_path, SETTINGS, 5.0, 10, 2**31)
    assert working_memory(tmp_path, SETTINGS) == 2**31
    keep_timing(tmp_path, SETTINGS, 5.0, 10)
    assert working_memory(tmp_path, SETTINGS) is None
    assert seconds_per_window(tmp_path, SETTINGS) == 0.5


@pytest.mark.parametrize("content", ["", "[1]", '{"x": "y"}', "{" * 100])
def test_a_damaged_cache_is_no_cache(tmp_path, content):
    file = forecast.timings_file()
    file.parent.mkdir()
    file.write_text(content)
    assert seconds_per_window(tmp_path, SETTINGS) is None
    keep_timing(tmp_path, SETTINGS, 5.0, 10)
    assert math.isclose(seconds_per_window(tmp_path, SETTINGS), 0.5)


def test_a_run_of_hours_asks_first(open_widget, fake_predict, monkeypatch):
    asked = []
    answers = [QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes]

    def question(_, __, text):
        asked.append(text)
        return answers[len(asked) - 1]

    monkeypatch.setattr(QMessageBox, "question", question)
    driver = open_widget()
    driver.run()
    (timing,) = forecast._kept()
    forecast.timings_file().write_text(json.dumps({timing: 2000}))
    driver.click("predict")
    assert len(fake_predict.calls) == 1
    assert asked[0].startswith("This may take hours: about 2 h 13 min (up to 4 windows), with")
    driver.run()
    assert len(fake_predict.calls) == 2


@pytest.mark.parametrize(
    ("chosen", "hours"),
    [
        ({"mode": "expected"}, False),
        ({"mode": "reference"}, True),
        ({"mode": "expected", "samples": 64}, True),
    ],
)
def test_hours_are_asked_about_before_a_first_run_as_well(
    open_widget, fake_predict, monkeypatch, chosen, hours
):
    """A section of 4 x 4 mm: 121 windows of 2 um pixels, of which nothing was timed yet."""
    asked = []
    monkeypatch.setattr(QMessageBox, "question", lambda *words: asked.append(words[-1]))
    driver = open_widget(empty=True)
    for name in ("vessels", "nuclei"):
        place = {"scale": (10, 10), "units": "um"}
        driver.viewer.add_image(np.eye(400, dtype=np.float32), name=name, **place)
    driver.widget._form.settings.set(chosen)
    if hours:
        driver.click("predict")  # and nobody said yes
    else:
        driver.run()
    assert len(asked) == hours
    assert len(fake_predict.calls) == (not hours)
    if hours:
        assert "(up to 121 windows)" in asked[0]
        assert asked[0].startswith("This may take hours: roughly ")


def test_what_is_resumed_takes_what_its_region_takes(open_widget):
    driver = open_widget()
    request = driver.widget._request()
    one = "roughly 1 s (up to 1 window)"
    begun = Unfinished({"roi": [0, 0, 100, 100]}, 64, 0, 1)
    assert forecast.forecast(request, 2.0)[0] == "roughly 1 s (up to 4 windows)"
    assert forecast.forecast(replace(request, begun=begun), 2.0)[0] == one
    outline = [[[[0, 0], [0, 90], [90, 90]]]]
    begun = Unfinished({"areas": {"name": "a", "areas": outline}}, 64, 0, 1)
    assert forecast.forecast(replace(request, begun=begun), 2.0)[0] == one

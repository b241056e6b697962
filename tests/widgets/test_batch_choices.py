"""The window for many sections: models that come later, channels, and what failed at the end."""

from __future__ import annotations

import pytest
from driver import Driver
from qtpy.QtCore import Qt

from napari_damm.model_file import ModelInfo
from napari_damm.util.advice import Advice
from napari_damm.widgets.model_hub import model_hub
from napari_damm.widgets.predict.batch_forecast import Size
from napari_damm.widgets.predict.batch_queue import BatchQueue

NAMES = ("a", "b", "c", "d", "e", "f", "g")


@pytest.fixture
def opened(monkeypatch):
    """Arguments with which sections were opened; all can be."""
    calls = []

    def open_section(section):
        calls.append(section.options)
        return section

    monkeypatch.setattr("napari_damm.engine.batch_sections.BatchSection.open", open_section)
    monkeypatch.setattr("napari_damm.api.load_model", lambda *_: "a model")
    size = Size((896, 896), 1.0)
    monkeypatch.setattr("napari_damm.widgets.predict.batch_forecast.size_of", lambda _: size)
    return calls


@pytest.fixture
def queue(open_widget, fake_predict, opened, tmp_path):
    """The window with seven sections."""
    driver = open_widget()
    driver.click("batch")
    window = driver.widget.findChild(BatchQueue)
    for name in NAMES:
        (tmp_path / f"{name}.tif").write_bytes(b"")
    window.add([tmp_path / f"{name}.tif" for name in NAMES])
    found = Driver(driver.viewer, driver.qtbot, window)
    found.batch_folder.setText(str(tmp_path / "out"))
    return found


def run(queue) -> str:
    with queue.qtbot.waitSignal(queue.widget.ended, timeout=60_000):
        queue.click("batch_start")
    return queue.widget._controls.status.text()


def models(queue) -> list[tuple[str, bool]]:
    box = queue.batch_models
    items = [box.item(row) for row in range(box.count())]
    return [(item.text(), item.checkState() == Qt.CheckState.Checked) for item in items]


@pytest.fixture
def two_models(monkeypatch, tmp_path):
    """Have a second model be found from now on."""

    def add() -> None:
        infos = [
            ModelInfo(name, tmp_path / f"{name}.safetensors", {"modalities": ["a"] * 3}, True)
            for name in ("mine", "tiny")
        ]
        monkeypatch.setattr("napari_damm.model_file.list_models", lambda: infos)
        monkeypatch.setattr("napari_damm.model_file.summary", lambda _: "a · b · c")

    return add


def test_a_model_that_is_added_later_can_be_ticked_and_ticks_stay(queue, two_models):
    queue.batch_models.item(0).setCheckState(Qt.CheckState.Checked)
    assert models(queue) == [("tiny", True)]
    two_models()
    model_hub().model_added.emit(queue.viewer, "mine")
    assert models(queue) == [("mine", False), ("tiny", True)]


def test_models_are_listed_anew_when_the_window_is_shown_again(queue, two_models):
    queue.widget.hide()
    two_models()
    queue.widget.show()
    assert [name for name, _ in models(queue)] == ["mine", "tiny"]


def test_every_section_is_predicted_with_both_models(queue, two_models, fake_predict):
    two_models()
    model_hub().model_added.emit(queue.viewer, "mine")
    for row in (0, 1):
        queue.batch_models.item(row).setCheckState(Qt.CheckState.Checked)
    assert queue.sections.count() == 2 * len(NAMES)
    assert run(queue) == "14 of 14 sections done"
    assert {call[3].name for call in fake_predict.calls} == {
        f"{name}.{model}.ome.zarr" for name in NAMES for model in ("mine", "tiny")
    }


def test_a_ticked_model_that_is_gone_is_no_part_of_the_list_any_more(queue, monkeypatch):
    queue.batch_models.item(0).setCheckState(Qt.CheckState.Checked)
    monkeypatch.setattr(
        "napari_damm.widgets.predict.batch_ways.list_cards", lambda: (_ for _ in ()).throw(OSError)
    )
    queue.widget.hide()
    queue.widget.show()
    assert models(queue) == []
    assert queue.sections.count() == len(NAMES)


def test_channels_hold_for_every_file(queue, opened):
    queue.batch_vessels_channel.setText(" CD31 ")
    queue.batch_nuclei_channel.setText("2")
    run(queue)
    assert opened == [{"vessels_channel": "CD31", "nuclei_channel": 2}] * len(NAMES)


def test_more_digits_than_a_number_has_are_a_name_too(queue, opened):
    queue.batch_nuclei_channel.setText("9" * 5000)
    run(queue)
    assert opened == [{"nuclei_channel": "9" * 5000}] * len(NAMES)


def test_nothing_entered_leaves_channels_to_their_names(queue, opened):
    run(queue)
    assert opened == [{}] * len(NAMES)


def test_what_failed_is_named_at_the_end_and_the_first_is_selected(queue, monkeypatch):
    def refuse(section):
        if section.name != "a.tif":
            raise ValueError(Advice("no vessels", "name them", parameter="vessels_channel"))
        return section

    monkeypatch.setattr("napari_damm.engine.batch_sections.BatchSection.open", refuse)
    said = run(queue)
    assert said == "1 of 7 sections done, 6 failed: b.tif, c.tif, d.tif, e.tif, f.tif and 1 more"
    chosen = queue.sections.currentItem().text()
    assert chosen.startswith("b.tif: failed: ")
    assert "in Channels" in chosen


def test_what_counts_where_nothing_is_ticked_is_said(queue):
    note = queue.batch_ways_note
    assert note.text() == (
        "No mode is ticked: that of Predict counts (expected). "
        "No model is ticked: that of Predict counts (tiny)"
    )
    queue.batch_modes.item(0).setCheckState(Qt.CheckState.Checked)
    assert note.text() == "No model is ticked: that of Predict counts (tiny)"
    queue.batch_models.item(0).setCheckState(Qt.CheckState.Checked)
    assert note.text() == ""


def test_a_long_reason_is_wrapped(queue):
    queue.widget.resize(320, 800)
    queue.widget.show()
    before = queue.sections.visualItemRect(queue.sections.item(0))
    queue.widget.show_state("a.tif", "failed: " + "the file is damaged, copy it again; " * 6)
    after = queue.sections.visualItemRect(queue.sections.item(0))
    assert after.height() > 2 * before.height()
    assert after.width() <= queue.sections.viewport().width()

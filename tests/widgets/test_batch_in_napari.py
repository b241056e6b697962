"""Many sections in a real napari with the real engine: unattended, and opened by a double click."""

from __future__ import annotations

import pytest
from driver import LAYERS, Driver, job_threads
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_damm import api
from napari_damm.simulate import simulate_slide, write_section


@pytest.fixture
def queue(dock_widget, make_napari_viewer, engine_model, monkeypatch, tmp_path):
    """The window over a folder of three sections, the second of which is no picture."""
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [engine_model])
    (tmp_path / "in").mkdir()
    section = simulate_slide(256, 10_000)
    for name in ("a", "b", "c"):
        write_section(section, tmp_path / "in" / f"{name}.ome.tif")
    (tmp_path / "in" / "b.ome.tif").write_bytes(b"II*\0 broken")
    driver = dock_widget(viewer=make_napari_viewer(show=True))
    driver.mode.setCurrentText("draft")
    driver.click("batch")
    queue = Driver(driver.viewer, driver.qtbot, driver.widget._queue)
    folders = iter((str(tmp_path / "in"), str(tmp_path / "results")))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: next(folders))
    queue.click("add_folder")
    queue.click("batch_browse")
    return queue


def rows(queue) -> list[str]:
    return [queue.sections.item(row).text() for row in range(queue.sections.count())]


def double_click(queue, row: int) -> None:
    at = queue.sections.visualItemRect(queue.sections.item(row)).center()
    for click in (queue.qtbot.mouseClick, queue.qtbot.mouseDClick):
        click(queue.sections.viewport(), Qt.MouseButton.LeftButton, pos=at)


def test_a_broken_section_does_not_stop_the_others_and_a_double_click_opens(queue, tmp_path):
    assert rows(queue) == ["a.ome.tif: waiting", "b.ome.tif: waiting", "c.ome.tif: waiting"]
    queue.wait_for(lambda: "for 2 of 3 sections" in queue.batch_forecast.text())
    assert "the size of 1 is not known" in queue.batch_forecast.text()
    status = queue.run("batch_start")
    assert status == "2 of 3 sections done, 1 failed: b.ome.tif"
    assert rows(queue)[0::2] == ["a.ome.tif: done", "c.ome.tif: done"]
    assert "b.ome.tif: failed: " in rows(queue)[1]
    assert queue.sections.currentRow() == 1
    assert not job_threads()
    for name in ("a", "c"):
        assert api.open_result(tmp_path / "results" / f"{name}.ome.zarr").complete
    double_click(queue, 1)
    assert queue.status.text() == "b.ome.zarr is not there yet"
    double_click(queue, 2)
    assert [layer.name for layer in queue.viewer.layers] == LAYERS
    source = queue.viewer.layers[0].source.path
    assert str(source).endswith("c.ome.zarr")
    for which in ("a", "a, 2"):
        double_click(queue, 0)
        names = [layer.name for layer in queue.viewer.layers]
        assert names[-3:] == [f"{name} ({which})" for name in LAYERS]
    maps = [layer for layer in queue.viewer.layers if layer.name.startswith("NP")]
    assert [layer.visible for layer in maps] == [False, False, True]


def test_ticked_modes_make_a_result_each_and_what_is_done_is_not_done_again(queue, tmp_path):
    queue.click("clear")
    queue.widget.add([tmp_path / "in" / "a.ome.tif"])
    for row in (1, 2):  # fast and draft
        queue.batch_modes.item(row).setCheckState(Qt.CheckState.Checked)
    assert queue.run("batch_start") == "2 of 2 sections done"
    for mode in ("fast", "draft"):
        result = api.open_result(tmp_path / "results" / f"a.{mode}.ome.zarr")
        assert result.record["mode"] == mode
    finished = result.record["finished"]
    queue.batch_modes.item(1).setCheckState(Qt.CheckState.Unchecked)
    queue.batch_modes.item(1).setCheckState(Qt.CheckState.Checked)
    assert [row.split(": ")[1] for row in rows(queue)] == ["done before", "done before"]
    assert queue.batch_forecast.text() == ""
    assert queue.run("batch_start") == "2 of 2 sections done"
    again = api.open_result(tmp_path / "results" / "a.draft.ome.zarr")
    assert again.record["finished"] == finished

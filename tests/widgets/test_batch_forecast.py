"""What the window for many sections says that a batch will take, before it begins."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from driver import Driver
from qtpy.QtCore import Qt

from napari_damm.store import ResultLayout, ResultStore, ShardStatus
from napari_damm.widgets.predict import batch_forecast, forecast
from napari_damm.widgets.predict.batch_forecast import Size
from napari_damm.widgets.predict.batch_queue import BatchQueue

THREE = "roughly 2 s, up to 2 MB on disk for 3 sections (up to 12 windows)"


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    monkeypatch.setattr(forecast, "devices_here", lambda: forecast.ALWAYS)


@pytest.fixture
def queue(open_widget, fake_predict, tmp_path, monkeypatch):
    """The window over three sections of 896 px of 1 um, for a model of 2 um."""
    monkeypatch.setattr("napari_damm.api.load_model", lambda *_: "a model")
    monkeypatch.setattr(
        "napari_damm.engine.batch_sections.BatchSection.open", lambda section: section
    )
    for name in "abc":
        write(tmp_path / f"{name}.tif")
    driver = open_widget()
    driver.click("batch")
    found = Driver(driver.viewer, driver.qtbot, driver.widget.findChild(BatchQueue))
    found.predict_widget = driver
    found.widget.add([tmp_path / f"{name}.tif" for name in "abc"])
    found.batch_pixel_size.setValue(1.0)
    found.batch_folder.setText(str(tmp_path / "out"))
    return found


def write(path):
    tifffile.imwrite(path, np.zeros((2, 896, 896), np.uint8), metadata={"axes": "CYX"})


def said(queue, text: str) -> None:
    """Wait until the forecast is this one."""

    def check() -> None:
        assert queue.batch_forecast.text() == text

    queue.qtbot.waitUntil(check, timeout=10_000)
    assert queue.batch_forecast.isVisible()


def test_windows_and_time_of_all_sections_are_added_up(queue):
    said(queue, THREE)
    queue.predict_widget.mode.setCurrentText("fast")
    said(queue, "roughly 12 s, up to 2 MB on disk for 3 sections (up to 12 windows)")
    queue.batch_pixel_size.setValue(2.0)  # as many pixels of the model: 5 x 5 windows each
    said(queue, "roughly 75 s, up to 6 MB on disk for 3 sections (up to 75 windows)")


def test_ticked_modes_count_each_with_its_own_time(queue):
    for row in (1, 2):  # fast and draft
        queue.batch_modes.item(row).setCheckState(Qt.CheckState.Checked)
    said(queue, "roughly 19 s, up to 3 MB on disk for 6 sections (up to 24 windows)")
    queue.batch_modes.item(1).setCheckState(Qt.CheckState.Unchecked)
    said(queue, "roughly 7 s, up to 2 MB on disk for 3 sections (up to 12 windows)")


def test_a_batch_that_ran_tells_the_next_what_it_takes(queue):
    with queue.qtbot.waitSignal(queue.widget.ended, timeout=60_000):
        queue.click("batch_start")
    said(queue, "about 4 s, up to 2 MB on disk for 3 sections (up to 12 windows)")


def test_while_it_runs_there_is_no_forecast(queue, fake_predict):
    said(queue, THREE)
    fake_predict.pause_after = 2
    queue.click("batch_start")
    queue.wait_for(lambda: "%" in queue.sections.item(0).text())
    assert not queue.batch_forecast.isVisible()
    with queue.qtbot.waitSignal(queue.widget.ended):
        queue.click("batch_cancel")
    assert queue.batch_forecast.isVisible()


def test_what_is_done_takes_nothing_and_what_is_begun_the_rest(queue, tmp_path):
    (tmp_path / "out").mkdir()
    layout = ResultLayout((100, 100), 2.0, shard=64)
    with ResultStore.create(tmp_path / "out" / "a.ome.zarr", layout, {"finished": None}) as store:
        for position in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            store.mark(*position, ShardStatus.BACKGROUND)
        store.finish({"finished": "now"})
    with ResultStore.create(tmp_path / "out" / "b.ome.zarr", layout, {"finished": None}) as store:
        store.mark(0, 0, ShardStatus.BACKGROUND)
        store.mark(0, 1, ShardStatus.BACKGROUND)
    queue.batch_folder.setText(str(tmp_path / "out") + "/")  # looks there anew
    said(queue, "roughly 1 s, up to 1 MB on disk for 2 of 3 sections (up to 6 windows)")


def test_what_cannot_be_read_is_said_and_the_rest_counts(queue, tmp_path):
    (tmp_path / "d.tif").write_bytes(b"II*\0 broken")
    queue.widget.add([tmp_path / "d.tif"])
    known = "roughly 2 s, up to 2 MB on disk for 3 of 4 sections (up to 12 windows"
    said(queue, f"{known}; the size of 1 is not known)")


def test_without_any_pixel_size_nothing_is_said(queue):
    queue.batch_pixel_size.setValue(0.0)
    assert queue.batch_forecast.text() == ""


def test_a_file_is_looked_into_once(queue, tmp_path, monkeypatch):
    looked = []

    def size_of(path):
        looked.append(path.name)
        return Size((896, 896), 1.0)

    monkeypatch.setattr(batch_forecast, "size_of", size_of)
    said(queue, THREE)
    write(tmp_path / "d.tif")
    for _ in range(2):
        queue.widget.add([tmp_path / "d.tif"])
        said(queue, "roughly 3 s, up to 2 MB on disk for 4 sections (up to 16 windows)")
    assert looked == ["d.tif"]

"""The window for many sections: pairs before the start, a state for each, results by a click."""

from __future__ import annotations

import threading

import pytest
from driver import job_threads
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

from napari_damm.widgets.predict.batch_forecast import Size
from napari_damm.widgets.predict.batch_queue import BatchQueue


@pytest.fixture
def files(tmp_path):
    names = ("m1_CD31.tif", "m1_DAPI.tif", "m2_CD31.tif", "m2_DAPI.tif")
    for name in names:
        (tmp_path / name).write_bytes(b"")
    return [tmp_path / name for name in names]


@pytest.fixture
def queue(open_widget, fake_predict, files, monkeypatch):
    """The window over a made-up engine that cannot open m1."""

    def open_section(section):
        if section.name.startswith("m1"):
            raise ValueError("m1 is damaged: copy it again")
        return section

    monkeypatch.setattr("napari_damm.engine.batch_sections.BatchSection.open", open_section)
    monkeypatch.setattr("napari_damm.api.load_model", lambda *_: "a model")
    size = Size((896, 896), 1.0)
    monkeypatch.setattr("napari_damm.widgets.predict.batch_forecast.size_of", lambda _: size)
    driver = open_widget()
    driver.click("batch")
    driver.queue = driver.widget.findChild(BatchQueue)
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (list(map(str, files)), ""))
    driver.click("add_files")
    return driver


def states(driver) -> list[str]:
    return [driver.sections.item(row).text() for row in range(driver.sections.count())]


def run(driver) -> str:
    with driver.qtbot.waitSignal(driver.queue.ended, timeout=60_000):
        driver.click("batch_start")
    return driver.queue._controls.status.text()


def test_pairs_are_shown_before_the_start(queue, tmp_path):
    assert len(states(queue)) == 4
    queue.batch_rule.setText("CD31=DAPI")
    assert states(queue) == [
        "m1_CD31.tif + m1_DAPI.tif: waiting",
        "m2_CD31.tif + m2_DAPI.tif: waiting",
    ]
    assert not queue.batch_start.isEnabled()
    queue.batch_folder.setText(str(tmp_path / "out"))
    assert queue.batch_start.isEnabled()
    queue.batch_rule.setText("CD31=FITC")
    assert "m1_FITC.tif is missing" in queue.queue._controls.reason.text()
    assert not queue.batch_start.isEnabled()


def test_a_section_that_fails_does_not_stop_the_others(queue, fake_predict, tmp_path):
    queue.batch_rule.setText("CD31=DAPI")
    queue.batch_folder.setText(str(tmp_path / "out"))
    assert run(queue) == "1 of 2 sections done, 1 failed: m1_CD31.tif"
    assert states(queue) == [
        "m1_CD31.tif + m1_DAPI.tif: failed: m1 is damaged: copy it again",
        "m2_CD31.tif + m2_DAPI.tif: done",
    ]
    assert queue.batch_start.isEnabled()
    assert fake_predict.calls[0][3] == tmp_path / "out" / "m2_CD31.ome.zarr"


def test_why_a_section_failed_is_still_known_in_a_later_session(queue, tmp_path):
    queue.batch_rule.setText("CD31=DAPI")
    queue.batch_folder.setText(str(tmp_path / "out"))
    run(queue)
    queue.click("clear")
    queue.click("add_files")
    assert states(queue)[0].endswith(
        "failed before (m1_CD31.tif: m1 is damaged: copy it again), Start tries again"
    )


def test_what_was_done_before_is_listed_as_such(queue, files, tmp_path):
    from napari_damm.store import ResultLayout, ResultStore

    out = tmp_path / "out"
    out.mkdir()
    layout = ResultLayout((100, 100), 2.0, shard=64)
    with ResultStore.create(out / "m1_CD31.ome.zarr", layout, {"finished": None}):
        pass
    with ResultStore.create(out / "m2_CD31.ome.zarr", layout, {}) as store:
        store.finish({"finished": "now"})
    queue.batch_rule.setText("CD31=DAPI")
    queue.batch_folder.setText(str(out))
    begun, done = states(queue)
    assert begun.endswith("0 of 4 parts are done, Start goes on")
    assert "done" in done


def test_ticked_modes_make_a_result_each(queue, fake_predict, tmp_path):
    queue.batch_rule.setText("CD31=DAPI")
    queue.batch_folder.setText(str(tmp_path / "out"))
    for row, name in ((1, "fast"), (2, "draft")):
        assert queue.batch_modes.item(row).text() == name
        queue.batch_modes.item(row).setCheckState(Qt.CheckState.Checked)
    assert states(queue)[1] == "m2_CD31.tif (fast) + m2_DAPI.tif: waiting"
    failed = "m1_CD31.tif (fast), m1_CD31.tif (draft)"
    assert run(queue) == f"2 of 4 sections done, 2 failed: {failed}"
    done = [(call[2].mode, call[3].name) for call in fake_predict.calls]
    assert done == [("fast", "m2_CD31.fast.ome.zarr"), ("draft", "m2_CD31.draft.ome.zarr")]


def test_a_batch_can_be_cancelled(queue, fake_predict, tmp_path):
    fake_predict.pause_after = 2
    queue.batch_rule.setText("CD31=DAPI")
    queue.batch_folder.setText(str(tmp_path / "out"))
    queue.click("batch_start")
    queue.wait_for(lambda: "%" in states(queue)[1])
    with queue.qtbot.waitSignal(queue.queue.ended):
        queue.click("batch_cancel")
    assert states(queue)[1].endswith("cancelled, Start goes on")
    assert fake_predict.closed.is_set()
    assert not job_threads()


def test_closing_the_window_stops_the_batch(queue, fake_predict, tmp_path):
    fake_predict.pause_after = 2
    queue.batch_folder.setText(str(tmp_path / "out"))
    queue.batch_rule.setText("CD31=DAPI")
    queue.click("batch_start")
    queue.wait_for(lambda: "%" in states(queue)[1])
    queue.queue.close()
    assert fake_predict.closed.wait(10)
    assert not [t for t in threading.enumerate() if t.name == "napari-damm job"]


def test_a_double_click_opens_a_result(queue, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(type(queue.viewer), "open", lambda _, path, plugin: opened.append(path))
    queue.batch_folder.setText(str(tmp_path / "out"))
    queue.queue._open(queue.sections.item(0))
    assert opened == []
    assert "is not there yet" in queue.queue._controls.status.text()
    store = tmp_path / "out" / "m1_CD31.ome.zarr"
    store.mkdir(parents=True)
    queue.queue._open(queue.sections.item(0))
    assert opened == [str(store)]


def test_files_that_are_added_while_it_runs_are_listed_afterwards(queue, fake_predict, tmp_path):
    fake_predict.pause_after = 2
    queue.batch_rule.setText("CD31=DAPI")
    queue.batch_folder.setText(str(tmp_path / "out"))
    queue.click("batch_start")
    queue.wait_for(lambda: "%" in states(queue)[1])
    for name in ("m3_CD31.tif", "m3_DAPI.tif"):
        (tmp_path / name).write_bytes(b"")
    queue.queue.add([tmp_path / "m3_CD31.tif", tmp_path / "m3_DAPI.tif"])
    with queue.qtbot.waitSignal(queue.queue.ended):
        queue.click("batch_cancel")
    assert [text.partition(" + ")[0] for text in states(queue)] == [
        "m1_CD31.tif",
        "m2_CD31.tif",
        "m3_CD31.tif",
    ]

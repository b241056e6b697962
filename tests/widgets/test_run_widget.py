"""A widget that is closed while it runs something: the run ends, and that is said."""

from __future__ import annotations

import pytest
from driver import LAYERS, dock_of, job_threads, results
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QWidget

PARTIAL = [f"{name} (partial, 25 %)" for name in LAYERS]


@pytest.fixture
def said():
    """Collect what napari says."""
    messages: list[str] = []

    def note(notification) -> None:
        messages.append(str(notification.message))

    notification_manager.notification_ready.connect(note)
    yield messages
    notification_manager.notification_ready.disconnect(note)


def begin(driver, fake_predict) -> None:
    fake_predict.pause_after = 1
    driver.add_stains()
    driver.click("predict")
    driver.wait_for(lambda: "1 of 4 windows" in driver.progress.text())


def test_closing_the_dock_mid_run_says_so_and_marks_the_maps(dock_widget, fake_predict, said):
    driver = dock_widget()
    begin(driver, fake_predict)
    driver.viewer.window.remove_dock_widget(driver.widget)
    assert fake_predict.closed.is_set()
    assert results(driver) == PARTIAL
    record = driver.viewer.layers[PARTIAL[0]].metadata["napari_damm"]
    assert (record["state"], record["windows_done"]) == ("cancelled", "1 of 4 windows")
    assert said == [
        "The prediction was stopped, because its widget was closed. "
        "Cancelled after 1 of 4 windows, which stay, marked as partial"
    ]


def test_closing_the_dock_by_its_button_does_the_same(dock_widget, fake_predict, said):
    driver = dock_widget()
    begin(driver, fake_predict)
    dock_of(driver.widget, "destroyOnClose").destroyOnClose()
    assert fake_predict.closed.is_set()
    assert results(driver) == PARTIAL
    assert len(said) == 1


def test_closing_the_viewer_mid_run_stops_the_thread(dock_widget, fake_predict):
    driver = dock_widget()
    begin(driver, fake_predict)
    driver.viewer.close()
    driver.wait_for(fake_predict.closed.is_set)
    driver.wait_for(lambda: not job_threads())


def test_hiding_the_dock_or_moving_it_leaves_the_run_alone(dock_widget, fake_predict, said):
    driver = dock_widget()
    begin(driver, fake_predict)
    dock = dock_of(driver.widget, "setFloating")
    dock.setFloating(True)
    dock.hide()
    assert not fake_predict.closed.is_set()
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_predict.resume.set()
    assert said == []
    assert isinstance(dock, QWidget)


def test_closing_a_training_says_what_is_left(dock_widget, fake_train, said):
    driver = dock_widget("Fine-tune model")
    driver.add_images("vessels", "nuclei", "nanoparticles")
    fake_train.pause_after = 30
    driver.click("start")
    driver.wait_for(lambda: "epoch 3" in driver.progress.text())
    driver.viewer.window.remove_dock_widget(driver.widget)
    assert fake_train.closed.is_set()
    (message,) = said
    assert message.startswith("The training was stopped, because its widget was closed.")
    assert message.endswith("Resume continues")

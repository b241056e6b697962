"""How a training in the widget ends: errors, warnings, stops, and closing on the way."""

from __future__ import annotations

import pytest
from driver import errors_mid_run, job_threads, results
from qtpy.QtCore import QPoint
from trainer import start_and_pause

from napari_damm.events import Notice, TrainStep


@errors_mid_run
def test_whatever_is_raised_mid_run_ends_as_a_message(open_trainer, fake_train, error, words):
    fake_train.pause_after, fake_train.error = 30, error
    fake_train.resume.set()
    driver = open_trainer()
    status = driver.run("start")
    assert words in status
    assert "ready in Predict as 'my model'" in status
    assert driver.resume.isEnabled()
    assert not driver.stop.isEnabled()
    assert not job_threads()


@pytest.mark.parametrize(
    "error", [ValueError("too few patches: add images"), OSError("no such folder"), KeyError("x")]
)
def test_an_error_of_the_call_itself_ends_as_a_message(open_trainer, fake_train, error):
    fake_train.error_at_call = error
    driver = open_trainer()
    status = driver.run("start")
    assert str(error) in status
    assert "Resume" not in status
    assert driver.start.isEnabled()
    assert results(driver) == []


@pytest.mark.parametrize(
    "broken",
    [
        "napari_damm.widgets.train.live_training.ValidationLayers.show",
        "napari_damm.widgets.train.learning_curves.LearningCurves.begin",
        "napari_damm.widgets.train.learning_curves.LearningCurves.draw",
    ],
)
def test_an_error_while_showing_ends_as_a_message(open_trainer, fake_train, monkeypatch, broken):
    def refuse(*_):
        raise RuntimeError("no canvas")

    monkeypatch.setattr(broken, refuse)
    driver = open_trainer()
    fake_train.pause_after = 10
    assert "no canvas" in driver.run("start")
    assert not job_threads()
    assert driver.resume.isEnabled()


def test_a_model_that_cannot_be_listed_is_said(open_trainer, fake_train, monkeypatch):
    def refuse(*_, **__):
        raise OSError("the models' folder is read-only")

    monkeypatch.setattr("napari_damm.model_file.import_model", refuse)
    assert "read-only" in open_trainer().run("start")


def test_a_model_no_better_than_its_base_is_said(open_trainer, fake_train):
    fake_train.gain = -0.1
    status = open_trainer().run("start")
    assert "not better than the base model, SSIM 0.400 → 0.300" in status


def test_warnings_are_told_to_the_end(open_trainer, fake_train, monkeypatch):
    def fine_tune(*arguments, **options):
        for event in fake_train(*arguments, **options):
            yield event
            if isinstance(event, TrainStep) and event.step == 3:
                yield Notice("the batch was halved", "warning")

    monkeypatch.setattr("napari_damm.api.fine_tune", fine_tune)
    assert "the batch was halved" in open_trainer().run("start")


def test_a_training_that_just_ends_is_no_success(open_trainer, own_folders, monkeypatch):
    monkeypatch.setattr("napari_damm.api.fine_tune", lambda *_, **__: iter(()))
    driver = open_trainer()
    assert "without a model" in driver.run("start")
    assert driver.start.isEnabled()


def test_a_region_goes_along(open_trainer, fake_train):
    driver = open_trainer()
    corners = [[99.5, 199.5], [99.5, 399.5], [299.5, 399.5], [299.5, 199.5]]
    driver.viewer.add_shapes([corners], shape_type="rectangle", name="area", units="um")
    driver.region.setCurrentText("area")
    driver.run("start")
    (source,), *_ = fake_train.calls[0]
    assert source.region.origin == (99.5, 199.5)  # its first pixel's corner
    assert source.region.mask.shape == (200, 200)
    assert source.region.mask.all()


def test_a_finished_training_is_lengthened(open_trainer, fake_train):
    driver = open_trainer()
    driver.minutes.setValue(2)
    driver.run("start")
    assert not driver.resume.isEnabled()
    driver.name.setText("my model")
    assert "'my model' was trained for 2 min: Resume trains it longer" in driver.reason.text()
    driver.minutes.setValue(3)
    assert "Done in" in driver.run("resume")
    assert fake_train.options[-1] == {"resume": True}
    assert fake_train.calls[-1][2].minutes == 5
    driver.name.setText("my model")
    driver.epochs.setValue(7)
    assert driver.resume.toolTip() == "'my model' was trained by minutes: choose Minutes to go on"


def test_a_target_of_a_corner_is_told_before_the_start(open_trainer):
    driver = open_trainer()
    assert driver.coverage.text() == ""
    driver.viewer.layers["nanoparticles"].translate = (448, 448)
    assert driver.coverage.text().startswith("Nanoparticles cover 25 % of the vessels image")
    assert driver.start.isEnabled()


def test_the_curves_come_into_view_and_choices_are_settled(open_trainer, fake_train):
    driver = open_trainer()
    driver.widget.resize(300, 700)
    start_and_pause(driver, fake_train, 20)
    assert not driver.minutes.isEnabled()
    top = driver.curves.mapTo(driver.widget, QPoint(0, 0)).y()
    assert top > 0
    assert top + driver.curves.height() < 700
    driver.run("stop")
    assert driver.minutes.isEnabled()


def test_closing_the_dock_mid_run_stops_and_keeps(dock_widget, fake_train):
    driver = dock_widget("Fine-tune model")
    driver.add_images("vessels", "nuclei", "nanoparticles")
    start_and_pause(driver, fake_train, 30)
    driver.viewer.window.remove_dock_widget(driver.widget)
    assert fake_train.closed.is_set()
    assert not job_threads()
    assert driver.status.text().startswith("Stopped at 75 %")
    assert driver.resume.isEnabled()


def test_closing_the_viewer_mid_run_stops_the_thread(dock_widget, fake_train):
    driver = dock_widget("Fine-tune model")
    driver.add_images("vessels", "nuclei", "nanoparticles")
    start_and_pause(driver, fake_train, 10)
    driver.viewer.close()
    driver.wait_for(fake_train.closed.is_set)
    driver.wait_for(lambda: not job_threads())


def test_both_docked_widgets_share_the_new_model(dock_widget, fake_train):
    driver = dock_widget("Fine-tune model")
    predict = dock_widget("Predict nanoparticles", driver.viewer)
    driver.add_images("vessels", "nuclei", "nanoparticles")
    driver.run("start")
    assert predict.model.currentText() == "my model"

"""The Predict widget from the click to the layers, with a stand-in for the engine."""

from __future__ import annotations

import numpy as np
import pytest
from driver import LAYERS, errors_mid_run, job_threads, results, three_layers
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSlider,
)

from napari_damm.events import FailedItem, Finished, Notice, Step


def test_controls_are_found_by_name(open_widget):
    driver = open_widget()
    for name in ("vessels", "nuclei", "model", "mode", "device"):
        assert isinstance(getattr(driver, name), QComboBox)
    for name in ("predict", "cancel"):
        assert isinstance(getattr(driver, name), QPushButton)
    assert isinstance(driver.region, QComboBox)
    assert isinstance(driver.out, QLineEdit)
    assert isinstance(driver.browse, QPushButton)
    assert isinstance(driver.pixel_size, QDoubleSpinBox)
    assert isinstance(driver.progress, QProgressBar)
    assert isinstance(driver.status, QLabel)
    assert driver.swap.isEnabled()


def test_a_click_ends_in_three_layers_over_the_vessels(open_widget, fake_predict):
    driver = open_widget()
    status = driver.run()
    assert "Done" in status
    assert "nuclei were trusted in 50 % of the windows" in status
    assert results(driver) == LAYERS
    np_map, uncertainty, branch = three_layers(driver)
    np.testing.assert_allclose(np_map.scale, (2, 2))
    np.testing.assert_allclose(branch.scale, (64, 64))
    np.testing.assert_allclose(uncertainty.translate, (32, 32))
    for layer in (np_map, uncertainty, branch):
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        assert layer.metadata["napari_damm"]["finished"] == "now"
    assert np.asarray(np_map.data).max() == 1.0
    assert set(np.unique(np.asarray(branch.data))) == {1, 2}
    assert driver.progress.value() == driver.progress.maximum()
    assert driver.predict.isEnabled()
    assert not driver.cancel.isEnabled()


def test_layers_are_there_and_fill_while_the_job_runs(open_widget, fake_predict):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    assert results(driver) == LAYERS
    live = np.asarray(driver.viewer.layers["NP distribution"].data)
    assert live[100, 100] == 0.25
    assert live[400, 400] == 0
    assert not driver.predict.isEnabled()
    assert driver.cancel.isEnabled()
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_predict.resume.set()


def test_nothing_can_be_chosen_while_a_job_runs(open_widget, fake_predict):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    names = (
        "vessels", "model", "mode", "views", "samples", "device", "precision", "region", "out",
        "pixel_size",
    )  # fmt: skip
    assert not any(getattr(driver, name).isEnabled() for name in (*names, "preview"))
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_predict.resume.set()
    assert all(getattr(driver, name).isEnabled() for name in (*names, "preview"))


def test_every_control_says_what_it_is_for(open_widget):
    form = open_widget().widget
    kinds = (QComboBox, QDoubleSpinBox, QLineEdit, QPushButton, QSlider)
    controls = [each for kind in kinds for each in form.findChildren(kind)]
    controls = [each for each in controls if not each.objectName().startswith("qt_")]
    assert [each.objectName() for each in controls if not each.toolTip()] == []


def test_cancelling_keeps_what_there_is_and_closes_the_generator(open_widget, fake_predict):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    assert driver.cancel_run().startswith("Cancelled after 2 of 4 windows")
    assert fake_predict.closed.is_set()
    assert results(driver) == [f"{name} (partial, 50 %)" for name in LAYERS]
    np_map, *_, branch = list(driver.viewer.layers)[2:]
    assert branch.metadata["napari_damm"]["state"] == "cancelled"
    assert np.asarray(np_map.data).any()
    assert driver.predict.isEnabled()


@errors_mid_run
def test_whatever_is_raised_mid_run_ends_as_a_message(open_widget, fake_predict, error, words):
    fake_predict.pause_after, fake_predict.error = 1, error
    fake_predict.resume.set()
    driver = open_widget()
    assert words in driver.run()
    assert driver.predict.isEnabled()
    assert not driver.cancel.isEnabled()
    assert not job_threads()
    branch = driver.viewer.layers["Branch (partial, 25 %)"]
    assert branch.metadata["napari_damm"]["state"] == "failed"


def test_an_error_of_the_call_itself_ends_as_a_message(open_widget, fake_predict):
    fake_predict.error_at_call = ValueError("no such model: take another")
    driver = open_widget()
    assert driver.run() == "no such model: take another"
    assert driver.predict.isEnabled()
    assert results(driver) == []


def test_an_error_while_showing_ends_as_a_message(open_widget, fake_predict, monkeypatch):
    def refuse(*_):
        raise RuntimeError("no canvas")

    monkeypatch.setattr("napari_damm.widgets.predict.live_prediction.ResultLayers", refuse)
    driver = open_widget()
    assert "no canvas" in driver.run()
    assert not job_threads()


def test_a_second_run_keeps_the_layers_of_the_first(open_widget, fake_predict):
    driver = open_widget()
    driver.run()
    driver.run()
    assert results(driver) == [*LAYERS, *(f"{name} (draft, tiny, 2)" for name in LAYERS)]
    driver.run()
    assert results(driver)[6:] == [f"{name} (draft, tiny, 3)" for name in LAYERS]


def test_the_controls_become_the_arguments_of_predict(open_widget, fake_predict):
    driver = open_widget()
    driver.mode.setCurrentText("draft")
    driver.device.setCurrentText("cpu")
    driver.precision.setCurrentText("bf16")
    driver.run()
    slide, model, config = fake_predict.calls[0]
    assert (slide.pixel_size_um, slide.shape) == (1.0, (896, 896))
    assert model.stem == "tiny"
    assert (config.mode, config.device, config.precision) == ("draft", "cpu", "bf16")


def test_views_are_of_the_expected_map_alone(open_widget, fake_predict):
    driver = open_widget()
    driver.views.setCurrentText("4")
    driver.run()
    driver.mode.setCurrentText("draft")
    assert not driver.views.isEnabled()
    driver.run()
    driver.mode.setCurrentText("expected")
    assert driver.views.isEnabled()
    configs = [config for _, _, config in fake_predict.calls]
    assert [(config.mode, config.views) for config in configs] == [("expected", 4), ("draft", 1)]


def test_removing_a_result_layer_mid_run_does_no_harm(open_widget, fake_predict):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    driver.viewer.layers.remove("Uncertainty")
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_predict.resume.set()
    assert "Done" in driver.status.text()
    assert results(driver) == ["NP distribution", "Branch"]


def test_removing_all_layers_mid_run_cancels(open_widget, fake_predict):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    with driver.qtbot.waitSignal(driver.widget.ended):
        driver.viewer.layers.clear()
    assert driver.status.text() == "Cancelled"
    assert fake_predict.closed.is_set()


@pytest.mark.parametrize("unit", ["um", "nm", "mm", "pixel"])
def test_results_overlay_the_vessels_in_whatever_unit(open_widget, fake_predict, unit):
    driver = open_widget(empty=True)
    side = {"um": 2.0, "nm": 2000.0, "mm": 0.002, "pixel": 3.0}[unit]
    place = {"scale": (side, side), "translate": (10 * side, -4 * side), "units": unit}
    driver.add_stains(**place)
    driver.pixel_size.setValue(2.0)
    fake_predict.origin = (9.5 * 2.0, -4.5 * 2.0)  # the corner, of pixels that are 2 um wide
    driver.run()
    vessels = driver.viewer.layers["vessels"]
    np_map, uncertainty = (driver.viewer.layers[name] for name in LAYERS[:2])
    # Equal pixel sizes and corners: the same pixel lies at the same place.
    np.testing.assert_allclose(np_map.data_to_world((5, 7)), vessels.data_to_world((5, 7)))
    assert np_map.units == vessels.units
    # The middle of cell (0, 0) is the middle of pixels 0..31.
    np.testing.assert_allclose(
        uncertainty.data_to_world((0, 0)), vessels.data_to_world((15.5, 15.5))
    )


def test_warnings_and_failed_windows_are_told_to_the_end(open_widget, fake_predict, monkeypatch):
    def predict(*_):
        yield Notice("the batch was halved", "warning")
        for event in fake_predict():
            if isinstance(event, Finished):
                yield FailedItem("window (0, 1)", "read error")
            yield event

    monkeypatch.setattr("napari_damm.api.predict", predict)
    status = open_widget().run()
    assert "window (0, 1)" in status
    assert "the batch was halved" in status


def test_a_prediction_that_just_ends_is_no_success(open_widget, monkeypatch):
    monkeypatch.setattr("napari_damm.api.predict", lambda *_: iter(()))
    driver = open_widget()
    assert "without a result" in driver.run()
    assert driver.predict.isEnabled()


def test_the_status_line_gets_the_room_it_needs(open_widget):
    driver = open_widget()
    driver.widget.resize(260, 700)
    driver.status.say("a sentence that is too long for one line of a narrow dock " * 3)
    driver.wait_for(lambda: driver.status.height() >= driver.status.heightForWidth(230))


def test_a_line_gives_room_back_when_the_dock_gets_wider(open_widget):
    driver = open_widget()
    driver.widget.resize(260, 700)
    driver.status.say("a sentence that is too long for one line of a narrow dock " * 3)
    narrow = driver.status.height()
    driver.widget.resize(1200, 700)
    driver.wait_for(lambda: driver.status.height() < narrow)


def test_a_result_that_cannot_be_shown_is_no_success(open_widget, fake_predict, monkeypatch):
    def refuse(*_):
        raise OSError("the store is gone")

    monkeypatch.setattr("napari_damm.widgets.viewer.result_layers.ResultLayers.finish", refuse)
    assert open_widget().run() == "the store is gone"


def test_an_empty_path_keeps_the_result_in_memory(open_widget, fake_predict):
    driver = open_widget()
    assert driver.out.text() == ""
    assert "gone when napari closes" in driver.out_note.text()
    driver.run()
    assert fake_predict.options == [{}]


def test_the_path_becomes_the_store_that_is_made_or_resumed(open_widget, fake_predict, tmp_path):
    driver = open_widget()
    driver.out.setText(str(tmp_path / "result"))
    driver.run()
    assert fake_predict.options == [{"store": tmp_path / "result.ome.zarr", "resume": True}]


def test_a_path_that_is_taken_disables_predict_with_the_reason(open_widget, tmp_path):
    driver = open_widget()
    (tmp_path / "taken.ome.zarr").mkdir()
    driver.out.setText(str(tmp_path / "taken.ome.zarr"))
    assert "exists already: choose another name" in driver.reason.text()
    assert not driver.predict.isEnabled()
    driver.out.setText(str(tmp_path / "free"))
    assert driver.predict.isEnabled()


def test_a_path_that_was_taken_meanwhile_is_noticed_at_the_click(
    open_widget, fake_predict, tmp_path
):
    driver = open_widget()
    driver.out.setText(str(tmp_path / "result"))
    (tmp_path / "result.ome.zarr").mkdir()
    driver.click("predict")
    assert "exists already" in driver.status.text()
    assert fake_predict.calls == []


def test_browsing_fills_the_path_in(open_widget, tmp_path, monkeypatch):
    chosen = str(tmp_path / "chosen.ome.zarr")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (chosen, ""))
    driver = open_widget()
    driver.click("browse")
    assert driver.out.text() == chosen


def test_the_engine_waits_until_the_layers_are_there(open_widget, fake_predict, monkeypatch):
    seen = []
    driver = open_widget()
    events = fake_predict._predict

    def watched():
        for event in events():
            if isinstance(event, Step) and not seen:
                seen.append(results(driver))
            yield event

    monkeypatch.setattr(fake_predict, "_predict", watched)
    driver.run()
    assert seen == [LAYERS]

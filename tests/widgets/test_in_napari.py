"""The widget in a real napari: opened from its menu, with the real engine and a tiny model."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from driver import LAYERS, three_layers

from napari_damm import api
from napari_damm.events import Tile
from napari_damm.slide import slide_from_arrays

SIDE = 320  # px of the sample, so that there are four windows


@pytest.fixture
def driver(dock_widget, engine_model, monkeypatch):
    """The docked widget beside the sample, ready for a draft prediction."""
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [engine_model])
    monkeypatch.setattr("napari_damm.widgets.viewer.sample_data.SIZE_PX", SIDE)
    driver = dock_widget()
    driver.viewer.open_sample("napari-damm", "simulated_tumour_section")
    driver.mode.setCurrentText("draft")
    return driver


def test_the_sample_shows_the_stains_and_hides_the_answer(driver):
    layers = driver.viewer.layers
    assert [(layer.name, layer.visible) for layer in layers] == [
        ("vessels", True),
        ("nuclei", True),
        ("nanoparticles", False),
    ]
    assert all(layer.data.shape == (SIDE, SIDE) for layer in layers)
    assert {str(unit) for layer in layers for unit in layer.units} == {"micrometer"}
    assert (driver.vessels.currentText(), driver.nuclei.currentText()) == ("vessels", "nuclei")


def test_a_click_on_the_sample_ends_in_three_layers(driver):
    status = driver.run()
    assert status.startswith("Done in")
    assert "4 windows" in status
    np_map, uncertainty, branch = three_layers(driver)
    np.testing.assert_allclose(np_map.scale, (1, 1))
    np.testing.assert_allclose(np_map.translate, (0, 0))
    np.testing.assert_allclose(branch.translate, (15.5, 15.5))
    assert np_map.data.shape == (SIDE, SIDE)
    assert np.isfinite(np.asarray(np_map.data)).all()
    assert np.asarray(np_map.data).any()
    assert 0 < np.asarray(uncertainty.data).min() <= np.asarray(uncertainty.data).max() <= 1
    assert set(np.unique(np.asarray(branch.data))) <= {1, 2}
    for layer in (np_map, uncertainty, branch):
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
        assert layer.metadata["napari_damm"]["mode"] == "draft"
        assert layer.metadata["napari_damm"]["finished"]


def test_cancelling_the_engine_leaves_a_ready_widget(driver):
    driver.click("predict")
    driver.wait_for(lambda: "Predicting" in driver.status.text())
    assert [layer.name for layer in driver.viewer.layers][3:] == LAYERS
    driver.wait_for(lambda: driver.progress.value() > 0)
    assert driver.cancel_run().startswith("Cancelled")
    assert driver.predict.isEnabled()
    assert not [t for t in threading.enumerate() if "napari-damm" in t.name]


@pytest.mark.parametrize("error", [RuntimeError("the lane broke"), MemoryError("no room")])
def test_a_failing_engine_leaves_a_message_and_a_ready_widget(driver, monkeypatch, error):
    predict = api.predict

    def failing(*arguments, **options):
        for event in predict(*arguments, **options):
            yield event
            if isinstance(event, Tile):
                raise error

    monkeypatch.setattr(api, "predict", failing)
    assert str(error) in driver.run()
    assert driver.predict.isEnabled()
    assert not driver.cancel.isEnabled()


def test_a_result_on_disk_opens_as_its_layers(
    plugin, make_napari_viewer, engine_model, tmp_path, qtbot
):
    """The map is selected, as after the run, and not what lies on top of it."""
    section = api.simulate_slide(SIDE, 10_001)
    stains = {"vessels": section.vessels, "nuclei": section.nuclei}
    config = api.PredictConfig(mode="draft", steps=1)
    path = tmp_path / "result.ome.zarr"
    list(api.predict(slide_from_arrays(stains, 1.0), engine_model.path, config, store=path))
    viewer = make_napari_viewer()
    opened = viewer.open(path, plugin="napari-damm")
    assert [layer.name for layer in opened] == LAYERS
    assert opened[0].metadata["napari_damm"]["steps"] == 1
    qtbot.waitUntil(lambda: viewer.layers.selection.active is opened[0])

"""Several samples in napari: asked for in the Predict widget, shown as NP std, read back."""

from __future__ import annotations

import numpy as np
import pytest
from driver import results
from napari.layers import Image, Layer
from qtpy.QtWidgets import QAbstractSpinBox

from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.widgets.predict.destination import look
from napari_damm.widgets.predict.record_words import record_words
from napari_damm.widgets.viewer.reader import get_reader

LAYERS = ["NP distribution", "NP std", "Uncertainty", "Branch"]
RECORD = {
    "mode": "draft",
    "model": {"name": "tiny"},
    "finished": None,
    "roi": None,
    "steps": 8,
    "seed": 3,
    "samples": 5,
    "precision": "bf16",
    "gamma": 0.5,
    "batch_size": 2,
}


def begun(path, record=RECORD, samples=5):
    """Make a result of one shard; return its path and what is in it."""
    layout = ResultLayout((700, 100), 2.0, (10.0, 20.0), (4, 0), with_std=samples > 1)
    cells = np.ones(layout.cells_shape, np.float32)
    image = np.full(layout.shape, 0.5, np.float32)
    with ResultStore.create(path, layout, record) as store:
        std = image / 4 if samples > 1 else None
        store.write_shard(0, 0, ShardMaps(image, cells / 4, cells.astype(np.uint8), std))
    return path


def test_one_sample_is_drawn_unless_more_are_wished(open_widget, fake_predict):
    driver = open_widget()
    assert isinstance(driver.samples, QAbstractSpinBox)
    assert (driver.samples.value(), driver.samples.minimum(), driver.samples.maximum()) == (
        1,
        1,
        64,
    )
    assert driver.samples_note.text() == "the expected map"
    driver.mode.setCurrentText("fast")
    assert driver.samples_note.text() == "one plausible map"
    driver.run()
    assert fake_predict.calls[0][2].samples == 1
    assert "NP std" not in results(driver)
    driver.samples.setValue(8)
    assert "NP std" in driver.samples_note.text()
    assert "the mean of 8 plausible maps" in driver.samples_note.text()
    driver.mode.setCurrentText("expected")
    assert "the expected map, and in layer NP std how much 8" in driver.samples_note.text()
    driver.run()
    assert fake_predict.calls[1][2].samples == 8


def test_the_spread_is_a_layer_of_its_own_that_fills_while_it_runs(open_widget, fake_predict):
    fake_predict.pause_after, fake_predict.samples = 2, 4
    driver = open_widget()
    driver.samples.setValue(4)
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    assert results(driver) == LAYERS
    std = driver.viewer.layers["NP std"]
    live = np.asarray(std.data)
    assert live[100, 100] == pytest.approx(0.025, rel=1e-2)
    assert live[400, 400] == 0
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_predict.resume.set()
    assert np.asarray(std.data).max() == pytest.approx(0.1, rel=1e-2)
    np_map = driver.viewer.layers["NP distribution"]
    assert isinstance(std, Image)
    assert (std.colormap.name, std.visible, np_map.visible) == ("magma", False, True)
    np.testing.assert_allclose(std.scale, np_map.scale)
    np.testing.assert_allclose(std.translate, np_map.translate)
    assert std.units == np_map.units
    assert std.metadata["napari_damm"] == np_map.metadata["napari_damm"]
    assert std.metadata["napari_damm"]["finished"] == "now"


@pytest.mark.parametrize(("samples", "names"), [(5, LAYERS), (1, [LAYERS[0], *LAYERS[2:]])])
def test_a_result_opens_as_its_layers(tmp_path, samples, names):
    path = begun(tmp_path / "r.ome.zarr", samples=samples)
    read = get_reader(str(path))
    assert read is not None
    layers = [Layer.create(*layer) for layer in read(str(path))]
    assert [layer.name for layer in layers] == names
    if samples > 1:
        np_map, std, *_ = layers
        assert std.multiscale
        np.testing.assert_allclose(std.translate, np_map.translate)
        np.testing.assert_allclose(std.scale, np_map.scale)
        assert std.metadata["napari_damm"]["samples"] == 5
        assert float(np.asarray(std.data[0]).max()) == 0.125


def test_a_result_is_resumed_with_the_samples_and_precision_it_was_begun_with(
    open_widget, fake_predict, tmp_path
):
    path = begun(tmp_path / "r.ome.zarr")
    assert "5 samples" in look(str(path)).note
    driver = open_widget()
    driver.out.setText(str(path))
    assert driver.predict.text() == "Resume"
    assert driver.samples.value() == 5
    assert not driver.samples.isEnabled()
    assert driver.precision.currentText() == "bf16"
    assert driver.precision.isVisibleTo(driver.widget)
    assert not driver.precision.isEnabled()
    driver.run()
    config = fake_predict.calls[0][2]
    assert (config.samples, config.precision) == (5, "bf16")


@pytest.mark.parametrize(("devices", "offered"), [((), False), (("cuda",), True)])
def test_precision_is_offered_where_there_is_a_card(open_widget, monkeypatch, devices, offered):
    here = ("auto", "cpu", *devices)
    monkeypatch.setattr("napari_damm.widgets.predict.form.devices_here", lambda: here)
    driver = open_widget()
    driver.more.expand(animate=False)
    assert driver.precision.isVisibleTo(driver.widget) is offered
    driver.precision.setCurrentText("bf16")  # what is asked for is never hidden
    driver.samples.setValue(2)
    assert driver.precision.isVisibleTo(driver.widget)


def test_what_is_copied_of_a_record_names_another_precision():
    sizes = {"slide_pixel_size_um": 1.0, "pixel_size_um": 1.0}
    assert "samples, in bf16, seed 3" in record_words(RECORD | sizes)
    assert ", in " not in record_words(RECORD | sizes | {"precision": "full"})


def test_an_older_result_is_resumed_with_one_sample_in_full_precision(
    open_widget, fake_predict, tmp_path
):
    unknown = ("samples", "precision")
    older = {name: value for name, value in RECORD.items() if name not in unknown}
    driver = open_widget()
    driver.samples.setValue(3)
    driver.precision.setCurrentText("bf16")
    driver.out.setText(str(begun(tmp_path / "r.ome.zarr", older, samples=1)))
    assert driver.samples.value() == 1
    driver.run()
    config = fake_predict.calls[0][2]
    assert (config.samples, config.precision) == (1, "full")

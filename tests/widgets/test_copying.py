"""What the result panel copies, run for real: it gives the bits that the layer shows."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication

from napari_damm import api, cli

SIDE = 280
pytestmark = pytest.mark.usefixtures("quick_first_stages")


@pytest.fixture
def predicting(open_widget, engine_model, monkeypatch):
    """An empty widget with the real engine and a tiny model."""
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [])
    driver = open_widget(empty=True)
    from napari_damm.widgets.model_picker import Card

    card = Card("tiny", engine_model.path)
    monkeypatch.setattr("napari_damm.widgets.model_picker.list_cards", lambda: [card])
    driver.widget.offer_model("tiny")
    driver.device.setCurrentText("cpu")
    return driver


def copied(driver, name: str) -> str:
    driver.click(name)
    assert "Copied" in driver.result_answer.text(), driver.result_answer.text()
    return QApplication.clipboard().text()


def run_python(code: str, **names):
    exec(compile(code, "<copied>", "exec"), names)
    return names["result"]


def assert_same(driver, result) -> None:
    for name, array in (
        ("NP distribution", result.np),
        ("Uncertainty", result.uncertainty),
        ("Branch", result.branch),
    ):
        shown = np.asarray(driver.viewer.layers[name].data)
        np.testing.assert_array_equal(shown, np.asarray(array))
    assert np.asarray(result.np).any()


def planes(seed: int, *shape: int):
    return np.random.default_rng(seed).integers(0, 4000, shape, np.uint16)


def test_layers_without_a_file_in_the_console(predicting):
    viewer = predicting.viewer
    viewer.add_image(planes(0, 3, SIDE, SIDE), name="cd31 stack", scale=(2, 0.9, 0.9), units="um")
    viewer.add_image(planes(1, SIDE, SIDE), name="dapi", scale=(0.9, 0.9), units="um")
    viewer.dims.set_current_step(0, 1)
    assert predicting.run().startswith("Done"), predicting.status.text()
    code = copied(predicting, "copy_python")
    result = run_python(code, viewer=viewer)
    shown = next(layer for layer in viewer.layers if layer.name.startswith("NP distribution"))
    np.testing.assert_array_equal(np.asarray(shown.data), np.asarray(result.np))


def test_a_file_gives_a_script_and_a_command(predicting, plugin, tmp_path):
    path = tmp_path / "my section.ome.tif"
    size = {f"PhysicalSize{axis}": 0.65 for axis in "XY"}
    size |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    metadata = {"axes": "CYX", "Channel": {"Name": ["other", "DAPI", "CD31"]}, **size}
    image = planes(2, 3, SIDE, SIDE)
    tifffile.imwrite(path, image, ome=True, metadata=metadata, photometric="minisblack")
    predicting.viewer.open(str(path), plugin="napari-damm")
    assert predicting.run().startswith("Done"), predicting.status.text()
    code = copied(predicting, "copy_python")
    assert "viewer" not in code
    assert_same(predicting, run_python(code))
    words = shlex.split(copied(predicting, "copy_command"))
    out = tmp_path / "again.ome.zarr"
    words[words.index("--out") + 1] = str(out)
    assert cli.main(words[1:]) == 0
    assert_same(predicting, api.open_result(out))


def test_a_layer_that_was_changed_is_not_taken_for_its_file(predicting, plugin, tmp_path):
    for name, seed in (("cd31", 3), ("dapi", 4)):
        tifffile.imwrite(tmp_path / f"{name}.tif", planes(seed, SIDE, SIDE))
        predicting.viewer.open(str(tmp_path / f"{name}.tif"), plugin="napari")
    predicting.viewer.layers["cd31"].data = planes(5, SIDE, SIDE)
    predicting.pixel_size.setValue(1.0)
    assert predicting.run().startswith("Done"), predicting.status.text()
    predicting.click("copy_command")
    assert "do not hold what was predicted" in predicting.result_answer.text()
    assert "viewer.layers['cd31']" in copied(predicting, "copy_python")


def test_plain_tiffs_of_napari_s_own_reader_give_a_command(predicting, plugin, tmp_path):
    for name, seed in (("cd31", 3), ("dapi", 4)):
        tifffile.imwrite(tmp_path / f"{name}.tif", planes(seed, SIDE, SIDE))
        predicting.viewer.open(str(tmp_path / f"{name}.tif"), plugin="napari")
    predicting.pixel_size.setValue(1.0)
    assert predicting.run().startswith("Done"), predicting.status.text()
    words = shlex.split(copied(predicting, "copy_command"))
    assert words[words.index("--pixel-size") + 1] == "1.0"
    out = tmp_path / "again.ome.zarr"
    words[words.index("--out") + 1] = str(out)
    assert cli.main(words[1:]) == 0
    assert_same(predicting, api.open_result(out))

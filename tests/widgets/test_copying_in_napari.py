"""What is copied from a real napari, run as a person runs it, gives the bits of the layers."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from driver import LAYERS
from qtpy.QtWidgets import QApplication

import napari_damm
from napari_damm import api
from napari_damm.model_file import library
from napari_damm.simulate import simulate_slide, write_section

SIDE = 320


@pytest.fixture
def driver(dock_widget, make_napari_viewer, own_folders, engine_model, monkeypatch):
    """The docked widget in a shown window, with a model of the user's own."""
    monkeypatch.setattr(library, "bundled_folder", lambda: own_folders / "none")
    library.import_model(engine_model.path, name="mine")
    driver = dock_widget(viewer=make_napari_viewer(show=True))
    driver.widget.offer_model("mine")
    driver.mode.setCurrentText("draft")
    driver.device.setCurrentText("cpu")
    return driver


@pytest.fixture
def section(tmp_path):
    """A simulated section in a file whose name has to be quoted."""
    path = tmp_path / "my section's.ome.tif"
    write_section(simulate_slide(SIDE, 10_001), path)
    return path


def copied(driver, button: str) -> str:
    driver.click(button)
    assert "Copied" in driver.result_answer.text(), driver.result_answer.text()
    return QApplication.clipboard().text()


def run(arguments: list[str], cwd) -> None:
    """Run a program in a process and a folder of its own."""
    ours = str(Path(napari_damm.__file__).parents[1])  # what is tested here, from any folder
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ours}
    done = subprocess.run(
        arguments, cwd=cwd, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr


def shown(driver) -> dict[str, np.ndarray]:
    return {name: np.asarray(driver.viewer.layers[name].data) for name in LAYERS}


def assert_same(seen: dict[str, np.ndarray], result) -> None:
    again = (result.np, result.uncertainty, result.branch)
    for name, array in zip(LAYERS, again, strict=True):
        np.testing.assert_array_equal(seen[name], np.asarray(array), err_msg=name)
    assert seen[LAYERS[0]].std() > 0


@pytest.mark.parametrize("region", [pytest.param(False, marks=pytest.mark.slow), True])
def test_python_and_command_give_the_bits_that_the_layers_show(driver, section, tmp_path, region):
    driver.viewer.open(section, plugin="napari-damm")
    if region:
        shapes = driver.viewer.add_shapes(name="drawn", units="um")
        shapes.add_rectangles([[20, 30], [20, 250], [180, 250], [180, 30]])
        driver.region.setCurrentText("drawn")
    assert driver.run().startswith("Done in"), driver.status.text()
    seen = shown(driver)

    script = tmp_path / "copied.py"
    saved = "\nimport numpy\nnumpy.savez('again.npz', a=result.np, b=result.uncertainty, "
    script.write_text(copied(driver, "copy_python") + saved + "c=result.branch)\n")
    run([sys.executable, str(script)], tmp_path)
    with np.load(tmp_path / "again.npz") as again:
        for name, key in zip(LAYERS, "abc", strict=True):
            np.testing.assert_array_equal(seen[name], again[key], err_msg=name)

    program, *words = shlex.split(copied(driver, "copy_command"))
    assert program == "napari-damm"
    words[words.index("--out") + 1] = "again.ome.zarr"
    run([sys.executable, "-m", "napari_damm.cli", *words], tmp_path)
    assert_same(seen, api.open_result(tmp_path / "again.ome.zarr"))


def test_python_for_layers_without_a_file_runs_in_the_console_of_that_viewer(driver):
    driver.viewer.open_sample("napari-damm", "simulated_tumour_section")
    for layer in driver.viewer.layers:
        layer.data = layer.data[:SIDE, :SIDE]
    assert driver.run().startswith("Done in"), driver.status.text()
    names = {"viewer": driver.viewer}
    exec(compile(copied(driver, "copy_python"), "<copied>", "exec"), names)
    assert_same(shown(driver), names["result"])
    driver.click("copy_command")
    assert "save it, open it from there" in driver.result_answer.text()

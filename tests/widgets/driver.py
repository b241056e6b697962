"""A widget handled as a person does, and what is looked at afterwards."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.layers import Image, Labels
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

TIMEOUT_MS = 120_000
LAYERS = ["NP distribution", "Uncertainty", "Branch"]

errors_mid_run = pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("the lane broke"), "the lane broke"),
        (MemoryError(), "Out of memory"),
        (KeyError("x"), "KeyError"),
        (OSError("disk is full"), "disk is full"),
    ],
)


class Driver:
    """Handles a widget as a person does: by its named controls."""

    def __init__(self, viewer, qtbot, widget) -> None:
        self.viewer = viewer
        self.qtbot = qtbot
        self.widget = widget

    def __getattr__(self, name: str) -> QWidget:
        found = self.widget.findChild(QWidget, name)
        assert found is not None, f"no control is named {name}"
        return found

    def click(self, name: str) -> None:
        control = getattr(self, name)
        assert control.isEnabled(), self.reason.text()
        self.qtbot.mouseClick(control, Qt.MouseButton.LeftButton)

    def wait_for(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=TIMEOUT_MS)

    def run(self, button: str = "predict") -> str:
        """Click Predict (or Start ...) and wait for the end; return the status line."""
        with self.qtbot.waitSignal(self.widget.ended, timeout=TIMEOUT_MS):
            self.click(button)
        return self.status.text()

    def cancel_run(self) -> str:
        return self.run("cancel")

    def add_stains(self, **arguments) -> None:
        """Add a vessels and a nuclei layer of 896 um."""
        self.add_images("vessels", "nuclei", **arguments)

    def add_images(self, *names: str, **arguments) -> None:
        """Add layers of 896 um."""
        rng = np.random.default_rng(0)
        for name in names:
            image = rng.random((896, 896), np.float32)
            place = {"scale": (1, 1), "units": "um", **arguments}
            self.viewer.add_image(image, name=name, **place)


def results(driver: Driver) -> list[str]:
    """Names of the layers that a job made."""
    return [layer.name for layer in driver.viewer.layers if "napari_damm" in layer.metadata]


def three_layers(driver: Driver) -> tuple[Image, Image, Labels]:
    """The layers of a prediction: the map, its uncertainty and the branches."""
    np_map, uncertainty, branch = (driver.viewer.layers[name] for name in LAYERS)
    assert isinstance(np_map, Image)
    assert isinstance(uncertainty, Image)
    assert isinstance(branch, Labels)
    return np_map, uncertainty, branch


def job_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "napari-damm job"]


def dock_of(widget: QWidget, ability: str) -> QWidget:
    """The dock around a widget: the first of its parents that can do so much."""
    dock = widget.parent()
    while not hasattr(dock, ability):
        dock = dock.parent()
    return dock

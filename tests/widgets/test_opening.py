"""Opening the widget must be quick: no torch, and no engine."""

from __future__ import annotations

import os
import subprocess
import sys

BARE = """
import sys
import napari_damm.widgets
loaded = {"napari", "qtpy", "torch"} & set(sys.modules)
assert not loaded, loaded
"""
OPEN = """
import sys
from qtpy.QtWidgets import QApplication
from napari.components import ViewerModel
application = QApplication([])
from napari_damm import widgets
for name in ("PredictWidget", "TrainWidget", "AnalyzeWidget"):
    widget = getattr(widgets, name)(ViewerModel())
    slow = {"torch", "napari_damm.engine.job", "napari_damm.slide", "zarr", "pyqtgraph"}
    loaded = slow & set(sys.modules)
    assert not loaded, (name, loaded)
"""


def run(script: str) -> None:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_loads_neither_napari_nor_qt():
    run(BARE)


def test_opening_a_widget_loads_neither_torch_nor_the_engine():
    run(OPEN)

"""Screenshots of every widget and state, to be looked at: `python tests/benchmarks/screenshots.py`.

In one napari window each, dark and light, with a dock of 300 px and a screen of 1024 x 700:

1. Predict: empty, ready, with what the model is, after a preview, while it runs, cancelled, done,
   with the record, with doubt hidden and shown, with a second map and the difference, with a
   region; the window for many sections; the figure.
2. A saved result, opened again.
3. Fine-tune and Analyze as they open, on a section; Analyze with its numbers, Fine-tune while it
   learns and when it has finished.

The section is simulated and the model is the bundled one. It needs a display; under Linux without
one, `xvfb-run -a python tests/benchmarks/screenshots.py --out DIR`. It fails if a widget makes the
window grow, or is wider than its dock.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("QT_API", "pyqt6")
SIZE = (1024, 700)
DOCK = 300
SIDE = 700
WAIT_S = 900.0
MINUTES = 1.0
ROUNDS = 20


class Camera:
    """One napari window, and what is wrong with what it shows."""

    def __init__(self, out: Path, theme: str) -> None:
        import napari

        self.out, self.theme = out, theme
        self.viewer = napari.Viewer()
        self.viewer.theme = theme
        self.viewer.window.resize(*SIZE)
        self.faults: list[str] = []

    def open(self, name: str):
        """Open a widget in a dock of 300 px."""
        from qtpy.QtCore import Qt

        dock, widget = self.viewer.window.add_plugin_dock_widget("napari-damm", name)
        window = self.viewer.window._qt_window
        window.resizeDocks([dock], [DOCK], Qt.Orientation.Horizontal)
        self.settle()
        return dock, widget

    def settle(self, seconds: float = 0.3) -> None:
        """Let napari draw, and layouts come to rest: each nesting takes a round of events."""
        import time

        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        rounds = 0
        while time.monotonic() < end or rounds < ROUNDS:
            QApplication.processEvents()
            rounds += 1

    def until(self, condition) -> None:
        """Wait for a state."""
        import time

        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + WAIT_S
        while not condition():
            QApplication.processEvents()
            if time.monotonic() > end:
                raise TimeoutError("the state did not come")

    def take(self, name: str, widget=None) -> None:
        """Save the whole window."""
        self.settle()
        window = self.viewer.window._qt_window
        size = (window.width(), window.height())
        if size != SIZE:
            self.faults.append(f"{name}: the window is {size}")
        if widget is not None and widget.width() > DOCK + 8:
            self.faults.append(f"{name}: the widget is {widget.width()} px wide")
        path = self.out / f"{self.theme}-{name}.png"
        window.grab().save(str(path))
        print(path)


def predict(camera: Camera) -> None:
    """Take the states of Predict, up to its first result."""
    dock, widget = camera.open("Predict nanoparticles")
    camera.take("predict-empty", widget)
    camera.viewer.open_sample("napari-damm", "simulated_tumour_section")
    camera.settle(1.0)
    camera.take("predict-ready", widget)
    find(widget, "model_details").click()
    camera.take("predict-model", widget)
    find(widget, "model_details").click()
    run(camera, widget, "preview")
    camera.take("predict-preview", widget)
    find(widget, "predict").click()
    camera.until(lambda: "window" in find(widget, "progress").format())
    camera.take("predict-running", widget)
    find(widget, "cancel").click()
    camera.until(lambda: not widget.running)
    camera.take("predict-cancelled", widget)
    run(camera, widget, "predict")
    camera.take("predict-done", widget)
    results(camera, widget)
    camera.viewer.window.remove_dock_widget(dock)


def run(camera: Camera, widget, button: str) -> None:
    """Click, and wait for the end and for layouts to come to rest."""
    find(widget, button).click()
    camera.until(lambda: not widget.running)
    camera.settle(1.5)


def results(camera: Camera, widget) -> None:
    """Take what can be done with results."""
    bar = scroll_bar(widget)
    place = bar.value()
    keep(camera, widget)
    bar.setValue(bar.maximum())
    camera.take("predict-record", widget)
    bar.setValue(place)
    slider = find(widget, "least_sure")
    slider.setValue(slider.maximum())
    camera.take("predict-doubt", widget)
    slider.setValue(0)
    find(widget, "trust_map").click()
    camera.take("predict-trust", widget)
    find(widget, "place").click()
    camera.take("predict-least-sure", widget)
    find(widget, "mode").setCurrentText("draft")
    run(camera, widget, "predict")
    camera.viewer.reset_view()
    camera.take("predict-second", widget)
    find(widget, "difference").click()
    camera.take("predict-difference", widget)
    bar.setValue(0)
    find(widget, "current_view").click()
    camera.take("predict-region", widget)
    find(widget, "batch").click()
    camera.settle()
    queue = widget._queue
    queue.grab().save(str(camera.out / f"{camera.theme}-many-sections.png"))
    queue.hide()


def keep(camera: Camera, widget) -> None:
    """Save the result and its figure, as the file dialogs would."""
    from qtpy.QtWidgets import QFileDialog

    for name, button in (("result.ome.zarr", "save_result"), ("figure.png", "figure")):
        path = camera.out / f"{camera.theme}-{name}"
        QFileDialog.getSaveFileName = staticmethod(lambda *_, path=path, **__: (str(path), ""))
        find(widget, button).click()
        camera.settle(1.0)


def reopened(camera: Camera) -> None:
    """Take a saved result, opened again."""
    camera.viewer.layers.clear()
    saved = camera.out / f"{camera.theme}-result.ome.zarr"
    camera.viewer.open(saved, plugin="napari-damm")
    dock, widget = camera.open("Predict nanoparticles")
    camera.take("reopened", widget)
    camera.viewer.window.remove_dock_widget(dock)


def others(camera: Camera) -> None:
    """Take the other widgets as they open, and when they have done something."""
    camera.viewer.layers.clear()
    camera.viewer.open_sample("napari-damm", "simulated_tumour_section")
    for name in ("Fine-tune model", "Analyze nanoparticles"):
        dock, widget = camera.open(name)
        short = name.split()[0].lower()
        camera.take(short, widget)
        bar = scroll_bar(widget)
        if bar.maximum():
            bar.setValue(bar.maximum())
            camera.take(f"{short}-below", widget)
        {"analyze": measured, "fine-tune": learning}[short](camera, widget)
        camera.viewer.window.remove_dock_widget(dock)


def measured(camera: Camera, widget) -> None:
    """Take Analyze with its numbers."""
    find(widget, "analyze").click()
    camera.until(lambda: not widget.running)
    bar = scroll_bar(widget)
    camera.settle(1.0)
    bar.setValue(bar.maximum())
    camera.take("analyze-done", widget)


def learning(camera: Camera, widget) -> None:
    """Take Fine-tune while it learns, and when it has finished."""
    from qtpy.QtWidgets import QDoubleSpinBox

    widget.findChild(QDoubleSpinBox, "minutes").setValue(MINUTES)
    find(widget, "start").click()
    camera.until(lambda: "left" in find(widget, "progress").format() or not widget.running)
    camera.settle(1.0)
    camera.take("fine-tune-running", widget)
    camera.until(lambda: not widget.running)
    camera.settle(1.0)
    camera.take("fine-tune-done", widget)


PARTS = {"predict": predict, "reopened": reopened, "others": others}


def find(widget, name: str):
    """Return a control by its objectName."""
    from qtpy.QtWidgets import QWidget

    found = widget.findChild(QWidget, name)
    assert found is not None, name
    return found


def scroll_bar(widget):
    """Return the bar that scrolls a form."""
    from qtpy.QtWidgets import QScrollArea

    return widget.findChild(QScrollArea).verticalScrollBar()


def faults(out: Path, themes: Sequence[str], parts: Sequence[str]) -> Iterator[str]:
    """Take all pictures, and yield what is wrong with them."""
    from napari_damm.widgets.viewer import sample_data

    sample_data.SIZE_PX = SIDE
    # What is trained here is nobody's model, and nobody's preferences are shown or changed.
    os.environ["XDG_DATA_HOME"] = str(out / "data")
    os.environ["NAPARI_CONFIG"] = str(out / "napari.yaml")
    for theme in themes:
        camera = Camera(out, theme)
        for part in parts:
            PARTS[part](camera)
        camera.viewer.close()
        yield from camera.faults


def main() -> int:
    """Take all pictures; 1 if something is clipped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--themes", nargs="+", default=["dark", "light"])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    found = list(faults(asked.out, asked.themes, asked.parts))
    for fault in found:
        print(f"FAULT {fault}")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())

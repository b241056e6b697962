"""A widget in a real viewer, and stand-ins for what is slow or must fail on purpose."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_training import FakeTrain
from npe2 import PluginManager, PluginManifest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

import napari_damm
from napari_damm.engine.live_preview import LivePreview
from napari_damm.events import Event, Finished, Planned, ShardDone, Step, Tile
from napari_damm.model_file import ModelInfo
from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.util.tiling import Lattice

CARD = {
    "name": "tiny",
    "modalities": ["vessels", "nuclei", "nanoparticles"],
    "pixel_size_um": 2.0,
    "training_data": "simulated tissue",
}
MANIFEST = Path(napari_damm.__file__).parent / "napari.yaml"
TIMEOUT_MS = 120_000


class FakePredict:
    """`api.predict` without a network: four windows of 2 um pixels in a real store and preview.

    With `pause_after`, it keeps making denoising steps after so many windows until `resume` is
    set; with `error`, it raises after them. `samples` above one give a spread.
    """

    origin = (0.0, 0.0)

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.options: list[dict[str, object]] = []
        self.pause_after: int | None = None
        self.samples = 1
        self.error: BaseException | None = None
        self.error_at_call: BaseException | None = None
        self.resume = threading.Event()
        self.closed = threading.Event()

    def __call__(self, *arguments: object, **options: object) -> Iterator[Event]:
        self.calls.append(arguments)
        self.options.append(options)
        if self.error_at_call is not None:
            raise self.error_at_call
        return self._events()

    def _events(self) -> Iterator[Event]:
        try:
            yield from self._predict()
        finally:
            self.closed.set()

    def _predict(self) -> Iterator[Event]:
        lattice = Lattice((448, 448))
        windows = [(i, j) for i in range(lattice.rows) for j in range(lattice.cols)]
        with_std = self.samples > 1
        layout = ResultLayout(lattice.shape, 2.0, self.origin, with_std=with_std)
        record = {"model": {"name": "tiny", "modalities": CARD["modalities"]}, "finished": None}
        store = ResultStore.create(None, layout, record)
        preview = LivePreview(store)
        yield Planned(lattice.shape, 2.0, self.origin, len(windows), 0, 1, 10, record, preview)
        image = np.zeros(layout.shape, np.float32)
        uncertainty = np.zeros(layout.cells_shape, np.float32)
        branch = np.zeros(layout.cells_shape, np.uint8)
        for done, window in enumerate(windows):
            while self.pause_after == done and not self.resume.wait(0.005):
                yield Step(10 * done + 1, 10 * len(windows))
            if self.pause_after == done and self.error is not None:
                raise self.error
            box, cells = lattice.window_box(*window), lattice.owned_cells(*window)
            image[box.slices] = 0.25 * (done + 1)
            uncertainty[cells.slices] = 0.5
            branch[cells.slices] = 1 + done % 2
            yield Step(10 * (done + 1), 10 * len(windows))
            yield Tile(
                box.y0,
                box.x0,
                image[box.slices].copy(),
                cells.y0,
                cells.x0,
                uncertainty[cells.slices].copy(),
                branch[cells.slices].copy(),
                done + 1,
                len(windows),
                image[box.slices] / 10 if with_std else None,
            )
        std = image / 10 if with_std else None
        store.write_shard(0, 0, ShardMaps(image, uncertainty, branch, std))
        yield ShardDone(0, 0, 1, 1)
        store.finish({"finished": "now"})
        yield Finished(store.result(), 1.5)


@pytest.fixture
def fake_predict(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePredict]:
    """Replace `napari_damm.api.predict`, as the widget looks it up when it is clicked."""
    fake = FakePredict()
    monkeypatch.setattr("napari_damm.api.predict", fake)
    yield fake
    fake.resume.set()


@pytest.fixture(autouse=True)
def one_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offer one model, whatever is bundled or installed."""
    info = ModelInfo("tiny", tmp_path / "tiny.safetensors", CARD, bundled=True)
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [info])


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


@pytest.fixture(scope="session")
def tiny_model_file(tmp_path_factory):
    """A random model as a file."""
    from models import random_model

    from napari_damm.model_file import save_model

    model = random_model()
    model.card.update(CARD)
    path = tmp_path_factory.mktemp("tiny") / "tiny.safetensors"
    save_model(model, path)
    return path


@pytest.fixture
def own_folders(monkeypatch, tmp_path, tiny_model_file):
    """Real lists of models and trainings in folders of the test's own; "tiny" is bundled."""
    from napari_damm.model_file import library

    monkeypatch.setattr("napari_damm.model_file.list_models", library.list_models)
    monkeypatch.setattr(library, "bundled_folder", lambda: tiny_model_file.parent)
    monkeypatch.setenv(library.USER_FOLDER_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(
        "napari_damm.train.run_folder.trainings_folder", lambda: tmp_path / "trainings"
    )
    return tmp_path


@pytest.fixture
def fake_train(monkeypatch, own_folders, tiny_model_file):
    """Replace `napari_damm.api.fine_tune`, as the widget looks it up when it is clicked."""
    fake = FakeTrain(tiny_model_file)
    monkeypatch.setattr("napari_damm.api.fine_tune", fake)
    yield fake
    fake.resume.set()


@pytest.fixture
def open_trainer(qtbot, own_folders):
    """Open the Fine-tune widget on a viewer without a window, with three stains unless `empty`."""

    def open_(*, empty: bool = False) -> Driver:
        from napari.components import ViewerModel

        from napari_damm.widgets import TrainWidget

        viewer = ViewerModel()
        widget = TrainWidget(viewer)
        qtbot.addWidget(widget)
        widget.show()
        driver = Driver(viewer, qtbot, widget)
        if not empty:
            driver.add_images("vessels", "nuclei", "nanoparticles")
        return driver

    return open_


@pytest.fixture
def open_widget(qtbot):
    """Open the widget on a viewer without a window (fast), with two stains unless `empty`."""

    def open_(*, empty: bool = False) -> Driver:
        from napari.components import ViewerModel

        from napari_damm.widgets import PredictWidget

        viewer = ViewerModel()
        widget = PredictWidget(viewer)
        qtbot.addWidget(widget)
        widget.show()
        driver = Driver(viewer, qtbot, widget)
        if not empty:
            driver.add_stains()
        return driver

    return open_


@pytest.fixture
def open_analysis(qtbot):
    """Open the Analyze widget on a viewer without a window."""

    def open_(viewer) -> Driver:
        from napari_damm.widgets import AnalyzeWidget

        widget = AnalyzeWidget(viewer)
        qtbot.addWidget(widget)
        widget.show()
        return Driver(viewer, qtbot, widget)

    return open_


@pytest.fixture
def plugin() -> None:
    """Make sure that napari knows the plugin, installed or not."""
    manager = PluginManager.instance()
    manager.discover()
    if "napari-damm" not in manager:
        manager.register(PluginManifest.from_file(MANIFEST))


@pytest.fixture
def dock_widget(plugin, make_napari_viewer, qtbot):
    """Open a widget as napari does from its menu, in a real viewer (a new one if none is given)."""

    def dock(name: str = "Predict nanoparticles", viewer=None) -> Driver:
        viewer = viewer or make_napari_viewer()
        _, widget = viewer.window.add_plugin_dock_widget("napari-damm", name)
        return Driver(viewer, qtbot, widget)

    return dock

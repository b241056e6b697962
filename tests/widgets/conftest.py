"""A widget in a real viewer, and stand-ins for what is slow or must fail on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from driver import Driver
from fake_prediction import CARD, FakePredict
from fake_training import FakeTrain
from napari.components import ViewerModel
from npe2 import PluginManager, PluginManifest

import napari_damm
from napari_damm.model_file import ModelInfo

MANIFEST = Path(napari_damm.__file__).parent / "napari.yaml"


@pytest.fixture
def fake_predict(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePredict]:
    """Replace `napari_damm.api.predict`, as the widget looks it up when it is clicked."""
    fake = FakePredict()
    monkeypatch.setattr("napari_damm.api.predict", fake)
    yield fake
    fake.resume.set()


@pytest.fixture
def predicted(open_widget, fake_predict):
    """A widget with one finished (made-up) prediction; two of its four windows are unsure."""
    fake_predict.doubts = True
    driver = open_widget()
    driver.run()
    return driver


@pytest.fixture(autouse=True)
def one_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Offer one model, whatever is bundled or installed."""
    info = ModelInfo("tiny", tmp_path / "tiny.safetensors", CARD, bundled=True)
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [info])


@pytest.fixture(autouse=True)
def no_preferences(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither read nor change what somebody prefers, or measured, on this machine."""
    monkeypatch.setattr("napari_damm.widgets.preferences._page", lambda: None)
    monkeypatch.setattr("napari_damm.widgets.preferences._napari_plugins", lambda: None)
    file = tmp_path / "cache" / "timings.json"
    monkeypatch.setattr("napari_damm.widgets.predict.forecast.timings_file", lambda: file)


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


def open_beside(viewer, qtbot, name: str) -> Driver:
    """Show a widget of ours that works on a viewer."""
    import napari_damm.widgets

    widget = getattr(napari_damm.widgets, name)(viewer)
    qtbot.addWidget(widget)
    widget.show()
    return Driver(viewer, qtbot, widget)


@pytest.fixture
def open_trainer(qtbot, own_folders):
    """Open the Fine-tune widget on a viewer without a window, with three stains unless `empty`."""

    def open_(*, empty: bool = False) -> Driver:
        driver = open_beside(ViewerModel(), qtbot, "TrainWidget")
        if not empty:
            driver.add_images("vessels", "nuclei", "nanoparticles")
        return driver

    return open_


@pytest.fixture
def open_widget(qtbot):
    """Open the widget on a viewer without a window (fast), with two stains unless `empty`."""

    def open_(*, empty: bool = False) -> Driver:
        driver = open_beside(ViewerModel(), qtbot, "PredictWidget")
        if not empty:
            driver.add_stains()
        return driver

    return open_


@pytest.fixture
def open_analysis(qtbot):
    """Open the Analyze widget on a viewer without a window."""
    return lambda viewer: open_beside(viewer, qtbot, "AnalyzeWidget")


@pytest.fixture(scope="session")
def engine_model(tmp_path_factory):
    """A random model for the real engine, small enough for a few windows in seconds."""
    from models import random_model, tiny_config

    from napari_damm.model_file import save_model

    model = random_model(tiny_config(levels=(32,) * 4, unet=(32, 32)))
    model.card.update(name="tiny", pixel_size_um=1.0, training_data="nothing")
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    save_model(model, path)
    return ModelInfo("tiny", path, model.card, bundled=False)


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

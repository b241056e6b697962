"""What makes the plugin at home in a real napari: its menus, its Preferences, opening as it was."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from driver import LAYERS, Driver
from napari import settings as napari_settings
from qtpy.QtWidgets import QComboBox, QMenu, QSpinBox, QWidget

from napari_damm.simulate import simulate_slide, write_section
from napari_damm.widgets import preferences

get_plugin_settings = getattr(napari_settings, "get_plugin_settings", None)
REAL_PAGE = preferences._page
REAL_SETTINGS = preferences._napari_plugins
TITLE = "DAMM-Diffusion nanoparticles"
SIDE = 320
ROOT = Path(__file__).parents[2]
# QuPath has a menu File too, from which objects are exported
WAY = r"\*\*((?:File|Plugins) > (?!Export)[^*]+)\*\*"


@pytest.fixture
def viewer(plugin, make_napari_viewer, engine_model, monkeypatch):
    """A shown window."""
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [engine_model])
    monkeypatch.setattr("napari_damm.widgets.viewer.sample_data.SIZE_PX", SIDE)
    return make_napari_viewer(show=True)


def entry(menu: QMenu, *path: str):
    """Return the action at the end of a path of menus, as a person unfolds them."""
    for name in path:
        menu.aboutToShow.emit()
        action = next(each for each in menu.actions() if each.text().startswith(name))
        menu = action.menu()
    assert action.isEnabled()
    return action


def docked(viewer) -> list[str]:
    return [name.partition(" (")[0] for name in viewer.window.dock_widgets]


@pytest.mark.parametrize(
    ("menu", "path", "opens"),
    [
        ("layers_menu", ("Measure", "Analyze nanoparticles"), "Analyze nanoparticles"),
        ("layers_menu", ("Filter", "Predict nanoparticles"), "Predict nanoparticles"),
        ("layers_menu", ("Filter", "Fine-tune model"), "Fine-tune model"),
        ("plugins_menu", (TITLE, "Predict nanoparticles"), "Predict nanoparticles"),
        ("plugins_menu", (TITLE, "Fine-tune model"), "Fine-tune model"),
        ("plugins_menu", (TITLE, "Analyze nanoparticles"), "Analyze nanoparticles"),
    ],
)
def test_the_widgets_are_opened_from_the_menus(viewer, menu, path, opens):
    viewer.add_image(np.zeros((8, 8)))
    entry(getattr(viewer.window, menu), *path).trigger()
    assert docked(viewer) == [opens]


def test_the_menus_that_the_pages_name_are_there(viewer):
    viewer.add_image(np.zeros((8, 8)))  # without any nothing can be saved
    menus = {"File": viewer.window.file_menu, "Plugins": viewer.window.plugins_menu}
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    named = {way for page in pages for way in re.findall(WAY, page.read_text("utf-8"))}
    ways = [way.rstrip(".").split(" > ") for way in named]
    assert {way[0] for way in ways} == set(menus)
    for way in ways:
        entry(menus[way[0]], *way[1:])


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("Predict nanoparticles", "/predict"),
        ("Fine-tune model", "/fine-tune-in-napari"),
        ("Analyze nanoparticles", "/analyze"),
    ],
)
def test_help_is_a_click_away(viewer, dock_widget, monkeypatch, name, page):
    opened = []
    monkeypatch.setattr("napari_damm.widgets.help.QDesktopServices.openUrl", opened.append)
    dock_widget(name, viewer).click("help")
    assert opened[0].toString().endswith(page)


def test_the_sample_is_opened_from_its_menu(viewer):
    entry(viewer.window.file_menu, "Open Sample", "Simulated tumour section").trigger()
    assert [layer.name for layer in viewer.layers] == ["vessels", "nuclei", "nanoparticles"]


@pytest.fixture
def page(viewer, monkeypatch):
    """Our page in napari's Preferences, and whatever napari keeps of it; given back afterwards."""
    monkeypatch.setattr(preferences, "_page", REAL_PAGE)
    kept = REAL_PAGE()
    before = kept.model_dump()
    yield kept
    for name, value in before.items():
        setattr(kept, name, value)


def control_of(dialog: QWidget, title: str, kind: type) -> QWidget:
    """Return the control beside a label of our page."""
    rows = [dialog._list.item(row).text() for row in range(dialog._list.count())]
    dialog._list.setCurrentRow(rows.index(TITLE))
    form = next(
        each for each in dialog.findChildren(QWidget) if title in getattr(each, "widgets", {})
    )
    control = form.widgets[title]
    return control if isinstance(control, kind) else control.findChild(kind)


@pytest.mark.skipif(get_plugin_settings is None, reason="napari before 0.9 has no pages of plugins")
def test_what_the_preferences_say_is_what_predict_opens_with(viewer, page, dock_widget):
    dialog = viewer.window._open_preferences_dialog()
    control_of(dialog, "mode", QComboBox).setCurrentText("draft")
    control_of(dialog, "samples", QSpinBox).setValue(3)
    dialog.accept()
    assert (page.mode, page.samples) == ("draft", 3)
    driver = dock_widget(viewer=viewer)
    assert (driver.mode.currentText(), driver.samples.value()) == ("draft", 3)
    viewer.open_sample("napari-damm", "simulated_tumour_section")
    driver.mode.setCurrentText("fast")
    driver.samples.setValue(1)
    driver.run("predict")
    assert (page.mode, page.samples) == ("fast", 1)
    file = Path(get_plugin_settings("napari-damm").config_path)
    assert "mode: fast" in file.read_text()  # for the next session


LOOKS = (
    "name", "visible", "opacity", "blending", "contrast_limits", "editable", "locked",
    "scale", "translate", "units", "interpolation2d",
)  # fmt: skip


def looks(layer) -> dict[str, object]:
    """Say all that can be seen of a layer."""
    seen = {name: repr(getattr(layer, name, None)) for name in LOOKS}
    if hasattr(layer.colormap, "colors") and hasattr(layer, "contrast_limits"):
        seen["colours"] = (layer.colormap.name, np.round(layer.colormap.colors, 6).tolist())
    else:
        seen["colours"] = {k: tuple(v) for k, v in layer.colormap.color_dict.items()}
        seen["meanings"] = layer.features.to_dict()
    bar = getattr(layer, "colorbar", None)
    seen["bar"] = None if bar is None else bar.visible
    return seen


def test_a_result_opens_again_exactly_as_it_looked(viewer, dock_widget, tmp_path, monkeypatch):
    """Order, colours, legend, lock, colour bar, what is selected, whoever opens it how."""
    monkeypatch.setattr(preferences, "_napari_plugins", REAL_SETTINGS)
    monkeypatch.setattr("napari._qt.qt_viewer.handle_gui_reading", lambda *_, **__: 1 / 0)
    write_section(simulate_slide(SIDE, 10_001), tmp_path / "section.ome.tif")
    driver = dock_widget(viewer=viewer)
    assert "*.damm.ome.zarr/" in napari_settings.get_settings().plugins.extension2reader
    viewer.open(tmp_path / "section.ome.tif", plugin="napari-damm")
    store = tmp_path / "section.damm.ome.zarr"
    driver.out.setText(str(store))
    driver.mode.setCurrentText("draft")
    assert driver.run().startswith("Done in"), driver.status.text()
    before = state(driver)
    assert [each["name"] for each in before["layers"]] == [repr(name) for name in LAYERS]
    assert before["legend"]
    for reopen in (
        lambda: viewer.open(store, plugin=None),
        lambda: viewer.open(store, plugin="napari-damm"),
        lambda: viewer.window._qt_viewer._qt_open([str(store)], stack=False),
    ):
        for layer in [each for each in viewer.layers if "napari_damm" in each.metadata]:
            viewer.layers.remove(layer)
        assert not driver.result.isVisible()
        reopen()
        driver.qtbot.waitUntil(lambda: viewer.layers.selection.active.name == LAYERS[0])
        assert state(driver) == before


def state(driver: Driver) -> dict[str, object]:
    """Say all that can be seen of a result, in the layer list, on the canvas and in the panel."""
    layers = [layer for layer in driver.viewer.layers if "napari_damm" in layer.metadata]
    return {
        "layers": [looks(layer) for layer in layers],
        "pixels": [np.asarray(layer.data).tobytes() for layer in layers],
        "active": driver.viewer.layers.selection.active.name,
        "legend": driver.map_legend.text(),
        "record": driver.record.text(),
    }

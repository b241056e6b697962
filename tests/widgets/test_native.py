"""What makes the plugin at home in napari: preferences, the activity dock, the icon, opening."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import tifffile
from napari.utils.progress import progress

from napari_damm.engine.config import MAX_SAMPLES, MODES
from napari_damm.util.settings import DEVICES
from napari_damm.widgets import preferences as module
from napari_damm.widgets.preferences import preferences, remember

REAL_PAGE = module._page


class Page:
    """Stands for napari's page of our preferences."""

    mode, samples, device, output_folder = "fast", 3, "cpu", ""


@pytest.fixture
def page(monkeypatch):
    page = Page()
    monkeypatch.setattr(module, "_page", lambda: page)
    return page


def test_a_widget_opens_as_the_preferences_say(open_widget, page):
    driver = open_widget()
    assert driver.mode.currentText() == "fast"
    assert driver.samples.value() == 3
    assert driver.device.currentText() == "cpu"


def test_what_was_used_last_is_kept_for_the_next_session(open_widget, page, fake_predict):
    driver = open_widget()
    driver.mode.setCurrentText("draft")
    driver.samples.setValue(1)
    driver.run()
    assert (page.mode, page.samples, page.device) == ("draft", 1, "cpu")


def test_a_preference_that_this_machine_cannot_have_is_left(open_widget, page):
    page.device = "abacus"
    assert open_widget().device.currentText() == "auto"


def test_the_preferred_folder_is_suggested(open_widget, page, plugin, tmp_path):
    page.output_folder = str(tmp_path / "results")
    (tmp_path / "results").mkdir()
    tifffile.imwrite(tmp_path / "cd31.tif", np.zeros((64, 64), np.uint8))
    driver = open_widget(empty=True)
    driver.viewer.open(str(tmp_path / "cd31.tif"), plugin="napari")
    assert driver.out.text() == str(tmp_path / "results" / "cd31.damm.ome.zarr")


def test_without_a_page_there_are_no_preferences(monkeypatch):
    monkeypatch.setattr(module, "_page", lambda: None)
    assert preferences() == {}
    remember({"mode": "fast"})


def test_napari_makes_the_page_of_the_manifest(plugin, tmp_path):
    settings = pytest.importorskip("napari.settings")
    if not hasattr(settings, "get_plugin_settings"):
        pytest.skip("napari before 0.9 has no pages of plugins")
    found = REAL_PAGE()
    assert found.mode in MODES
    assert 1 <= found.samples <= MAX_SAMPLES
    assert found.device in DEVICES


def test_a_run_is_in_the_activity_dock_and_can_be_cancelled_there(open_widget, fake_predict):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    (entry,) = [each for each in progress._all_instances if each.desc.startswith("The prediction")]
    with driver.qtbot.waitSignal(driver.widget.ended):
        entry.is_canceled = True  # as its button does
    assert driver.status.text().startswith("Cancelled")
    assert entry not in progress._all_instances


def test_the_manifest_s_icon_is_in_the_package(plugin):
    from npe2 import PluginManager

    icon = PluginManager.instance().get_manifest("napari-damm").icon
    package, name = str(icon).split(":")
    assert resources.files(package).joinpath(name).is_file()


def test_the_help_opens_its_page(open_widget, monkeypatch):
    opened = []
    monkeypatch.setattr("napari_damm.widgets.help.QDesktopServices.openUrl", opened.append)
    open_widget().click("help")
    assert opened[0].toString().endswith("/predict")

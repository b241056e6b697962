"""Results, OME-TIFFs and OME-Zarrs open in napari without the question who reads them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr
from driver import LAYERS
from napari.components import ViewerModel
from napari.errors import MultipleReaderError
from napari.settings import get_settings
from npe2 import DynamicPlugin

from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.widgets import preferences
from napari_damm.widgets.preferences import RESULT_PATTERN, open_results_unasked

REAL_SETTINGS = preferences._napari_plugins


@pytest.fixture
def settings(monkeypatch, plugin):
    """The part of napari's settings that says which plugin reads what."""
    monkeypatch.setattr(preferences, "_napari_plugins", lambda: get_settings().plugins)
    kept = get_settings().plugins
    before = dict(kept.extension2reader)
    kept.extension2reader = {}
    yield kept
    kept.extension2reader = before


def result(path):
    """Write a result of one shard."""
    layout = ResultLayout((100, 100), 2.0)
    with ResultStore.create(path, layout, {"seed": 3}) as store:
        cells = np.ones(layout.cells_shape, np.float32)
        image = np.ones(layout.shape, np.float32)
        store.write_shard(0, 0, ShardMaps(image, cells, cells.astype(np.uint8)))
        store.finish({"finished": "now"})
    return str(path)


def names(path) -> list[str]:
    """Open a folder as the window does for what is dropped on it or named on its command line."""
    return [layer.name for layer in ViewerModel().open(path, plugin=None)]


def test_a_result_opens_without_a_question_once_napari_has_met_us(settings, open_widget, tmp_path):
    paths = [result(tmp_path / name) for name in ("section.damm.ome.zarr", "other.ome.zarr")]
    for path in paths:
        with pytest.raises(MultipleReaderError):
            names(path)
    open_widget()
    for path in paths:
        assert names(path) == LAYERS
        assert names(path + "/") == LAYERS


def test_a_result_that_was_chosen_once_opens_alone_the_next_time(settings, tmp_path):
    path = result(tmp_path / "section.damm.ome.zarr")
    ViewerModel().open(path, plugin="napari-damm")
    assert names(path) == LAYERS


def test_napari_goes_on_asking_about_all_other_folders(settings, tmp_path):
    open_results_unasked()
    zarr.create_array(tmp_path / "other.zarr", shape=(4, 4), dtype="u1")
    (tmp_path / "damm").mkdir()
    for path in (tmp_path / "other.zarr", tmp_path / "damm"):
        with pytest.raises(MultipleReaderError):
            names(path)


def test_other_people_s_ome_zarr_opens_as_without_us(settings, tmp_path):
    open_results_unasked()
    for name in ("other.ome.zarr", "other.damm.ome.zarr"):
        made = zarr.create_array(tmp_path / name, shape=(4, 5), dtype="u1")
        made[:] = 7
        (ours,) = ViewerModel().open(tmp_path / name, plugin=None)
        (own,) = ViewerModel().open(tmp_path / name, plugin="napari")
        np.testing.assert_array_equal(np.asarray(ours.data), np.asarray(own.data))


def test_another_choice_for_such_names_is_left(settings):
    chosen = {RESULT_PATTERN: "napari", "*.tif": "napari", "*.ome.tiff": "napari"}
    chosen["*.zarr/"] = "napari"
    settings.extension2reader = chosen
    open_results_unasked()
    assert settings.extension2reader == chosen


def test_the_preference_takes_it_back(settings, monkeypatch):
    open_results_unasked()
    ours = (RESULT_PATTERN, "*.ome.tif", "*.ome.tiff", "*.ome.zarr/")
    assert settings.extension2reader == dict.fromkeys(ours, "napari-damm")
    monkeypatch.setattr(preferences, "_page", lambda: SimpleNamespace(open_results=False))
    open_results_unasked()
    assert settings.extension2reader == {}


def test_other_people_s_ome_tiff_opens_without_a_question(settings, open_widget, tmp_path):
    """A stack as by napari's own reader, which we hand it on to; a section by ours."""
    stack, section = tmp_path / "stack.ome.tif", tmp_path / "section.ome.tif"
    tifffile.imwrite(stack, np.zeros((5, 64, 80), np.uint8), metadata={"axes": "ZYX"})
    metadata = {"axes": "CYX", "Channel": {"Name": ["CD31", "DAPI"]}}
    tifffile.imwrite(
        section, np.zeros((2, 64, 80), np.uint8), metadata=metadata, photometric="minisblack"
    )
    with pytest.raises(MultipleReaderError):
        names(stack)
    open_widget()
    (layer,) = ViewerModel().open(stack, plugin=None)
    assert layer.data.shape == (5, 64, 80)
    assert names(section) == ["CD31", "DAPI"]


def test_where_a_third_plugin_reads_ome_tiffs_napari_goes_on_asking(settings):
    with DynamicPlugin("other-reader") as other:

        @other.contribute.reader(filename_patterns=["*.ome.tif"], accepts_directories=True)
        def get_reader(path):
            return None

        open_results_unasked()
    assert "*.ome.tif" not in settings.extension2reader
    assert "*.ome.zarr/" not in settings.extension2reader
    assert settings.extension2reader[RESULT_PATTERN] == "napari-damm"
    assert settings.extension2reader["*.ome.tiff"] == "napari-damm"


def test_settings_that_cannot_be_read_stop_nobody(monkeypatch):
    monkeypatch.setattr("napari.settings.get_settings", lambda: 1 / 0)
    monkeypatch.setattr(preferences, "_napari_plugins", REAL_SETTINGS)
    open_results_unasked()


def test_the_window_shows_what_is_dropped_without_its_dialog(
    settings, make_napari_viewer, monkeypatch, tmp_path
):
    def ask(*_, **__):
        raise AssertionError("it asks which plugin is to read it")

    monkeypatch.setattr("napari._qt.qt_viewer.handle_gui_reading", ask)
    viewer = make_napari_viewer()
    get_settings().plugins.extension2reader = {}
    open_results_unasked()
    path = result(tmp_path / "section.damm.ome.zarr")
    viewer.window._qt_viewer._qt_open([path], stack=False)
    assert [layer.name for layer in viewer.layers] == LAYERS
    stack = tmp_path / "stack.ome.tif"
    tifffile.imwrite(stack, np.zeros((5, 64, 80), np.uint8), metadata={"axes": "ZYX"})
    viewer.window._qt_viewer._qt_open([str(stack)], stack=False)
    assert viewer.layers[-1].data.shape == (5, 64, 80)

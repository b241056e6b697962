"""What the Predict widget promises, one thing per test, in a real napari with the real engine."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from driver import LAYERS, Driver, job_threads
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QMessageBox
from test_controls import scroll_over

from napari_damm import api
from napari_damm.events import Tile
from napari_damm.widgets.viewer.camera import camera_of

SIDE = 320  # px of the sample, so that there are four windows


@pytest.fixture
def driver(dock_widget, make_napari_viewer, engine_model, monkeypatch):
    """The docked widget in a shown window, beside the sample, ready for a draft prediction."""
    monkeypatch.setattr("napari_damm.model_file.list_models", lambda: [engine_model])
    monkeypatch.setattr("napari_damm.widgets.viewer.sample_data.SIZE_PX", SIDE)
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)  # older ones of napari begin smaller, with no room for a canvas
    driver = dock_widget(viewer=viewer)
    driver.viewer.open_sample("napari-damm", "simulated_tumour_section")
    driver.mode.setCurrentText("draft")
    return driver


def shape_of(driver: Driver, name: str) -> tuple[int, ...]:
    return tuple(np.asarray(driver.viewer.layers[name].data).shape)


def seen(driver: Driver) -> list[str]:
    return [layer.name for layer in driver.viewer.layers if layer.visible]


def test_before_it_says_what_it_takes_and_a_preview_follows_the_view(driver):
    assert driver.forecast.text().endswith("(up to 4 windows)")
    assert driver.run("preview").startswith("Preview of one window, at the centre of the view.")
    first = driver.viewer.layers["Preview"].extent.world.mean(0)
    camera_of(driver.viewer).center = (0, 310, 310)
    driver.run("preview")
    second = driver.viewer.layers["Preview"].extent.world.mean(0)
    assert (second > first).all()
    assert [layer.name for layer in driver.viewer.layers].count("Preview") == 1
    driver.run()
    driver.mode.setCurrentText("fast")
    driver.mode.setCurrentText("draft")
    assert driver.forecast.text().startswith("about ")


def test_what_the_screen_shows_is_what_is_predicted(driver):
    camera_of(driver.viewer).center = (0, 60, 60)
    camera_of(driver.viewer).zoom *= 4
    driver.click("current_view")
    assert driver.region.currentText() == "Current view"
    driver.run()
    rows, cols = shape_of(driver, "NP distribution")
    assert 10 < rows < SIDE
    assert 10 < cols < SIDE
    record = driver.viewer.layers["NP distribution"].metadata["napari_damm"]
    assert record["region_name"] == "Current view"
    assert driver.viewer.layers["Current view"].visible  # an outline
    assert "of 'Current view'" in driver.record.text()
    driver.viewer.layers.remove("Current view")
    assert not driver.predict.isEnabled()
    assert "marks no region any more" in driver.reason.text()


def test_pixels_of_50_um_ask_before_hours_are_begun(driver, monkeypatch):
    """A slip of the unit makes a section of 0.1 mm one of 2 cm."""
    asked, answers = [], []

    def question(_, __, text):
        asked.append(text)
        return answers.pop(0)

    monkeypatch.setattr(QMessageBox, "question", question)
    driver.pixel_size.setValue(50.0)
    driver.mode.setCurrentText("reference")
    assert "h " in driver.forecast.text()
    answers[:] = [QMessageBox.StandardButton.No]
    driver.click("predict")
    assert asked == ["Pixels of 50 µm are larger than any microscope's. Start with them?"]
    answers[:] = [QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No]
    driver.click("predict")
    assert asked[-1].startswith("This may take hours: roughly ")
    assert asked[-1].endswith("with pixels of 50 µm. Start it?")
    assert not answers
    assert not driver.widget.running
    assert [layer.name for layer in driver.viewer.layers] == ["vessels", "nuclei", "nanoparticles"]


@pytest.mark.parametrize("corner", [0, SIDE - 1])
def test_tiles_nearest_the_view_come_first(driver, monkeypatch, corner):
    camera_of(driver.viewer).center = (0, corner, corner)
    predict, tiles = api.predict, []

    def noted(*arguments, **options):
        for event in predict(*arguments, **options):
            if isinstance(event, Tile):
                tiles.append((event.y + event.np.shape[0] / 2, event.x + event.np.shape[1] / 2))
            yield event

    monkeypatch.setattr(api, "predict", noted)
    monkeypatch.setattr("napari_damm.engine.config.default_batch", lambda *_: 1)
    monkeypatch.setattr("napari_damm.engine.config.default_samplers", lambda *_: 1)
    driver.run()
    away = [np.hypot(y - corner, x - corner) for y, x in tiles]
    assert len(away) == 4
    assert away[0] == min(away)
    assert away[-1] == max(away)


def test_the_form_is_settled_while_it_runs_and_forgets_what_is_over(driver):
    driver.click("predict")
    for name in ("vessels", "nuclei", "pixel_size", "region", "model", "mode", "out", "preview"):
        assert not getattr(driver, name).isEnabled(), name
    with driver.qtbot.waitSignal(driver.widget.ended, timeout=60_000):
        pass
    assert driver.status.text().startswith("Done in")
    assert driver.mode.isEnabled()
    driver.viewer.window._qt_window.activateWindow()
    for name in ("mode", "pixel_size", "model"):
        control = getattr(driver, name)
        control.clearFocus()
        before = control.property("currentText") or control.property("value")
        scroll_over(control)
        assert (control.property("currentText") or control.property("value")) == before
    driver.click("swap")
    assert driver.status.text() == ""
    assert driver.progress.value() == 0


def test_every_shape_and_every_label_is_a_region(driver):
    triangle, ellipse = [[20, 20], [20, 90], [90, 20]], [[150, 150], [150, 250], [250, 250]]
    viewer = driver.viewer
    shapes = viewer.add_shapes(name="drawn", units="um")
    shapes.add_polygons([triangle])
    shapes.add_ellipses([[*ellipse, [250, 150]]])
    painted = np.zeros((SIDE, SIDE), np.uint8)
    painted[40:200, 100:140] = 3
    viewer.add_labels(painted, name="painted", scale=(1, 1), units="um")
    for name, inside, outside in (
        ("drawn", (40, 40), (85, 85)),
        ("painted", (100, 120), (100, 200)),
    ):
        driver.region.setCurrentText(name)
        driver.run()
        layer = next(each for each in viewer.layers if each.name.startswith("NP") and each.visible)
        values = np.asarray(layer.data)
        at = [
            tuple(np.round(layer.world_to_data(place)).astype(int)) for place in (inside, outside)
        ]
        assert values[at[0]] != 0
        assert not all(0 <= k < n for k, n in zip(at[1], values.shape, strict=True)) or (
            values[at[1]] == 0
        )
        record = layer.metadata["napari_damm"]
        assert record["areas"]["name"] == record["region_name"] == name
        assert f"of '{name}'" in driver.record.text()
        assert not viewer.layers[name].visible  # filled, it would wash the map out


def test_the_activity_dock_cancels_and_the_maps_say_that_a_part_is_missing(driver):
    from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar

    driver.mode.setCurrentText("reference")
    driver.click("predict")
    driver.wait_for(lambda: "left" in driver.progress.text())
    dialog = driver.viewer.window._qt_window._activity_dialog
    (entry,) = [
        bar
        for bar in dialog.findChildren(QtLabeledProgressBar)
        if "The prediction" in bar.description_label.text()
    ]
    assert driver.viewer.layers["NP distribution"].editable is False
    with driver.qtbot.waitSignal(driver.widget.ended, timeout=60_000):
        driver.qtbot.mouseClick(entry.cancel_button, Qt.MouseButton.LeftButton)
    assert driver.status.text().startswith("Cancelled")
    assert not job_threads()
    assert driver.predict.isEnabled()


def test_throwing_the_layers_away_ends_the_run_and_the_next_one_works(driver):
    driver.mode.setCurrentText("reference")
    driver.click("predict")
    driver.wait_for(lambda: "left" in driver.progress.text())
    with driver.qtbot.waitSignal(driver.widget.ended, timeout=60_000):
        for name in [layer.name for layer in driver.viewer.layers if layer.name in LAYERS]:
            driver.viewer.layers.remove(name)
    assert driver.status.text().startswith("Cancelled")
    driver.mode.setCurrentText("draft")
    assert driver.run().startswith("Done in")


@pytest.mark.slow
def test_a_second_run_hides_the_first_and_both_can_be_subtracted(driver):
    driver.run()
    driver.mode.setCurrentText("fast")
    driver.run()
    second = "NP distribution (fast, tiny, 2)"
    assert [name for name in seen(driver) if name.startswith("NP")] == [second]
    driver.click("difference")
    assert "red is more" in driver.result_answer.text()
    layer = driver.viewer.layers[f"{second} − NP distribution"]
    assert not hasattr(layer, "colorbar") or layer.colorbar.visible
    difference = np.asarray(layer.data)
    first = np.asarray(driver.viewer.layers["NP distribution"].data, np.float32)
    np.testing.assert_allclose(
        difference, np.asarray(driver.viewer.layers[second].data, np.float32) - first, atol=1e-3
    )


def test_doubt_is_hidden_shown_and_read_under_the_cursor(driver):
    driver.run()
    certainty = 1 - np.asarray(driver.viewer.layers["Uncertainty"].data)
    driver.least_sure.setValue(round(100 * float(np.median(certainty))))
    assert "%" in driver.share_left.text()
    cover = [name for name in seen(driver) if name not in ("vessels", "nuclei", *LAYERS)]
    assert len(cover) == 1
    driver.click("sure_map")
    (masked,) = [
        layer
        for layer in driver.viewer.layers
        if layer.metadata.get("napari_damm_map") == "sure map"
    ]
    whole = np.asarray(driver.viewer.layers["NP distribution"].data)
    kept = np.asarray(masked.data)
    assert 0 < np.count_nonzero(kept) < np.count_nonzero(whole)
    np.testing.assert_array_equal(kept[kept != 0], whole[kept != 0])
    driver.least_sure.setValue(0)
    driver.click("place")
    assert "Least sure place" in driver.viewer.layers
    driver.viewer.cursor.position = (100, 100)
    driver.wait_for(lambda: "sure" in driver.values.text())
    assert driver.values.text().startswith("Under the cursor: NP ")


def test_what_is_there_is_saved_and_opens_as_it_was(driver, tmp_path, monkeypatch):
    driver.run()
    shown = np.asarray(driver.viewer.layers["NP distribution"].data)
    saved = (
        ("kept.ome.zarr", "save_result"), ("figure.png", "figure"), ("figure.svg", "figure"),
    )  # fmt: skip
    for name, button in saved:
        path = tmp_path / name
        chosen = lambda *_, path=path, **__: (str(path), "")  # noqa: E731
        monkeypatch.setattr(QFileDialog, "getSaveFileName", chosen)
        driver.click(button)
        assert path.exists(), driver.result_answer.text()
    np.testing.assert_array_equal(np.asarray(api.open_result(tmp_path / "kept.ome.zarr").np), shown)
    written = driver.viewer.layers["NP distribution"].save(
        str(tmp_path / "map.ome.tif"), plugin="napari-damm"
    )
    assert written
    with tifffile.TiffFile(written[0]) as tiff:
        np.testing.assert_array_equal(tiff.asarray(), shown.astype(np.float32))
        assert 'PhysicalSizeX="1.0"' in tiff.ome_metadata
        assert tiff.asarray().dtype == np.float32
    layer = driver.viewer.layers["NP distribution"]
    (copy,) = layer.save(str(tmp_path / "copy.ome.zarr"), plugin="napari-damm")
    np.testing.assert_array_equal(np.asarray(api.open_result(copy).np), shown)
    driver.viewer.layers.clear()
    driver.viewer.open(tmp_path / "kept.ome.zarr", plugin="napari-damm")
    assert [layer.name for layer in driver.viewer.layers] == LAYERS
    assert driver.viewer.layers["NP distribution"].colormap.name == "inferno"
    assert driver.result.isVisible()
    for words in ("Model: tiny", "Mode: draft", "seed 0", "Pixels: 1 µm", "torch"):
        assert words in driver.record.text()

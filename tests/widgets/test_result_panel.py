"""What can be done with a prediction that is there: record, copies, saving, doubt, difference."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_damm import api
from napari_damm.util.areas import Areas
from napari_damm.widgets.viewer.camera import camera_of
from napari_damm.widgets.viewer.result_figure import draw
from napari_damm.widgets.viewer.result_tools import runs_in
from napari_damm.widgets.viewer.roles import RESULT_KEY


def clipboard() -> str:
    return QApplication.clipboard().text()


def test_there_is_no_panel_before_there_is_a_result(open_widget):
    assert not open_widget().result.isVisible()


def test_the_record_says_how_the_layer_was_made(predicted):
    assert predicted.result.isVisible()
    said = predicted.record.text()
    for words in ("Model: tiny", "Mode: draft, 8 steps, seed 3", "the whole image", "torch 2"):
        assert words in said


def test_a_legend_says_what_the_colours_of_all_maps_mean(predicted):
    said = predicted.map_legend.text()
    assert "the dark and bright ends of the images trained on" in said
    for name in ("NP distribution", "Uncertainty", "Branch"):
        assert f"<b>{name}</b>" in said
    assert "Familiarity" not in said
    assert "multi-modal: vessels and nuclei" in said


def test_the_panel_follows_the_selected_layer(predicted):
    predicted.run()
    layers = predicted.viewer.layers
    layers.selection.active = layers["NP distribution"]
    assert predicted.result_title.text() == "NP distribution"
    layers.selection.active = layers["vessels"]
    assert predicted.result_title.text() == "NP distribution (draft, tiny, 2)"


def test_removing_the_layers_takes_the_panel_away(predicted):
    for name in ("NP distribution", "Uncertainty", "Branch"):
        predicted.viewer.layers.remove(name)
    assert not predicted.result.isVisible()


def test_python_for_layers_without_a_file_takes_the_layers(predicted):
    predicted.click("copy_python")
    assert "viewer.layers['vessels'].data" in clipboard()
    compile(clipboard(), "<copied>", "exec")


def test_a_command_for_layers_without_a_file_is_refused_in_a_sentence(predicted):
    predicted.click("copy_command")
    assert predicted.result_answer.text() == (
        "'vessels' (vessels) was opened from no file: save it, open it from there and predict that"
    )


@pytest.mark.parametrize(("name", "begins"), [("map.png", b"\x89PNG"), ("map.svg", b"<?xml")])
def test_a_figure_for_slides_is_saved(predicted, tmp_path, monkeypatch, name, begins):
    path = tmp_path / name
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    predicted.click("figure")
    assert predicted.result_answer.text() == f"Saved to {path}"
    assert path.read_bytes().startswith(begins)


def test_a_figure_has_a_scale_bar_and_an_outline_where_a_part_was_predicted(predicted):
    (run,) = runs_in(predicted.viewer.layers)
    cells = np.array(run.maps["Branch"].data)
    cells[:, : cells.shape[1] // 2] = 0
    run.maps["Branch"].data = cells
    ax, bar = draw(run).axes
    assert [text.get_text() for text in ax.texts] == ["200 µm"]
    assert bar.get_ylabel().startswith("predicted nanoparticles")
    (outline,) = ax.collections
    xs = outline.get_paths()[0].vertices[:, 0]
    assert xs.min() == pytest.approx(64 * (cells.shape[1] // 2), abs=2)


def test_the_outline_of_a_figure_is_that_of_the_areas(predicted):
    (run,) = runs_in(predicted.viewer.layers)
    outline = ((10.0, 20.0), (10.0, 50.0), (40.0, 50.0), (40.0, 20.0))
    asked = {"areas": Areas(((outline,),)).to_json()}
    sizes = {"slide_pixel_size_um": 1.0, "pixel_size_um": 1.0}
    run.np.metadata = {**run.np.metadata, RESULT_KEY: {"mode": "expected", **asked, **sizes}}
    (line,) = draw(run).axes[0].collections  # in um, two to a pixel
    y, x = line.get_paths()[0].vertices[:, ::-1].T
    assert [y.min(), y.max(), x.min(), x.max()] == pytest.approx([0, 60, 0, 60], abs=1)


# ---------------------------------------------------------------- how sure


def test_what_is_less_sure_is_covered_and_the_share_is_said(predicted):
    predicted.least_sure.setValue(60)
    assert "50 % of the tissue is left" in predicted.share_left.text()
    cover = predicted.viewer.layers["Less than 60 % sure"]
    branch = predicted.viewer.layers["Branch"]
    np.testing.assert_allclose(cover.translate, branch.translate)
    assert cover.data.mean() == 0.5
    predicted.least_sure.setValue(90)
    assert "0 % of the tissue is left" in predicted.share_left.text()
    assert [layer.name for layer in predicted.viewer.layers].count("Less than 90 % sure") == 1
    predicted.least_sure.setValue(0)
    assert not [layer for layer in predicted.viewer.layers if "sure" in layer.name]


def test_the_sure_part_can_be_kept_as_a_layer(predicted):
    assert not predicted.sure_map.isEnabled()
    predicted.least_sure.setValue(60)
    predicted.click("sure_map")
    kept = predicted.viewer.layers["NP distribution, 60 % sure or surer"]
    whole = predicted.viewer.layers["NP distribution"]
    values, all_values = np.asarray(kept.data), np.asarray(whole.data)
    sure = np.asarray(predicted.viewer.layers["Uncertainty"].data) < 0.4
    mask = sure.repeat(32, 0).repeat(32, 1)[:448, :448]
    np.testing.assert_array_equal(values, np.where(mask, all_values, 0))
    np.testing.assert_allclose(kept.translate, whole.translate)
    assert not whole.visible


@pytest.fixture
def assessed(open_widget, fake_predict):
    """A finished prediction of four windows: two to use, one with care, one not at all."""
    fake_predict.familiar = fake_predict.doubts = True
    driver = open_widget()
    driver.run()
    return driver


def test_the_slider_goes_by_trust_where_there_is_a_trust_map(assessed):
    assert assessed.hide_by.currentText() == "not trusted"
    assert assessed.least_sure.maximum() == 2
    assert assessed.share_left.text() == "all is shown"
    assessed.least_sure.setValue(1)
    assert assessed.share_left.text() == "“do not use” is hidden: 75 % of the tissue is left"
    assert assessed.viewer.layers["Not to be used"].data.mean() == 0.25
    assessed.least_sure.setValue(2)
    assert assessed.share_left.text() == (
        "“with care” and “do not use” are hidden: 50 % of the tissue is left"
    )
    assert assessed.viewer.layers["Not to be used, or with care"].data.mean() == 0.5
    assert "Not to be used" not in assessed.viewer.layers


def test_what_is_trusted_can_be_kept_as_a_layer(assessed):
    assessed.least_sure.setValue(2)
    assessed.click("sure_map")
    kept = assessed.viewer.layers["NP distribution, use alone"]
    whole = np.asarray(assessed.viewer.layers["NP distribution"].data)
    assessed.click("trust_map")
    worth = np.asarray(assessed.viewer.layers["Trust"].data)
    mask = (worth == 1).repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(np.asarray(kept.data), np.where(mask, whole, 0))
    assert kept.metadata["napari_damm"]["hidden"] == "“with care” and “do not use” are hidden"


def test_another_rule_begins_with_all_shown(assessed):
    assessed.least_sure.setValue(2)
    assessed.hide_by.setCurrentText("less sure than")
    assert (assessed.least_sure.value(), assessed.least_sure.maximum()) == (0, 100)
    assert assessed.share_left.text() == "all is shown"
    assert not [layer for layer in assessed.viewer.layers if layer.name.startswith("Not to be")]


def test_coming_back_to_a_run_shows_all_of_it(assessed):
    layers = assessed.viewer.layers
    assessed.least_sure.setValue(1)
    assessed.run()
    assert "Not to be used" in layers
    layers.selection.active = layers["NP distribution"]
    assert "Not to be used" not in layers
    assert (assessed.least_sure.value(), assessed.share_left.text()) == (0, "all is shown")


def test_without_a_trust_map_there_is_certainty_alone(predicted):
    rules = [predicted.hide_by.itemText(row) for row in range(predicted.hide_by.count())]
    assert rules == ["less sure than"]
    assert "which images it knows" in predicted.hide_by.toolTip()


def test_a_rule_that_was_in_use_stays_when_the_run_finishes(open_widget, fake_predict):
    fake_predict.familiar, fake_predict.pause_after = True, 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    driver.least_sure.setValue(60)
    with driver.qtbot.waitSignal(driver.widget.ended):
        fake_predict.resume.set()
    assert (driver.hide_by.currentText(), driver.hide_by.count()) == ("less sure than", 2)
    assert driver.least_sure.value() == 60


def test_the_least_sure_place_is_shown_then_the_next(predicted):
    uncertainty = predicted.viewer.layers["Uncertainty"]
    cells = np.asarray(uncertainty.data).copy()
    cells[10, 3], cells[2, 12] = 0.99, 0.98
    uncertainty.data = cells
    centres = []
    for _ in range(2):
        predicted.click("place")
        centres.append(tuple(camera_of(predicted.viewer).center[-2:]))
    np.testing.assert_allclose(centres[0], uncertainty.data_to_world((10, 3)))
    np.testing.assert_allclose(centres[1], uncertainty.data_to_world((2, 12)))
    frames = [layer for layer in predicted.viewer.layers if layer.name == "Least sure place"]
    assert len(frames) == 1
    corners = frames[0].data[0]
    np.testing.assert_allclose(corners.mean(0), centres[1])
    np.testing.assert_allclose(np.ptp(corners, axis=0), uncertainty.scale)
    assert predicted.region.findText("Least sure place") == -1
    assert predicted.result_title.text() == "NP distribution"


def test_what_each_place_is_worth_becomes_a_layer(open_widget, fake_predict):
    fake_predict.familiar = fake_predict.doubts = True
    predicted = open_widget()
    predicted.run()
    predicted.click("trust_map")
    layer = predicted.viewer.layers["Trust"]
    # two windows to use, one whose images disagree, one unlike all that the model knows
    assert set(np.unique(layer.data)) == {1, 2, 3, 4}
    assert layer.features["worth"].tolist() == ["use", "with care", "do not use", "with care"]
    striped, whole = (layer.data == 2).mean(), np.isin(layer.data, (2, 4)).mean()
    assert striped == whole / 4
    np.testing.assert_allclose(layer.get_color(3)[:3], (0x15 / 255, 0x65 / 255, 1), atol=0.01)
    assert layer.get_color(4) is None or not layer.get_color(4)[3]
    assert "blue is do not use, cyan stripes" in predicted.result_answer.text()
    layer.visible = False
    predicted.click("trust_map")
    assert layer.visible
    assert [each.name for each in predicted.viewer.layers].count("Trust") == 1


def test_the_trust_map_ends_where_the_picture_does(assessed):
    np_map = assessed.viewer.layers["NP distribution"]
    np_map.data = np.asarray(np_map.data)[:, :420]  # 13 cells and 4 pixels of the next
    assessed.click("trust_map")
    layer = assessed.viewer.layers["Trust"]
    for end in (0, 1):  # extents are of pixel centres
        half = np.array([1, -1])[end] * (layer.scale - np_map.scale) / 2
        np.testing.assert_allclose(
            layer.extent.world[end] - half, np_map.extent.world[end], atol=4.0
        )
    assert layer.data.shape == (112, 105)


def test_a_run_that_was_not_assessed_says_so(predicted):
    predicted.click("trust_map")
    assert predicted.result_answer.text() == (
        "Not assessed: the model does not say which images it knows"
    )


def test_values_under_the_cursor_are_said_in_words(predicted):
    predicted.viewer.cursor.position = (100.0, 100.0)
    said = "Under the cursor: NP 0.25, 80 % sure, nuclei not trusted"
    predicted.wait_for(lambda: predicted.values.text() == said)
    predicted.viewer.cursor.position = (-50.0, 100.0)
    predicted.wait_for(lambda: predicted.values.text() == "")


def test_the_difference_of_two_runs(predicted, fake_predict):
    assert not predicted.difference.isVisible()
    fake_predict.gain = 0.5
    predicted.run()
    predicted.click("difference")
    layer = predicted.viewer.layers[-1]
    assert "−" in layer.name
    assert predicted.viewer.layers.selection.active is not layer
    first, second = (np.asarray(run.np.data) for run in runs_in(predicted.viewer.layers))
    np.testing.assert_allclose(layer.data, second - first)


# ---------------------------------------------------------------- saving


def test_save_writes_the_whole_result(predicted, tmp_path, monkeypatch):
    path = tmp_path / "mine.ome.zarr"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    predicted.click("save_result")
    assert predicted.result_answer.text() == f"Saved to {path}"
    saved = api.open_result(path)
    shown = np.asarray(predicted.viewer.layers["NP distribution"].data)
    np.testing.assert_array_equal(np.asarray(saved.np), shown)
    assert saved.complete
    predicted.click("save_result")
    assert "mine.ome.zarr exists already" in predicted.result_answer.text()


def test_save_writes_one_map_as_tiff(predicted, tmp_path, monkeypatch):
    path = tmp_path / "map.ome.tif"
    chosen = (str(path), "Uncertainty (*.ome.tif)")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: chosen)
    predicted.click("save_result")
    np.testing.assert_allclose(
        tifffile.imread(path), np.asarray(predicted.viewer.layers["Uncertainty"].data), atol=1e-3
    )


def test_a_run_that_was_cancelled_cannot_be_saved_as_a_whole(
    open_widget, fake_predict, tmp_path, monkeypatch
):
    fake_predict.pause_after = 2
    driver = open_widget()
    driver.click("predict")
    driver.wait_for(lambda: "2 of 4 windows" in driver.progress.text())
    driver.cancel_run()
    path = tmp_path / "half.ome.zarr"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    driver.click("save_result")
    assert "no finished prediction" in driver.result_answer.text()
    assert not path.exists()


@pytest.mark.parametrize(("name", "dtype"), [("NP distribution", "f4"), ("Branch", "u1")])
def test_napari_saves_a_layer_as_ome_tiff(predicted, plugin, tmp_path, name, dtype):
    path = tmp_path / "layer.ome.tif"
    layer = predicted.viewer.layers[name]
    from napari.plugins.io import save_layers

    assert save_layers(str(path), [layer]) == [str(path)]
    with tifffile.TiffFile(path) as file:
        assert file.series[0].dtype == dtype
        assert f'PhysicalSizeX="{layer.scale[-1]}"' in file.ome_metadata
    np.testing.assert_array_equal(tifffile.imread(path), np.asarray(layer.data))


def test_napari_saves_a_result_as_ome_zarr(predicted, plugin, tmp_path):
    from napari.plugins.io import save_layers

    path = tmp_path / "result.ome.zarr"
    assert save_layers(str(path), [predicted.viewer.layers["NP distribution"]]) == [str(path)]
    assert api.open_result(path).record["mode"] == "draft"

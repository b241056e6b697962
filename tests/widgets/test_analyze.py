"""The widget "Analyze nanoparticles", used as a person would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from particle_maps import straight_vessel

from napari_damm.analysis.cautions import UNREAD
from napari_damm.widgets.analyze.preview import MASK_LAYER, SHELL_LAYER
from napari_damm.widgets.analyze.results import cautions

RIGHT = np.array([0, 150])
SQUARE = np.array([[10, 20], [10, 320], [250, 320], [250, 20]], float)


def add_layers(viewer, um=1.0):
    signal, vessels = straight_vessel(shape=(400, 500))
    place = {"scale": (um, um), "units": "um"}
    viewer.add_image(vessels, name="vessels", **place)
    viewer.add_image(signal, name="nanoparticles", **place)


@pytest.fixture
def analysis(open_analysis):
    viewer = ViewerModel()
    add_layers(viewer)
    return open_analysis(viewer)


def test_layers_are_guessed_by_their_names(analysis):
    assert analysis.particles.currentText() == "nanoparticles"
    assert analysis.vessels.currentText() == "vessels"
    assert analysis.nuclei.currentText() == "none"
    assert analysis.pixel_size.value() == 1.0


def test_the_newest_whole_map_is_offered_first(open_analysis):
    viewer = ViewerModel()
    add_layers(viewer)
    for name in (
        "NP distribution",
        "NP distribution (fast, small, 2)",
        "NP distribution (partial, 4 %)",
    ):
        record = {"napari_damm": {"mode": "fast", "finished": "now"}}
        viewer.add_image(np.zeros((8, 8)), name=name, metadata=record)
    driver = open_analysis(viewer)
    assert driver.particles.currentText() == "NP distribution (fast, small, 2)"


def test_a_predicted_map_is_compared_with_the_imaged_one(analysis):
    imaged = analysis.viewer.layers["nanoparticles"]
    place = {"scale": imaged.scale, "translate": (30, 0), "units": "um"}
    record = {"napari_damm": {"mode": "expected", "finished": "now"}}
    predicted = imaged.data / imaged.data.max()
    analysis.viewer.add_image(predicted[30:], name="NP distribution", metadata=record, **place)
    assert analysis.imaged.currentText() == "none"
    analysis.imaged.setCurrentText("nanoparticles")
    analysis.run("analyze")
    layer = analysis.viewer.layers["Predicted minus imaged"]
    np.testing.assert_allclose(layer.translate, (30, 0))
    assert layer.data.shape == (370, 500)
    assert np.nanmax(np.abs(layer.data)) < 0.2
    less, more = layer.colormap.map([0.1, 0.9])
    assert less[2] > less[0]  # blue
    assert more[0] > more[2]  # red, as in the report
    assert "red is predicted too high, blue too low" in analysis.agreement.text()
    assert "R² 0.9" in analysis.agreement.text() or "R² 1.0" in analysis.agreement.text()
    analysis.particles.setCurrentText("vessels")
    assert analysis.reason.text().startswith("Pick a predicted map as Particles")


def test_analyze_fills_table_and_plot(analysis):
    status = analysis.run("analyze")
    assert status.startswith("Done in ")
    assert not analysis.shown_region.isVisible()
    l50 = analysis.widget.report.value("l50")
    assert l50 == pytest.approx(20 * np.log(2), rel=0.1)
    lines = [[analysis.table.item(row, k).text() for k in range(2)] for row in range(16)]
    assert lines[0] == ["half-distance L50", f"{l50:.1f} µm"]
    assert dict(lines)["dose per cell"] == "–"
    assert all("nuclei" in analysis.table.item(11, column).toolTip() for column in (0, 1))
    assert list(analysis.plot.lines) == ["tissue"]
    assert not analysis.plot._axes.getAxis("left").autoSIPrefix


def test_what_the_report_cautions_against_is_shown_above_the_numbers(open_analysis):
    viewer = ViewerModel()
    add_layers(viewer)
    confined = viewer.layers["nanoparticles"]
    confined.data = np.where(viewer.layers["vessels"].data > 0.5, 1.0, 0.2)
    driver = open_analysis(viewer)
    driver.run("analyze")
    assert "falls to less than half at the vessels' edge" in driver.cautions.text()
    confined.data = np.full_like(confined.data, 0.5)
    driver.run("analyze")
    assert driver.cautions.text() == ""


def test_the_numbers_fit_a_narrow_dock_without_scrolling(analysis):
    analysis.run("analyze")
    table = analysis.table
    table.setFixedWidth(240)
    assert sum(table.columnWidth(k) for k in range(2)) <= 240
    assert table.height() >= sum(table.rowHeight(k) for k in range(16))
    assert table.rowHeight(9) > table.rowHeight(0)  # a long name is wrapped


def test_every_shape_gets_its_numbers_and_can_be_looked_at(analysis):
    shapes = analysis.viewer.add_shapes(
        [SQUARE, SQUARE + RIGHT], shape_type="polygon", name="areas", units=("um", "um")
    )
    analysis.region.setCurrentIndex(1)
    analysis.run("analyze")
    regions = [analysis.shown_region.itemText(k) for k in range(3)]
    assert regions == ["tissue", "areas 1", "areas 2"]
    numbers = shapes.features["l50 (um)"]
    assert numbers.tolist() == [
        analysis.widget.report.value("l50", region=f"areas {k}") for k in (1, 2)
    ]
    analysis.shown_region.setCurrentIndex(2)
    analysis.shown_region.textActivated.emit("areas 2")
    assert set(shapes.selected_data) == {1}
    assert analysis.table.item(0, 1).text() == f"{numbers[1]:.1f} µm"


def test_vessels_and_profile_follow_the_threshold(analysis):
    analysis.click("preview")
    before = analysis.viewer.layers[MASK_LAYER].data.sum()
    line = analysis.plot.lines["preview, coarse"]
    analysis.threshold.setValue(950)
    analysis.wait_for(lambda: analysis.viewer.layers[MASK_LAYER].data.sum() != before)
    assert analysis.viewer.layers[MASK_LAYER].data.sum() < before
    assert analysis.plot.lines["preview, coarse"] != line
    assert analysis.widget.vessel_threshold == pytest.approx(0.95, abs=0.01)


def test_a_distance_in_the_plot_shows_its_pixels(analysis):
    analysis.click("preview")
    analysis.plot.distance_picked.emit(22.0)
    shell = analysis.viewer.layers[SHELL_LAYER].data
    assert shell.any(axis=1).sum() == 10  # five rows of 1 um on each side
    assert analysis.status.text() == f"{SHELL_LAYER}: 20 to 25 µm from the nearest vessel"


def test_the_threshold_dragged_to_is_the_one_that_is_measured(analysis):
    analysis.click("preview")
    analysis.threshold.setValue(500)
    analysis.run("analyze")
    found = analysis.widget.report.sections[0].thresholds["vessels"]
    assert (found["method"], found["value"]) == ("given", analysis.widget.vessel_threshold)


def test_the_report_is_saved_as_the_command_writes_it(analysis, tmp_path, qtbot):
    assert not analysis.save.isEnabled()
    analysis.run("analyze")
    assert analysis.save.isEnabled()
    with qtbot.waitSignal(analysis.widget.ended, timeout=120_000):
        analysis.widget.save_report(tmp_path / "numbers")
    assert analysis.status.text().endswith(f"Saved in {tmp_path / 'numbers'}")
    assert (tmp_path / "numbers" / "report.html").exists()


def test_what_is_missing_is_said(open_analysis):
    analysis = open_analysis(ViewerModel())
    assert not analysis.analyze.isEnabled()
    assert analysis.reason.text() == "Pick a particles layer"


def test_no_pixel_size_is_said(open_analysis):
    viewer = ViewerModel()
    signal, vessels = straight_vessel(shape=(200, 200))
    viewer.add_image(vessels, name="vessels")
    viewer.add_image(signal, name="nanoparticles")
    analysis = open_analysis(viewer)
    assert analysis.reason.text() == "Enter the pixel size: this layer states none"
    analysis.pixel_size.setValue(0.5)
    assert analysis.analyze.isEnabled()


def test_vessels_that_are_all_alike_are_told(open_analysis):
    viewer = ViewerModel()
    place = {"scale": (1, 1), "units": "um"}
    viewer.add_image(np.ones((200, 200), np.float32), name="vessels", **place)
    viewer.add_image(straight_vessel(shape=(200, 200))[0], name="nanoparticles", **place)
    analysis = open_analysis(viewer)
    assert "No vessels were found" in analysis.run("analyze")


def test_in_a_real_viewer_from_the_menu(dock_widget, make_napari_viewer, tmp_path):
    viewer = make_napari_viewer()
    add_layers(viewer)
    viewer.add_shapes([SQUARE], shape_type="polygon", name="areas", units=("um", "um"))
    analysis = dock_widget("Analyze nanoparticles", viewer)
    analysis.region.setCurrentIndex(1)
    analysis.click("preview")
    assert analysis.run("analyze").startswith("Done in ")
    assert analysis.shown_region.count() == 2
    viewer.screenshot(str(tmp_path / "analyze.png"), canvas_only=False)
    assert (tmp_path / "analyze.png").stat().st_size > 10_000


def test_a_map_that_is_not_finished_is_not_measured(open_analysis):
    viewer = ViewerModel()
    add_layers(viewer)
    record = {"napari_damm": {"mode": "expected", "finished": None}}
    data = viewer.layers["nanoparticles"].data
    viewer.add_image(data, name="NP distribution (partial, 40 %)", metadata=record)
    driver = open_analysis(viewer)
    assert driver.reason.text().startswith("NP distribution (partial, 40 %) is not finished")
    assert not driver.analyze.isEnabled()


def test_a_shown_mask_alone_changes_no_number(analysis):
    analysis.run("analyze")
    plain = analysis.widget.report
    analysis.preview.click()
    assert analysis.threshold.isEnabled()
    assert analysis.widget.vessel_threshold is None
    analysis.run("analyze")
    assert analysis.widget.report.rows == plain.rows
    analysis.threshold.setValue(analysis.threshold.value() + 100)
    assert analysis.widget.vessel_threshold > 0


def test_a_row_picks_the_shape_that_it_is_of(open_analysis):
    viewer = ViewerModel()
    add_layers(viewer)
    layer = viewer.add_shapes([SQUARE[:2]], shape_type="line", name="areas", units=("um", "um"))
    layer.add_polygons([SQUARE])
    driver = open_analysis(viewer)
    driver.region.setCurrentText("areas")
    driver.run("analyze")
    driver.shown_region.textActivated.emit("areas 1")
    assert layer.selected_data == {1}


@pytest.mark.parametrize("low", [None, 10.0])
def test_intervals_are_spoken_of_where_there_are_some(analysis, low):
    analysis.run("analyze")
    found = analysis.widget.report
    rows = [replace(row, low=low) for row in found.rows]
    report = replace(found, rows=tuple(rows), notes=("Intervals are nominal ones", "look here"))
    assert cautions(report) == (["look here"] if low is None else list(report.notes))


def test_a_predicted_map_s_intervals_stand_below_its_numbers_and_what_is_not_to_be_read(analysis):
    analysis.run("analyze")
    found = analysis.widget.report
    spread = {"low": 10.0, "high": 20.0}
    told = {"l50": spread | {"level": 0.9}, "auc_100": spread, "cv": spread | {"reason": UNREAD}}
    rows = [replace(row, **told.get(row.measure, {})) for row in found.rows]
    analysis.widget._form.table.show_report(replace(found, rows=tuple(rows)))
    lines = {analysis.table.item(k, 0).text(): analysis.table.item(k, 1) for k in range(16)}
    sure, loose = lines["half-distance L50"], lines["exposure AUC(0-100 µm)"]
    assert sure.text().endswith(" µm\n(10.0 to 20.0)")
    assert sure.toolTip().endswith("; 90 % interval 10.0 to 20.0 µm")
    assert loose.text().endswith(" to 20.00)\nnot calibrated")
    assert "; not calibrated: 10.00 to" in loose.toolTip()
    assert lines["coefficient of variation"].text().endswith("\nnot to be read")
    assert lines["coefficient of variation"].toolTip() == UNREAD
    assert "\n" not in lines["vessel area"].text()

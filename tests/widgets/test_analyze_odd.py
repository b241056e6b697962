"""The Analyze widget from layers to a report in a real viewer; odd layers; cancelling."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from particle_maps import nuclei, straight_vessel
from qtpy.QtCore import QPointF, Qt

from napari_damm import api
from napari_damm.events import Preparing
from napari_damm.widgets.analyze.preview import SHELL_LAYER

PLACE = {"scale": (1.0, 1.0), "units": "um"}
SHAPE = (400, 500)


def add_layers(viewer, **changed):
    signal, vessels = straight_vessel(shape=SHAPE)
    images = {"vessels": vessels, "nuclei": nuclei()[:400, :500], "nanoparticles": signal}
    for name, image in (images | changed).items():
        viewer.add_image(image, name=name, **PLACE)


def square(y0, x0, y1, x1):
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], float)


def add_areas(viewer, *areas):
    return viewer.add_shapes(list(areas), shape_type="polygon", name="areas", units=("um", "um"))


def click_plot(driver, distance_um):
    """Click in the plot at a distance, as a mouse does."""
    axes = driver.plot._axes
    place = axes.getViewBox().mapViewToScene(QPointF(distance_um, 0.5))
    axes.scene().sigMouseClicked.emit(SimpleNamespace(scenePos=lambda: place))


def test_from_layers_to_a_report_in_a_real_viewer(dock_widget, make_napari_viewer, tmp_path, qtbot):
    viewer = make_napari_viewer()
    add_layers(viewer)
    shapes = add_areas(viewer, square(10, 20, 250, 220), square(60, 220, 350, 420))
    driver = dock_widget("Analyze nanoparticles", viewer)
    driver.region.setCurrentText("areas")
    driver.click("preview")
    assert driver.run("analyze").startswith("Done in ")
    report = driver.widget.report
    assert list(driver.plot.lines) == ["tissue", "areas 1", "areas 2"]
    assert shapes.features["vessel_area (%)"].tolist() == [
        report.value("vessel_area", region=f"areas {k}") for k in (1, 2)
    ]
    driver.shown_region.setCurrentText("areas 2")
    driver.shown_region.textActivated.emit("areas 2")  # as of a click in the list
    assert set(shapes.selected_data) == {1}
    assert viewer.layers.selection.active is shapes
    shapes.selected_data = set()
    line = driver.table.visualItemRect(driver.table.item(3, 0)).center()
    qtbot.mouseClick(driver.table.viewport(), Qt.MouseButton.LeftButton, pos=line)
    assert set(shapes.selected_data) == {1}
    click_plot(driver, 32.0)
    assert driver.status.text() == f"{SHELL_LAYER}: 30 to 35 µm from the nearest vessel"
    assert viewer.layers[SHELL_LAYER].data.any(axis=1).sum() == 10
    with qtbot.waitSignal(driver.widget.ended, timeout=120_000):
        driver.widget.save_report(tmp_path / "numbers")
    page = (tmp_path / "numbers" / "report.html").read_text(encoding="utf-8")
    assert "areas 2" in page
    viewer.screenshot(str(tmp_path / "analyze.png"), canvas_only=False)
    assert (tmp_path / "analyze.png").stat().st_size > 10_000


@pytest.fixture
def open_on(open_analysis):
    def open_(*areas, **changed):
        viewer = ViewerModel()
        add_layers(viewer, **changed)
        if areas:
            add_areas(viewer, *areas)
        driver = open_analysis(viewer)
        if areas:
            driver.region.setCurrentText("areas")
        return driver

    return open_


def test_areas_overlap_and_reach_beyond_the_image(open_on):
    driver = open_on(square(0, 0, 100, 100), square(50, 50, 150, 150), square(900, 0, 950, 50))
    words = driver.run("analyze")
    counted = {r.region: r.n for r in driver.widget.report.rows if r.measure == "vessel_area"}
    assert counted == {"tissue": 400 * 500, "areas 1": 100**2, "areas 2": 100**2, "areas 3": 0}
    assert "Region 'areas 3' of vessels holds no tissue: its measures are left empty" in words


def test_labels_that_mark_nothing_are_told(open_on):
    driver = open_on()
    driver.viewer.add_labels(np.zeros(SHAPE, int), name="areas", **PLACE)
    driver.region.setCurrentText("areas")
    assert driver.run("analyze") == "'areas' marks nothing: paint labels, or pick All"


def test_where_the_vessel_image_ends_nothing_is_measured(open_on):
    whole = open_on()
    whole.run("analyze")
    driver = open_on(vessels=straight_vessel(shape=SHAPE)[1][:, :256])
    words = driver.run("analyze")
    assert "The vessels of vessels show nothing in 50 % of the tissue (beyond the image" in words
    for name in ("l50", "auc_100", "vessel_area"):
        expected = whole.widget.report.value(name)
        assert driver.widget.report.value(name) == pytest.approx(expected, rel=0.01)


def test_nan_is_told_with_its_place(open_on):
    signal = straight_vessel(shape=SHAPE)[0].copy()
    signal[:, 100:103] = np.nan
    words = open_on(nanoparticles=signal).run("analyze")
    assert "has NaN or infinite pixels, the first at y 0, x 100" in words


def test_cancelled_what_was_measured_before_stays(open_on, monkeypatch):
    driver = open_on()
    driver.run("analyze")
    before, closed = driver.widget.report, threading.Event()

    def endless(*_):
        try:
            while not closed.wait(0.01):
                yield Preparing("measuring vessels", 1, 2)
        finally:
            closed.set()

    monkeypatch.setattr("napari_damm.api.analyze", endless)
    driver.click("analyze")
    driver.wait_for(lambda: driver.progress.format() == "measuring vessels")
    assert driver.progress.value() == 500
    assert driver.cancel_run() == "Cancelled"
    assert closed.is_set()
    assert driver.widget.report is before
    assert driver.analyze.isEnabled()


def test_numbers_of_areas_are_not_written_beside_others(open_on, monkeypatch):
    real, go_on = api.analyze, threading.Event()

    def waiting(*arguments):
        yield Preparing("measuring vessels", 1, 2)
        go_on.wait(30)
        yield from real(*arguments)

    monkeypatch.setattr("napari_damm.api.analyze", waiting)
    driver = open_on(square(10, 20, 250, 220), square(60, 220, 350, 420))
    shapes = driver.viewer.layers["areas"]
    driver.click("analyze")
    driver.wait_for(lambda: driver.progress.format() == "measuring vessels")
    shapes.selected_data = {0}
    shapes.remove_selected()
    with driver.qtbot.waitSignal(driver.widget.ended, timeout=60_000):
        go_on.set()
    assert "vessel_area (%)" not in shapes.features  # the first is now what was the second
    driver.shown_region.setCurrentText("areas 1")
    driver.shown_region.textActivated.emit("areas 1")
    assert not shapes.selected_data
    driver.run("analyze")
    assert shapes.features["vessel_area (%)"].size == 1

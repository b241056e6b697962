"""Vessels and nuclei that were drawn in Labels layers, and a threshold beside a hot pixel."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._source import layer_source
from particle_maps import straight_vessel
from scipy import ndimage

from napari_damm.analysis.cells import DRAWN
from napari_damm.widgets.analyze.preview import MASK_LAYER, SHELL_LAYER

PLACE = {"scale": (1.0, 1.0), "units": "um"}


def add_drawn(viewer, name="my vessels", **more):
    _, vessels = straight_vessel(shape=(400, 500))
    viewer.add_labels((vessels > 0).astype(np.int32) * 9, name=name, **{**PLACE, **more})


def a_viewer():
    viewer = ViewerModel()
    signal, vessels = straight_vessel(shape=(400, 500))
    viewer.add_image(np.zeros_like(vessels) + vessels.T.mean(), name="vessels", **PLACE)
    viewer.add_image(signal, name="nanoparticles", **PLACE)
    return viewer


def test_drawn_vessels_and_nuclei_are_measured(open_analysis):
    viewer = a_viewer()
    add_drawn(viewer)
    nuclei = np.kron(np.ones((20, 25), int), np.pad(np.ones((8, 8), int), 6))
    viewer.add_labels(ndimage.label(nuclei)[0], name="cells", **PLACE)
    analysis = open_analysis(viewer)
    assert analysis.vessels.currentText() == "vessels"  # nobody measures from labels unasked
    analysis.vessels.setCurrentText("my vessels")
    analysis.nuclei.setCurrentText("cells")
    assert analysis.threshold_note.text() == "as drawn in 'my vessels'"
    analysis.run("analyze")
    report = analysis.widget.report
    assert report.value("l50") == pytest.approx(20 * np.log(2), rel=0.02)
    assert (report.sections[0].vessels_from, report.sections[0].nuclei_from) == (DRAWN, DRAWN)
    assert next(row.n for row in report.rows if row.measure == "cell_dose") == 500


def test_labels_are_the_vessels_where_there_is_no_image_of_them(open_analysis):
    viewer = a_viewer()
    viewer.layers.remove("vessels")
    add_drawn(viewer, "vessels drawn", translate=(0, 0))
    analysis = open_analysis(viewer)
    assert analysis.vessels.currentText() == "vessels drawn"
    assert analysis.analyze.isEnabled()


def test_drawn_vessels_are_shown_and_have_no_threshold(open_analysis):
    viewer = a_viewer()
    add_drawn(viewer)
    analysis = open_analysis(viewer)
    analysis.vessels.setCurrentText("my vessels")
    active = viewer.layers.selection.active
    analysis.click("preview")
    assert viewer.layers.selection.active is active
    assert not analysis.threshold.isEnabled()
    assert viewer.layers[MASK_LAYER].data.any(axis=1).sum() == 11
    assert analysis.threshold_note.text() == "as drawn in 'my vessels': 2.8 % of the picture"
    analysis.plot.distance_picked.emit(22.0)
    assert viewer.layers[SHELL_LAYER].data.any(axis=1).sum() == 10


def test_a_hot_pixel_leaves_the_slider_its_use(open_analysis):
    viewer = a_viewer()
    rng = np.random.default_rng(1)
    _, vessels = straight_vessel(shape=(400, 500))
    seen = 100 + 300 * vessels + rng.normal(0, 10, vessels.shape)
    seen[300, 300] = 65535
    viewer.layers["vessels"].data = seen
    analysis = open_analysis(viewer)
    analysis.click("preview")
    assert viewer.layers[MASK_LAYER].data.any(axis=1).sum() == 11
    assert 200 < analysis.threshold.value() < 800
    assert "automatic, Otsu's threshold" in analysis.threshold_note.text()


def test_bands_from_the_edge_are_regions(open_analysis):
    viewer = a_viewer()
    add_drawn(viewer)
    analysis = open_analysis(viewer)
    analysis.vessels.setCurrentText("my vessels")
    analysis.bands.setText("0-50, 50\u2013200")
    analysis.run("analyze")
    names = [analysis.shown_region.itemText(k) for k in range(analysis.shown_region.count())]
    assert names == ["tissue", "0-50 µm from the edge", "50-200 µm from the edge"]
    analysis.shown_region.setCurrentIndex(2)
    shown = analysis.widget._form.table.shown
    assert shown == "50-200 um from the edge"
    rows = [row for row in analysis.widget.report.rows if row.region == shown]
    assert analysis.table.rowCount() == len(rows)
    analysis.bands.setText("0-")
    assert not analysis.analyze.isEnabled()
    assert analysis.reason.text() == "a band must be two distances in µm such as 0-200, got '0-'"


def test_warnings_are_sentences(open_analysis):
    viewer = a_viewer()
    add_drawn(viewer)
    analysis = open_analysis(viewer)
    analysis.vessels.setCurrentText("my vessels")
    viewer.layers["my vessels"].data = np.zeros((400, 500), np.int32)
    words = analysis.run("analyze")
    assert ": measured. No vessels were found in my vessels: " in words
    assert "draw some in the labels" in words


def test_a_section_is_called_after_its_file(open_analysis):
    signal, vessels = straight_vessel(shape=(400, 500))
    viewer = ViewerModel()
    with layer_source(path="/data/mouse1.ome.tif"):
        viewer.add_image(vessels, name="vessels", **PLACE)
        viewer.add_image(signal, name="nanoparticles", **PLACE)
    analysis = open_analysis(viewer)
    analysis.run("analyze")
    assert analysis.widget.report.sections[0].name == "mouse1.ome.tif"


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("vessels", "right-click it in the layer list, Convert to Labels, and pick that"),
        ("nanoparticles", "pick an image of intensities"),
    ],
)
def test_a_mask_of_true_and_false_is_to_be_made_labels(open_analysis, name, remedy):
    signal, vessels = straight_vessel(shape=(400, 500))
    images = {"vessels": vessels, "nanoparticles": signal}
    images[name] = images[name] > 0.5
    viewer = ViewerModel()
    for each, image in images.items():
        viewer.add_image(image, name=each, **PLACE)
    driver = open_analysis(viewer)
    role = {"nanoparticles": "particles"}.get(name, name)
    said = f"'{name}' ({role}) is a mask (true or false): {remedy}"
    assert driver.reason.text() == said
    assert not driver.analyze.isEnabled()

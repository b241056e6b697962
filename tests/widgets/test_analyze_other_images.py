"""A predicted map is measured with the images that it was predicted from, or says so."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.layers._source import Source
from particle_maps import straight_vessel

from napari_damm.analysis.shown_pictures import moved_maps, other_pictures
from napari_damm.slide import open_slide, slide_from_arrays
from napari_damm.widgets.viewer.layer_slides import LayerSource
from napari_damm.widgets.viewer.roles import Channel
from napari_damm.widgets.viewer.run_notes import NOTES, RunNotes

SHAPE = (400, 500)
PLACE = {"scale": (1.0, 1.0), "units": ("um", "um")}
OTHER = "vessels are not the image that this map was predicted from"
SIGNAL, VESSELS = straight_vessel(SHAPE)
SLICES = np.stack([VESSELS, VESSELS[::-1]])


def add_map(viewer, identity, inputs=None, name="NP distribution", scale=None, **more):
    record = {"mode": "expected", "finished": "now", "input": identity, **more}
    metadata = {"napari_damm": record, NOTES: RunNotes(inputs or {})}
    place = PLACE if scale is None else {"scale": scale}
    return viewer.add_image(SIGNAL, name=name, metadata=metadata, **place)


def identified(vessels, name=""):
    images = {"vessels": vessels, "nuclei": SIGNAL}
    titles = {"vessels": name, "nuclei": "DAPI"} if name else {}
    return slide_from_arrays(images, 1.0, titles=titles).identity


def add_stack(viewer, path=None):
    layer = viewer.add_image(SLICES, name="CD31", scale=(4, 1, 1), units=("um",) * 3)
    layer._source = Source(path=path and str(path))
    viewer.dims.set_point(0, 0)


def test_another_slice_than_was_predicted_is_told_above_the_numbers(open_analysis):
    viewer = ViewerModel()
    add_stack(viewer)
    add_map(viewer, identified(VESSELS, "CD31, slice 0"))
    driver = open_analysis(viewer)
    driver.run("analyze")
    assert OTHER not in driver.cautions.text()
    viewer.dims.set_point(0, 4)
    driver.run("analyze")
    assert f"{OTHER} ('CD31, slice 0')" in driver.cautions.text()
    assert all(OTHER in row.reason for row in driver.widget.report.rows if row.value is not None)


@pytest.mark.parametrize("same", [True, False])
def test_a_layer_of_a_file_is_compared_with_the_plane_that_was_predicted(
    open_analysis, tmp_path, same
):
    path = tmp_path / "stack.ome.tif"
    stack = np.stack([np.stack([plane, SIGNAL]) for plane in SLICES]).astype(np.float32)
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["vessels", "nuclei"]}}
    tifffile.imwrite(path, stack, photometric="minisblack", metadata=metadata)
    identity = open_slide(path, pixel_size_um=1.0, z=0 if same else 1).identity
    viewer = ViewerModel()
    add_stack(viewer, path)
    viewer.layers["CD31"].data = SLICES.astype(np.float32)
    add_map(viewer, identity)
    driver = open_analysis(viewer)
    driver.run("analyze")
    assert (OTHER in driver.cautions.text()) is not same


def test_of_another_file_it_is_told_and_of_none_nothing_is_known(open_analysis, tmp_path):
    paths = [tmp_path / name for name in ("a.ome.tif", "b.ome.tif")]
    metadata = {"axes": "CYX", "Channel": {"Name": ["vessels", "nuclei"]}}
    for path, plane in zip(paths, SLICES, strict=True):
        image = np.stack([plane, SIGNAL]).astype(np.float32)
        tifffile.imwrite(path, image, photometric="minisblack", metadata=metadata)
    viewer = ViewerModel()
    layer = viewer.add_image(VESSELS, name="CD31", **PLACE)
    add_map(viewer, open_slide(paths[0], pixel_size_um=1.0).identity)
    driver = open_analysis(viewer)
    for source, told in ((paths[0], False), (paths[1], True), (None, False)):
        layer._source = Source(path=source and str(source))
        driver.run("analyze")
        assert (OTHER in driver.cautions.text()) is told


def test_of_several_sections_the_vessels_that_it_was_predicted_from_are_guessed(open_analysis):
    viewer = ViewerModel()
    first = viewer.add_image(VESSELS, name="CD31 mouse 1", **PLACE)
    viewer.add_image(VESSELS, name="CD31 mouse 2", **PLACE)
    driver = open_analysis(viewer)
    assert driver.vessels.currentText() == "CD31 mouse 2"  # the newest
    of = {"vessels": LayerSource.of(Channel(first))}
    add_map(viewer, identified(VESSELS), of)
    assert driver.vessels.currentText() == "CD31 mouse 1"
    driver.vessels.setCurrentText("CD31 mouse 2")
    add_map(viewer, identified(VESSELS), of, "NP distribution (2)")
    assert driver.vessels.currentText() == "CD31 mouse 2"  # chosen by a person


def from_file(layer, path):
    layer._source = Source(path=str(path))
    return layer


def test_of_a_result_that_was_opened_they_are_found_by_file_and_channel(open_analysis, tmp_path):
    viewer = ViewerModel()
    for number in (1, 2):
        for name in ("CD31", "other"):
            layer = viewer.add_image(VESSELS, name=name, **PLACE)
            from_file(layer, tmp_path / f"{number}.tif")
    path = str(tmp_path / "1.tif")
    channels = {role: {"path": path, "channel": name} for role, name in
                (("vessels", "cd31"), ("nuclei", "other"))}  # fmt: skip
    add_map(viewer, {"kind": "files", **channels})
    driver = open_analysis(viewer)
    assert (driver.vessels.currentText(), driver.nuclei.currentText()) == ("CD31", "other")
    assert driver.widget._form.vessels.picked.layer is viewer.layers[0]


def test_of_an_rgb_picture_and_of_a_file_a_stain_they_are_found_too(open_analysis, tmp_path):
    viewer = ViewerModel()
    rgb = viewer.add_image(np.stack([VESSELS] * 3, -1), name="01", rgb=True, **PLACE)
    from_file(rgb, tmp_path / "01.jpg")
    alone = viewer.add_image(VESSELS, name="scan", **PLACE)
    from_file(alone, tmp_path / "scan.tif")
    add_map(viewer, {
        "kind": "files", "vessels": {"path": str(tmp_path / "01.jpg"), "channel": "red"},
        "nuclei": {"path": str(tmp_path / "scan.tif"), "channel": "channel 0 (scan.tif)"},
    })  # fmt: skip
    driver = open_analysis(viewer)
    assert (driver.vessels.currentText(), driver.nuclei.currentText()) == ("red · 01", "scan")


def test_one_layer_that_holds_both_is_not_guessed_for_both(open_analysis, tmp_path):
    viewer = ViewerModel()
    layer = viewer.add_image(np.stack([SLICES, SLICES]), name="stack")
    path = str(from_file(layer, tmp_path / "stack.tif").source.path)
    channels = {role: {"path": path, "channel": role} for role in ("vessels", "nuclei")}
    add_map(viewer, {"kind": "files", **channels})
    assert open_analysis(viewer).vessels.currentText() == ""


def test_an_rgb_picture_keeps_the_vessels_of_its_map_when_its_imaged_particles_are_picked(
    open_analysis,
):
    viewer = ViewerModel()
    picture = np.stack([VESSELS, SIGNAL, SIGNAL], -1)
    layer = viewer.add_image(picture, name="01", rgb=True, **PLACE)
    add_map(viewer, {}, {"vessels": LayerSource.of(Channel(layer, rgb=0))})
    driver = open_analysis(viewer)
    assert driver.vessels.currentText() == "red · 01"
    driver.particles.setCurrentText("green · 01")
    assert driver.vessels.currentText() == "red · 01"


def test_a_map_is_measured_at_the_pixel_size_that_it_was_predicted_at(open_analysis):
    viewer = ViewerModel()
    viewer.add_image(VESSELS, name="CD31")
    add_map(viewer, {}, name="NP distribution", pixel_size_um=2.0, scale=(2 / 0.69,) * 2)
    driver = open_analysis(viewer)
    assert driver.pixel_size.value() == pytest.approx(0.69)
    assert driver.pixel_size_note.text() == "as it was predicted"
    assert driver.run("analyze").startswith("Done in ")
    assert driver.widget.report.sections[0].pixel_um[0] == pytest.approx(2.0)
    driver.pixel_size.setValue(0.5)
    assert not driver.analyze.isEnabled()
    assert driver.reason.text() == (
        "NP distribution was predicted where a pixel of the vessels layer is 0.69 µm, not 0.5 µm: "
        "enter 0.69, or predict it again"
    )
    driver.pixel_size.setValue(0.0)
    assert driver.pixel_size.value() == pytest.approx(0.69)


def test_a_pixel_size_is_taken_as_exactly_as_the_layer_states_it(open_analysis):
    viewer = ViewerModel()
    for name, image in (("CD31", VESSELS), ("particles", SIGNAL)):
        viewer.add_image(image, name=name, scale=(0.50004, 0.50004), units="um")
    driver = open_analysis(viewer)
    driver.run("analyze")
    assert driver.widget.report.sections[0].pixel_um[0] == pytest.approx(0.50004, abs=1e-8)


@pytest.mark.parametrize(("down", "told"), [(0.0, False), (0.8, False), (30.0, True)])
def test_a_map_that_was_moved_is_told(down, told):
    images = {"vessels": VESSELS, "nuclei": SIGNAL}
    origins = {"vessels": (5.0, 7.0), "nuclei": (5.0, 7.0)}
    slide = slide_from_arrays(images, 1.0, origins)
    record = {"input": slide.identity, "pixel_size_um": 1.0}
    shown = slide_from_arrays(images, 1.0, dict.fromkeys(images, (105.0, 7.0)))  # all together
    rasters = {"vessels": shown.vessels, "nuclei": shown.nuclei}
    said = moved_maps(record, rasters, (155.0 + down, 27.0), (55.0, 27.0))
    lies = (
        "this map lies +30 um (down) and +0 um (right) of where it was predicted beside its vessels"
    )
    assert said.startswith(lies) is told
    assert bool(said) is told


def test_what_a_record_does_not_say_is_not_compared():
    raster = slide_from_arrays({"vessels": VESSELS, "nuclei": SIGNAL}, 1.0).vessels
    for record in ({}, {"input": "nothing"}, {"input": {"vessels": {}}}):
        record["pixel_size_um"] = 1.0
        assert moved_maps(record, {"vessels": raster}, (99.0, 0.0), (0.0, 0.0)) == ""
        assert other_pictures(record, {"vessels": raster}, {}) == ""


def test_the_widget_asks_where_its_map_was_predicted(open_analysis):
    viewer = ViewerModel()
    viewer.add_image(VESSELS, name="CD31", **PLACE)
    layer = add_map(viewer, identity := identified(VESSELS), pixel_size_um=1.0)
    driver = open_analysis(viewer)
    result = SimpleNamespace(record={"input": identity, "pixel_size_um": 1.0}, origin=(0.0, 0.0))
    for down in (0.0, 30.0):
        layer.translate = (down, 0.0)
        request = replace(driver.widget._frozen(), result=result)
        images, corner = {"vessels": VESSELS, "nuclei": SIGNAL}, request.slide.origins_um["vessels"]
        slide = slide_from_arrays(images, 1.0, dict.fromkeys(images, corner))
        said = request._other_pictures(slide)
        assert ("lies +30 um (down)" in said) is bool(down)

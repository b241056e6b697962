"""What is said of a run goes when it is no longer true of what is picked."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from particle_maps import straight_vessel

from napari_damm.widgets.analyze.measured_note import CHANGED
from napari_damm.widgets.analyze.preview import MASK_LAYER


def test_the_end_of_a_run_is_said_until_other_channels_are_picked(open_widget, fake_predict):
    driver = open_widget()
    assert driver.run().startswith("Done in ")
    driver.viewer.layers["NP distribution"].visible = False
    driver.viewer.layers["Branch"].name = "another name"
    assert driver.status.text().startswith("Done in ")
    driver.click("swap")
    assert driver.status.text() == ""
    assert driver.progress.value() == 0


def test_an_analysis_of_other_layers_is_no_longer_said(open_analysis):
    viewer = ViewerModel()
    signal, vessels = straight_vessel(shape=(200, 200))
    for name, image in (("vessels", vessels), ("nanoparticles", signal), ("other", signal)):
        viewer.add_image(image, name=name, scale=(1, 1), units="um")
    driver = open_analysis(viewer)
    assert driver.run("analyze").startswith("Done in ")
    assert driver.status.text().startswith("Done in ")
    driver.particles.setCurrentText("other")
    assert driver.status.text() == ""


def two_sections(viewer):
    """Two sections of one size: the second has finer pixels, and lies elsewhere."""
    signal, vessels = straight_vessel(shape=(200, 200))
    for number, (um, left) in enumerate(((1.0, 0.0), (0.5, 300.0)), 1):
        place = {"scale": (um, um), "translate": (0, left), "units": "um"}
        viewer.add_image(vessels, name=f"vessels {number}", **place)
        viewer.add_image(signal, name=f"nanoparticles {number}", **place)


def test_numbers_of_other_choices_are_named_as_such(open_analysis):
    viewer = ViewerModel()
    two_sections(viewer)
    driver = open_analysis(viewer)
    assert driver.measured_of.text() == ""
    driver.run("analyze")
    fresh = "Numbers of nanoparticles 2 by the vessels of vessels 2"
    assert driver.measured_of.text() == fresh
    driver.threshold_value.setText("0.3")
    assert driver.measured_of.text() == fresh + CHANGED
    driver.threshold_value.setText("")
    assert driver.measured_of.text() == fresh
    driver.bands.setText("0-20")
    assert driver.measured_of.text() == fresh + CHANGED
    driver.bands.setText("")
    areas = viewer.add_shapes([np.array([[9, 309], [9, 370], [70, 370], [70, 309]])], name="areas",
                              units=("um", "um"))  # fmt: skip
    driver.region.setCurrentText("areas")
    assert driver.measured_of.text() == fresh + CHANGED
    driver.run("analyze")
    assert driver.measured_of.text() == fresh + ", in 'areas'"
    areas.data = [areas.data[0] + 2]
    assert driver.measured_of.text() == fresh + ", in 'areas'" + CHANGED
    driver.region.setCurrentText("All")
    driver.vessels.setCurrentText("vessels 1")
    assert driver.measured_of.text().endswith(CHANGED)
    viewer.layers.clear()
    assert driver.measured_of.text().endswith(CHANGED)


def test_numbers_of_another_slice_are_named_as_such(open_analysis):
    viewer = ViewerModel()
    for name, image in zip(("nanoparticles", "vessels"), straight_vessel((200, 200)), strict=True):
        stack = np.stack([image, image])
        viewer.add_image(stack, name=name, scale=(3, 1, 1), units=("um",) * 3)
    viewer.dims.set_point(0, 0)
    driver = open_analysis(viewer)
    driver.run("analyze")
    fresh = "Numbers of nanoparticles, slice 0 by the vessels of vessels, slice 0"
    assert driver.measured_of.text() == fresh
    driver.click("preview")
    viewer.dims.set_point(0, 3)
    assert driver.measured_of.text() == fresh + CHANGED
    assert not viewer.layers[MASK_LAYER].visible
    assert not driver.threshold.isEnabled()


def test_the_mask_lies_on_the_vessels_that_it_is_of_and_above_them(open_analysis):
    viewer = ViewerModel()
    two_sections(viewer)
    driver = open_analysis(viewer)
    for role in ("vessels", "particles"):
        name = {"particles": "nanoparticles"}.get(role, role)
        getattr(driver, role).setCurrentText(f"{name} 1")
    driver.click("preview")
    driver.vessels.setCurrentText("vessels 2")
    assert not viewer.layers[MASK_LAYER].visible
    driver.particles.setCurrentText("nanoparticles 2")
    viewer.add_image(np.zeros((8, 8)), name="on top", scale=(1, 1), units="um")
    driver.click("preview")
    mask = viewer.layers[MASK_LAYER]
    assert mask.visible
    assert viewer.layers[-1] is mask
    np.testing.assert_allclose([*mask.scale, *mask.translate], [0.5, 0.5, 0.0, 300.0])

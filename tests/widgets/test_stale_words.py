"""What is said of a run goes when it is no longer true of what is picked."""

from __future__ import annotations

from napari.components import ViewerModel
from particle_maps import straight_vessel


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

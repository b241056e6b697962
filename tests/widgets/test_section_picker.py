"""Which layers, and which plane of them, a run is about."""

from __future__ import annotations

import numpy as np
import pytest
from driver import LAYERS, results


def predicted_slide(driver, fake_predict, value: int):
    """Predict; return the slide, whose vessels plane is filled with a value."""
    driver.run()
    slide = fake_predict.calls[0][0]
    assert np.asarray(slide.vessels.planes[0])[0, 0] == value
    return slide


def add_stacks(driver, *names: str, planes: int = 5, **arguments) -> None:
    """Add z-stacks whose plane k is filled with k (and a pixel of 255, so that it has contrast)."""
    for name in names:
        data = np.arange(planes, dtype=np.uint8)[:, None, None] * np.ones((896, 896), np.uint8)
        data[:, -1, -1] = 255
        driver.viewer.add_image(data, name=name, scale=(3, 1, 1), units="um", **arguments)


def test_of_a_stack_the_shown_slice_is_predicted(open_widget, fake_predict):
    driver = open_widget(empty=True)
    for name in ("vessels", "nuclei"):
        slices = np.arange(12, dtype=np.uint8)[:, None, None] * np.ones((896, 896), np.uint8)
        place = {"scale": (3, 1, 1), "units": "um", "axis_labels": ("z", "y", "x")}
        driver.viewer.add_image(slices, name=name, **place)
    driver.viewer.dims.current_step = (5, 0, 0)
    assert driver.plane_note.text() == "the shown slice: z5"
    driver.viewer.dims.current_step = (3, 0, 0)
    assert driver.plane_note.text() == "the shown slice: z3"
    predicted_slide(driver, fake_predict, 3)
    assert results(driver) == [f"{name} z3" for name in LAYERS]
    assert driver.viewer.layers["Branch z3"].ndim == 2
    driver.viewer.dims.ndisplay = 3
    assert "in the 2-D view" in driver.reason.text()


@pytest.mark.parametrize("planes", [2, 5, 10])
def test_a_short_stack_without_axis_names_follows_the_slider(open_widget, fake_predict, planes):
    driver = open_widget(empty=True)
    add_stacks(driver, "vessels", "nuclei", planes=planes)
    assert driver.vessels.currentText() == "vessels"
    driver.viewer.dims.current_step = (1, 0, 0)
    assert driver.plane_note.text() == "the shown slice: slice 1"
    slide = predicted_slide(driver, fake_predict, 1)
    assert slide.identity["vessels"]["name"] == "vessels, slice 1"
    assert slide.identity["nuclei"]["name"] == "nuclei, slice 1"
    assert results(driver) == [f"{name} slice 1" for name in LAYERS]


def test_channels_without_axis_names_are_asked_for(open_widget, fake_predict):
    driver = open_widget(empty=True)
    add_stacks(driver, "section", planes=2)
    assert driver.reason.text() == "Pick a vessels layer"
    driver.vessels.setCurrentText("channel 1 · section")
    assert driver.reason.text() == "Pick a nuclei layer"
    driver.nuclei.setCurrentText("channel 0 · section")
    slide = predicted_slide(driver, fake_predict, 1)
    assert slide.identity["vessels"]["name"] == "channel 1 · section"


def test_labels_of_a_short_stack_mark_the_shown_plane(open_trainer, fake_train):
    driver = open_trainer(empty=True)
    add_stacks(driver, "vessels", "nuclei", "nanoparticles", planes=4)
    marks = np.zeros((4, 896, 896), np.uint8)
    marks[2, :300, :200] = 1
    driver.viewer.add_labels(marks, name="tumour", scale=(3, 1, 1), units="um")
    driver.viewer.dims.current_step = (2, 0, 0)
    driver.region.setCurrentText("tumour")
    driver.run("start")
    (source,), *_ = fake_train.calls[0]
    assert np.asarray(source.images["target"][0])[0, 0] == 2
    assert source.name == "vessels, slice 2"
    assert source.region.mask.sum() == 300 * 200


def test_the_plane_of_the_nuclei_is_said_where_the_vessels_have_none(open_widget):
    driver = open_widget(empty=True)
    driver.add_images("vessels")
    add_stacks(driver, "nuclei")
    driver.viewer.dims.current_step = (4, 0, 0)
    assert driver.plane_note.text() == "the shown slice: slice 4"

"""The part that a layer marks: chosen, moved, taken away."""

from __future__ import annotations

import numpy as np
import pytest

CORNERS = [[99.5, 199.5], [99.5, 399.5], [299.5, 399.5], [299.5, 199.5]]


def mark(driver, name: str = "area"):
    """Draw a rectangle over the image, and pick it."""
    shapes = driver.viewer.add_shapes([CORNERS], shape_type="rectangle", name=name, units="um")
    driver.region.setCurrentText(name)
    return shapes


def test_a_rectangle_becomes_the_region(open_widget, fake_predict):
    driver = open_widget()
    assert driver.region.count() == 1
    corners = [[99.5, 199.5], [99.5, 399.5], [299.5, 399.5], [299.5, 199.5]]
    area = driver.viewer.add_shapes([corners], shape_type="rectangle", name="area", units="um")
    driver.region.setCurrentText("area")
    assert driver.region_note.text() == "200 x 200 px from y 100, x 200"
    area.name = "renamed"
    assert driver.region.currentText() == "renamed"
    driver.run()
    assert fake_predict.calls[0][2].roi == (100, 200, 300, 400)


def test_a_rectangle_beside_the_image_is_refused_inline(open_widget):
    driver = open_widget()
    corners = [[5000, 5000], [5000, 5100], [5100, 5100], [5100, 5000]]
    driver.viewer.add_shapes([corners], shape_type="rectangle", name="area", units="um")
    assert driver.predict.isEnabled()
    driver.region.setCurrentText("area")
    assert "'area' lies outside 'vessels'" in driver.reason.text()
    assert not driver.predict.isEnabled()
    driver.region.setCurrentText("Whole image")
    assert driver.predict.isEnabled()


def take_the_layer_away(driver, area) -> None:
    driver.viewer.layers.remove(area)


def take_the_rectangle_away(driver, area) -> None:
    area.selected_data = {0}
    area.remove_selected()


@pytest.mark.parametrize("take_away", [take_the_layer_away, take_the_rectangle_away])
def test_a_region_that_is_gone_is_not_replaced_by_the_whole_image(open_widget, take_away):
    driver = open_widget()
    area = mark(driver)
    assert driver.predict.isEnabled()
    take_away(driver, area)
    assert driver.region.currentText() == "area (gone)"
    assert driver.reason.text() == ("'area' marks no region any more: pick another, or Whole image")
    assert not driver.predict.isEnabled()
    driver.region.setCurrentText("Whole image")
    assert driver.predict.isEnabled()
    assert driver.region.findText("area (gone)") == -1


def test_a_region_that_comes_back_counts_again(open_widget):
    driver = open_widget()
    area = mark(driver)
    driver.viewer.layers.remove(area)
    driver.viewer.layers.append(area)
    assert driver.region.currentText() == "area"
    assert driver.region_note.text() == "200 x 200 px from y 100, x 200"


def test_a_region_to_train_in_that_is_gone_is_not_replaced_either(open_trainer):
    driver = open_trainer()
    labels = driver.viewer.add_labels(np.ones((896, 896), np.uint8), name="tumour", units="um")
    driver.region.setCurrentText("tumour")
    assert driver.start.isEnabled()
    driver.viewer.layers.remove(labels)
    assert "'tumour' marks no region any more" in driver.reason.text()
    assert not driver.start.isEnabled()

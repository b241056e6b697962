"""The part that a layer marks: chosen, moved, taken away."""

from __future__ import annotations

import numpy as np

from napari_damm.widgets.viewer.camera import camera_of

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
    assert "'area' marks nothing of 'vessels'" in driver.reason.text()
    assert not driver.predict.isEnabled()
    driver.region.setCurrentText("All")
    assert driver.predict.isEnabled()


def test_a_region_that_is_gone_is_not_replaced_by_the_whole_image(open_widget):
    driver = open_widget()
    area = mark(driver)
    assert driver.predict.isEnabled()
    driver.viewer.layers.remove(area)
    assert driver.region.currentText() == "area (gone)"
    assert driver.reason.text() == ("'area' marks no region any more: pick another, or All")
    assert not driver.predict.isEnabled()
    driver.region.setCurrentText("All")
    assert driver.predict.isEnabled()
    assert driver.region.findText("area (gone)") == -1


def test_a_layer_that_is_empty_again_says_what_to_do(open_widget):
    driver = open_widget()
    area = mark(driver)
    area.selected_data = {0}
    area.remove_selected()
    assert driver.reason.text() == "'area' has no rectangle, polygon or ellipse: draw one"
    assert not driver.predict.isEnabled()


def test_several_shapes_become_areas(open_widget, fake_predict):
    driver = open_widget()
    area = mark(driver)
    area.add_polygons([[[9.5, 9.5], [9.5, 59.5], [59.5, 9.5]]])
    assert driver.region_note.text() == "2 areas within 290 x 390 px from y 10, x 10"
    driver.run()
    config = fake_predict.calls[0][2]
    assert config.roi is None
    assert (len(config.areas.areas), config.areas.name) == (2, "area")


def test_painted_labels_become_areas(open_widget, fake_predict):
    driver = open_widget()
    painted = np.zeros((896, 896), np.uint8)
    painted[100:200, 300:350] = 1
    driver.viewer.add_labels(painted, name="tumour", units="um")
    driver.region.setCurrentText("tumour")
    assert driver.region_note.text() == "what is painted in 'tumour'"
    driver.run()
    assert fake_predict.calls[0][2].areas.bounds == (100, 300, 200, 350)


def test_labels_with_nothing_painted_end_as_a_sentence(open_widget, fake_predict):
    driver = open_widget()
    driver.viewer.add_labels(np.zeros((896, 896), np.uint8), name="tumour", units="um")
    driver.region.setCurrentText("tumour")
    assert driver.run() == "'tumour' marks nothing: paint a part of the image"


def test_the_view_becomes_the_region_and_follows_again(open_widget, fake_predict):
    driver = open_widget()
    camera = camera_of(driver.viewer)
    camera.center, camera.zoom = (0, 400, 500), 4.0
    driver.click("current_view")
    assert driver.region.currentText() == "Current view"
    assert driver.region_note.text() == "150 x 200 px from y 326, x 400"
    camera.center = (0, 200, 500)
    driver.click("current_view")
    assert driver.region_note.text() == "150 x 200 px from y 126, x 400"
    assert len(driver.viewer.layers) == 3


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


def test_of_two_unfinished_results_the_one_that_is_resumed_is_told(open_widget):
    driver = open_widget()
    picker = driver.widget._region
    whole, part = {"mode": "fast"}, {"mode": "fast", "roi": [0, 0, 64, 64]}
    picker.begin_from(whole)
    before = picker.note.text()
    picker.begin_from(part)
    assert picker.note.text() != before
    assert "64" in picker.note.text()
    picker.begin_from(whole)
    assert picker.note.text() == before

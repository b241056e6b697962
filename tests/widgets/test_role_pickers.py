"""The pickers follow the viewer, until a person decides."""

from __future__ import annotations

import numpy as np


def texts(driver) -> tuple[str, str]:
    return driver.vessels.currentText(), driver.nuclei.currentText()


def add(driver, name: str, **arguments):
    return driver.viewer.add_image(np.zeros((64, 64), np.uint8), name=name, **arguments)


def test_roles_are_guessed_as_layers_come(open_widget):
    driver = open_widget(empty=True)
    assert texts(driver) == ("", "")
    assert "Open an image" in driver.reason.text()
    add(driver, "CD31")
    assert texts(driver) == ("CD31", "")
    assert driver.reason.text() == "Pick a nuclei layer"
    add(driver, "DAPI")
    assert texts(driver) == ("CD31", "DAPI")


def test_renaming_a_layer_renames_its_entry(open_widget):
    driver = open_widget()
    driver.viewer.layers["vessels"].name = "renamed vessels"
    assert texts(driver) == ("renamed vessels", "nuclei")


def test_removing_a_layer_empties_its_role(open_widget):
    driver = open_widget()
    driver.viewer.layers.remove("nuclei")
    assert texts(driver) == ("vessels", "")
    assert not driver.predict.isEnabled()


def test_a_choice_by_hand_outlasts_new_layers(open_widget):
    driver = open_widget()
    add(driver, "something")
    driver.vessels.setCurrentText("something")
    add(driver, "more vessels")
    assert texts(driver) == ("something", "nuclei")


def test_swap_exchanges_the_two(open_widget):
    driver = open_widget()
    driver.click("swap")
    assert texts(driver) == ("nuclei", "vessels")
    add(driver, "more vessels")
    assert texts(driver) == ("nuclei", "vessels")


def test_swap_with_nothing_leaves_nothing_behind(open_widget):
    driver = open_widget(empty=True)
    for name in ("CD31", "other"):
        driver.viewer.add_image(np.ones((300, 300), np.float32), name=name)
    assert (driver.vessels.currentText(), driver.nuclei.currentText()) == ("CD31", "")
    driver.click("swap")
    assert (driver.vessels.currentText(), driver.nuclei.currentText()) == ("", "CD31")
    assert driver.reason.text() == "Pick a vessels layer"
    driver.click("swap")
    assert (driver.vessels.currentText(), driver.nuclei.currentText()) == ("CD31", "")


def test_one_channel_twice_is_said(open_widget):
    driver = open_widget()
    driver.nuclei.setCurrentText("vessels")
    assert "same channel" in driver.reason.text()
    assert not driver.predict.isEnabled()


def test_an_unknown_pixel_size_must_be_entered(open_widget):
    driver = open_widget(empty=True)
    add(driver, "vessels")
    add(driver, "nuclei")
    assert driver.pixel_size.text() == "not set"
    assert driver.reason.text() == "Enter the pixel size: this layer states none"
    driver.pixel_size.setValue(0.65)
    assert driver.reason.text() == ""
    assert driver.predict.isEnabled()
    driver.click("swap")
    assert driver.pixel_size.value() == 0.65


def test_scaling_a_layer_fills_the_pixel_size_in(open_widget):
    driver = open_widget(empty=True)
    vessels, nuclei = add(driver, "vessels"), add(driver, "nuclei")
    for layer in (vessels, nuclei):
        layer.scale, layer.units = (0.325, 0.325), "um"
    assert driver.pixel_size.text() == "0.325 µm"
    assert driver.predict.isEnabled()


def test_a_rotated_layer_is_refused_in_words(open_widget):
    driver = open_widget()
    driver.viewer.layers["nuclei"].rotate = 5
    assert "rotated" in driver.reason.text()
    driver.viewer.layers["nuclei"].rotate = 0
    assert driver.predict.isEnabled()


def test_an_rgb_picture_serves_both_roles(open_widget):
    driver = open_widget(empty=True)
    picture = np.zeros((64, 64, 3), np.uint8)
    driver.viewer.add_image(picture, name="cd31_ng2_dapi", rgb=True)
    assert texts(driver) == ("green · cd31_ng2_dapi", "blue · cd31_ng2_dapi")
    driver.pixel_size.setValue(0.65)
    assert driver.predict.isEnabled()

"""Pixel sizes as people type them, key by key."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from particle_maps import straight_vessel
from qtpy.QtCore import QLocale, Qt
from qtpy.QtWidgets import QMessageBox, QToolTip

KEYS = [("0.5", 0.5), ("0.65", 0.65), ("0,65", 0.65), (".5", 0.5), (",5", 0.5), ("2", 2.0)]


def press(driver, text: str, end: bool = True, name: str = "pixel_size") -> None:
    """Select all of the field, type over it, and press Enter."""
    box = getattr(driver, name)
    box.setFocus()
    box.selectAll()
    if text:
        driver.qtbot.keyClicks(box.lineEdit(), text)
    else:
        driver.qtbot.keyClick(box.lineEdit(), Qt.Key.Key_Backspace)
    if end:
        driver.qtbot.keyClick(box.lineEdit(), Qt.Key.Key_Return)


@pytest.fixture(params=["predict", "analyze"])
def bare(request, open_widget, open_analysis):
    """Either widget, beside layers whose scale is given (None: none, in pixels)."""

    def open_(scale: float | None):
        place = {} if scale is None else {"scale": (scale, scale), "units": "um"}
        if request.param == "predict":
            driver = open_widget(empty=True)
            driver.viewer.add_image(np.ones((300, 300)), name="nuclei", **place)
            driver.viewer.add_image(np.ones((300, 300)), name="vessels", **place)
            return driver
        viewer = ViewerModel()
        signal, vessels = straight_vessel(shape=(200, 200))
        viewer.add_image(vessels, name="vessels", **place)
        viewer.add_image(signal, name="nanoparticles", **place)
        return open_analysis(viewer)

    return open_


@pytest.fixture(params=["C", "de_DE"])
def locale(request):
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield
    QLocale.setDefault(before)


@pytest.mark.parametrize("scale", [None, 1.0, 0.69])
@pytest.mark.parametrize(("keys", "size"), KEYS)
def test_what_is_typed_is_the_size(bare, locale, scale, keys, size):
    driver = bare(scale)
    press(driver, keys)
    assert driver.pixel_size.value() == size
    assert driver.pixel_size.text() == f"{size:g} µm"
    against = {None: "", size: ""}.get(scale, f"; the layer states {scale} µm")
    assert driver.pixel_size_note.text() == f"entered by hand{against}".replace("1.0 µm", "1 µm")


def test_the_text_stays_while_it_is_typed_and_counts_already(bare):
    driver = bare(None)
    for keys, text in (("0", "0"), ("0.", "0."), ("0.6", "0.6"), ("0.60", "0.60")):
        press(driver, keys, end=False)
        assert driver.pixel_size.lineEdit().text().removesuffix(" µm") == text
    assert driver.pixel_size_note.text() == "entered by hand"
    assert "pixel size" not in driver.reason.text()
    press(driver, "0", end=False)
    assert driver.pixel_size_note.text() == "entered by hand"  # 0.60 still, until the end


@pytest.mark.parametrize("keys", ["", "0"])
def test_an_emptied_field_takes_the_entry_back(bare, keys):
    driver = bare(0.69)
    press(driver, "2")
    press(driver, keys)
    assert driver.pixel_size.text() == "0.69 µm"
    assert driver.pixel_size_note.text() == "from the layer"


def test_an_emptied_field_is_not_set_where_the_layer_states_nothing(bare):
    driver = bare(None)
    press(driver, "2")
    press(driver, "")
    assert driver.pixel_size.text() == "not set"
    assert driver.reason.text() == "Enter the pixel size: this layer states none"


def test_what_is_entered_before_a_layer_is_there_is_kept(open_widget):
    driver = open_widget(empty=True)
    press(driver, "0.5")
    assert driver.pixel_size.text() == "0.5 µm"
    driver.viewer.add_image(np.ones((300, 300)), name="vessels")
    assert driver.pixel_size.text() == "0.5 µm"
    assert driver.pixel_size_note.text() == "entered by hand"
    driver.viewer.layers.clear()
    place = {"scale": (2, 2), "units": "um"}
    press(driver, "0.7")
    driver.viewer.add_image(np.ones((300, 300)), name="vessels", **place)
    assert driver.pixel_size.text() == "2 µm"  # it states its own


@pytest.mark.parametrize("key", [",", "."])
def test_a_box_of_whole_numbers_says_that_it_is_one(open_widget, monkeypatch, key):
    said = []
    monkeypatch.setattr(QToolTip, "showText", lambda place, text, box: said.append(text))
    driver = open_widget()
    press(driver, f"1{key}5", name="samples", end=False)
    assert driver.samples.lineEdit().text() == "15"
    assert said == ["A whole number: neither comma nor point"]


def test_other_numbers_read_a_comma_as_a_point(open_trainer, locale):
    driver = open_trainer()
    press(driver, "2,5", name="minutes")
    assert driver.minutes.value() == pytest.approx(2.5)
    assert driver.minutes.text().startswith("2.5")


def test_a_whole_number_takes_no_comma(open_widget):
    driver = open_widget()
    box = driver.samples
    line = box.lineEdit()
    for text in ("1,5", "1.5", "1,000"):
        line.selectAll()
        line.insert(text)
        assert line.text() == "1"
        assert box.value() == 1


@pytest.fixture
def asked(monkeypatch):
    questions = []

    def question(*words):
        questions.append(words[2])
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", question)
    return questions


@pytest.mark.parametrize("keys", ["69", "690"])
def test_no_microscope_has_such_pixels(bare, asked, keys, fake_predict):
    driver = bare(None)
    press(driver, keys)
    note = driver.pixel_size_note
    said = f"{keys} µm is larger than any microscope's pixel: enter it in micrometres"
    assert note.text() == said
    assert "#d64545" in note.styleSheet()
    start = "predict" if hasattr(driver.widget, "offer_model") else "analyze"
    driver.click(start)
    assert asked == [f"Pixels of {keys} µm are larger than any microscope's. Start with them?"]
    assert not driver.widget.running
    press(driver, "0.69")
    assert (note.text(), note.styleSheet()) == ("entered by hand", "")


@pytest.mark.parametrize("unit_of_map", ["um", "mm"])
def test_a_picture_in_pixels_gets_the_typed_size_beside_a_map(open_analysis, unit_of_map):
    viewer = ViewerModel()
    signal, vessels = straight_vessel(shape=(200, 200))
    viewer.add_image(vessels, name="vessels.jpg", translate=(10, 0))
    scale = 0.69 if unit_of_map == "um" else 0.00069
    viewer.add_image(signal, name="nanoparticles", scale=(scale, scale), units=unit_of_map)
    driver = open_analysis(viewer)
    driver.vessels.setCurrentText("vessels.jpg")
    line = 'layer.scale = (0.69, 0.69); layer.units = ("um", "um")'
    assert line in driver.reason.text()
    assert "enter its pixel size above" in driver.reason.text()
    press(driver, "0.96")
    press(driver, "0.69")
    layer = viewer.layers["vessels.jpg"]
    np.testing.assert_allclose(layer.scale, (0.69, 0.69))
    np.testing.assert_allclose(layer.translate, (6.9, 0))
    assert [str(unit) for unit in layer.units] == ["micrometer"] * 2
    assert driver.pixel_size_note.text() == "entered by hand, and given to the layer"
    assert driver.analyze.isEnabled(), driver.reason.text()

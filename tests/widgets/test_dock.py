"""A widget in the dock of a small screen: what everyone needs is seen, whatever is scrolled."""

from __future__ import annotations

import pytest
from driver import Driver
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
    QScrollArea,
    QWidget,
)

SIZE = (1024, 700)
DOCK_PX = 300
NEEDED = {
    "Predict nanoparticles": (
        "vessels", "nuclei", "pixel_size", "region", "model", "trust", "mode", "forecast",
        "predict", "cancel", "preview", "progress",
    ),
    "Fine-tune model": (
        "vessels", "nuclei", "target", "pixel_size", "model", "start", "stop", "resume", "progress",
    ),
    "Analyze nanoparticles": (
        "particles", "vessels", "nuclei", "pixel_size", "analyze", "cancel", "save", "progress",
    ),
}  # fmt: skip
RUN = {
    "Predict nanoparticles": ("predict", "progress", "status"),
    "Fine-tune model": ("start", "progress", "status"),
    "Analyze nanoparticles": ("analyze", "progress", "status"),
}


@pytest.fixture
def docked(dock_widget, make_napari_viewer, own_folders):
    """Open a widget in a narrow dock of a small window, beside the images that it needs."""

    def open_(name: str) -> Driver:
        viewer = make_napari_viewer(show=True)
        viewer.window.resize(*SIZE)
        driver = dock_widget(name, viewer)
        window = viewer.window._qt_window
        dock = driver.widget.parent()
        while not hasattr(dock, "isFloating"):
            dock = dock.parent()
        window.resizeDocks([dock], [DOCK_PX], Qt.Orientation.Horizontal)
        driver.add_images("vessels", "nuclei", "nanoparticles")
        settle()
        return driver

    return open_


def settle() -> None:
    for _ in range(20):  # each nesting of layouts takes a round of events
        QApplication.processEvents()


def is_seen(control) -> bool:
    return bool(control.visibleRegion().boundingRect() == control.rect())


def window_size(driver: Driver) -> tuple[int, int]:
    window = driver.viewer.window._qt_window
    return window.width(), window.height()


@pytest.mark.parametrize("name", NEEDED)
def test_what_everyone_needs_is_seen_without_scrolling(docked, name):
    driver = docked(name)
    if "trust" in NEEDED[name]:
        driver.trust.say("The images look like those that the model knows")
    settle()
    hidden = [each for each in NEEDED[name] if not is_seen(getattr(driver, each))]
    assert hidden == []
    assert window_size(driver) == SIZE


@pytest.mark.parametrize("name", RUN)
def test_the_run_is_seen_however_far_the_form_is_scrolled(docked, name):
    driver = docked(name)
    for fold in ("more", "advanced"):
        if driver.widget.findChild(object, fold) is not None:
            getattr(driver, fold).expand(animate=False)
    driver.status.say("Done in 2 s: 16 windows")
    settle()
    bar = driver.widget.findChild(QScrollArea).verticalScrollBar()
    for place in (0, bar.maximum()):
        bar.setValue(place)
        settle()
        assert [each for each in RUN[name] if not is_seen(getattr(driver, each))] == []


@pytest.mark.parametrize("name", RUN)
def test_a_long_sentence_is_scrolled_and_the_window_stays(docked, name):
    driver = docked(name)
    driver.status.say("The disk is full. " * 60)
    settle()
    assert window_size(driver) == SIZE
    assert driver.status.height() > 200
    assert driver.status.visibleRegion().boundingRect().height() < 120
    assert is_seen(getattr(driver, RUN[name][0]))
    driver.status.say("Cancelled")
    settle()
    assert is_seen(driver.status)
    driver.status.say("")
    settle()
    assert not driver.status.isVisible()


@pytest.mark.parametrize(
    ("name", "fold", "first", "last"),
    [
        ("Predict nanoparticles", "more", "vessels", "preview"),
        ("Fine-tune model", "advanced", "data", "start"),
    ],
)
def test_the_tab_key_goes_from_top_to_bottom_and_skips_what_is_folded(
    docked, name, fold, first, last
):
    driver = docked(name)
    closed = tabbed(driver.widget)
    assert (closed[0], closed[-1]) == (first, last)
    assert {"Scrolled", "Capped"}.isdisjoint(closed)
    assert "device" not in closed
    getattr(driver, fold).expand(animate=False)
    assert "device" in tabbed(driver.widget)


@pytest.mark.parametrize(
    ("name", "fold", "last"),
    [("Predict nanoparticles", "more", "device"), ("Fine-tune model", "advanced", "device")],
)
def test_a_click_unfolds_all_of_it_and_another_folds_it(docked, name, fold, last):
    driver = docked(name)
    line, control = getattr(driver, fold), getattr(driver, last)
    for _ in range(2):
        driver.qtbot.mouseClick(line.toggleButton(), Qt.MouseButton.LeftButton)
        bar = driver.widget.findChild(QScrollArea).verticalScrollBar()
        driver.qtbot.waitUntil(
            lambda: line.content().height() >= line.content().sizeHint().height() > 50
        )
        bar.setValue(bar.maximum())
        settle()
        assert is_seen(control)
        driver.qtbot.mouseClick(line.toggleButton(), Qt.MouseButton.LeftButton)
        driver.qtbot.waitUntil(lambda: line.content().height() == 0)
        assert not control.isVisible()


@pytest.mark.parametrize("name", NEEDED)
def test_every_control_has_a_tooltip(docked, name):
    widget = docked(name).widget
    mute = [
        control.objectName()
        for control in widget.findChildren(QWidget)
        if isinstance(control, QComboBox | QAbstractSpinBox | QAbstractButton)
        and control.isVisibleTo(widget)
        and not isinstance(control.parent(), QLineEdit | QAbstractSpinBox)
        and not control.toolTip()
    ]
    assert mute == []


def tabbed(widget: QWidget) -> list[str]:
    """Names of what the Tab key goes to, in its order."""
    names, at = [], widget.nextInFocusChain()
    while widget.isAncestorOf(at):  # what comes after is napari's
        reached = at.isVisible() and at.isEnabled()
        if reached and at.focusPolicy() & Qt.FocusPolicy.TabFocus:
            names.append(at.objectName() or type(at).__name__)
        at = at.nextInFocusChain()
    return names


def test_a_finished_prediction_is_scrolled_to(docked, fake_predict):
    driver = docked("Predict nanoparticles")
    driver.run()
    settle()
    shown = driver.result.visibleRegion().boundingRect()
    assert shown.top() == 0
    assert is_seen(driver.save_result)
    scrolled = driver.widget._scrolled
    driver.wait_for(lambda: scrolled._top is None)
    scrolled.verticalScrollBar().setValue(0)  # as the Tab key does
    driver.mode.setCurrentText("fast")  # its note takes other lines
    driver.more.expand(animate=False)
    settle()
    assert scrolled.verticalScrollBar().value() == 0
    assert window_size(driver) == SIZE

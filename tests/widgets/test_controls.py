"""Controls are changed by people who mean it."""

from __future__ import annotations

import re

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QWidget,
)


def scroll_over(control) -> bool:
    """Turn the wheel over a control by one notch; tell whether it took the event."""
    middle = QPointF(control.rect().center())
    event = QWheelEvent(
        middle, QPointF(control.mapToGlobal(middle.toPoint())), QPoint(), QPoint(0, -120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase,
        False,
    )  # fmt: skip
    event.ignore()
    QApplication.sendEvent(control, event)
    return event.isAccepted()


def value(control):
    return control.value() if isinstance(control, QAbstractSpinBox) else control.currentText()


def numbers_and_choices(widget) -> list:
    return [*widget.findChildren(QComboBox), *widget.findChildren(QAbstractSpinBox)]


@pytest.mark.parametrize("opened", ["open_widget", "open_trainer"])
def test_the_wheel_changes_nothing_without_focus(request, opened):
    driver = request.getfixturevalue(opened)()
    controls = numbers_and_choices(driver.widget)
    assert len(controls) >= 7
    before = [value(control) for control in controls]
    for control in controls:
        assert not scroll_over(control), control.objectName()
        assert not control.hasFocus()
    assert [value(control) for control in controls] == before


@pytest.mark.parametrize(("opened", "name"), [("open_widget", "mode"), ("open_trainer", "minutes")])
def test_the_wheel_changes_what_has_the_focus(request, opened, name):
    driver = request.getfixturevalue(opened)()
    control = getattr(driver, name)
    before = value(control)
    driver.widget.activateWindow()
    control.setFocus()
    driver.wait_for(control.hasFocus)
    assert scroll_over(control)
    assert value(control) != before


def shown_by(widget) -> list[str]:
    """All that a widget and what is in it says: texts, items, and their tooltips."""
    said = []
    for each in (widget, *widget.findChildren(QWidget)):
        said.append(each.toolTip())
        if isinstance(each, QLabel | QAbstractButton | QAbstractSpinBox):
            said.append(each.text())
        if isinstance(each, QComboBox):
            rows = range(each.count())
            said += [each.itemText(row) for row in rows]
            said += [str(each.itemData(row, Qt.ItemDataRole.ToolTipRole)) for row in rows]
    return said


@pytest.mark.parametrize("opened", ["open_widget", "open_trainer", "open_analysis"])
def test_lengths_are_shown_in_one_unit(request, opened):
    """Settings, cards and the engine's sentences say "um", as terminals can show it."""
    give = (ViewerModel(),) if opened == "open_analysis" else ()
    driver = request.getfixturevalue(opened)(*give)
    driver.status.say("pixels of 2 um")
    said = shown_by(driver.widget)
    assert "pixels of 2 µm" in said
    assert [text for text in said if re.search(r"\bum2?\b", text)] == []
    assert sum("µm" in text for text in said) >= 2

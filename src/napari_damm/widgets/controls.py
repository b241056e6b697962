"""Small controls that the forms are built of, and the words that they share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QLayout,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

if TYPE_CHECKING:
    from magicgui.widgets import ComboBox

NARROWEST = 58
"""Pixels of a button, so that a narrow dock holds three."""
LEAST_HEIGHT = 160  # px, of a scrolled form
USUAL_HEIGHT = 360
HOLD_MS = 1000  # nested layouts take rounds of events
FOLDED = "folded"
"""The objectName of forms that can be folded away."""


class Scrolled(QScrollArea):
    """A form that is scrolled where the dock is lower than it."""

    def __init__(self, form: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what is in it has the focus
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(form)
        self.setMinimumHeight(LEAST_HEIGHT)
        self._top: QWidget | None = None
        self._held = QTimer(self)
        self._held.setSingleShot(True)
        self._held.setInterval(HOLD_MS)
        self._held.timeout.connect(self._let_go)
        self._fit()
        if (bar := self.verticalScrollBar()) is not None:
            bar.rangeChanged.connect(self._keep_top)
            bar.actionTriggered.connect(self._let_go)

    def show_from(self, part: QWidget) -> None:
        """Have a part of the form stand at the top, while layouts come to rest."""
        self._top = part
        self._held.start()
        self._keep_top()

    def _keep_top(self, *_: object) -> None:
        form, bar = self.widget(), self.verticalScrollBar()
        if self._top is not None and form is not None and bar is not None:
            bar.setValue(self._top.mapTo(form, QPoint(0, 0)).y())

    def _let_go(self, *_: object) -> None:
        self._top = None

    def showEvent(self, event: QShowEvent | None) -> None:
        """Line the form up in the style that it has now: napari gives it one when it is shown."""
        super().showEvent(event)
        if (form := self.widget()) is not None:
            align(form)

    def sizeHint(self) -> QSize:
        """Ask for no more than is needed."""
        return QSize(self.minimumWidth(), USUAL_HEIGHT)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Keep as wide as the form is."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self._fit()
        return bool(super().eventFilter(watched, event))

    def _fit(self) -> None:
        form, bar = self.widget(), self.verticalScrollBar()
        if form is not None and bar is not None:
            self.setMinimumWidth(form.minimumSizeHint().width() + bar.sizeHint().width())


def set_up(box: QComboBox, name: str) -> None:
    """Name a box, and have it take the room there is rather than what its items would need."""
    box.setObjectName(name)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(6)


def choice(name: str, items: Mapping[str, str] | None = None) -> QComboBox:
    """Make a combo box whose items say more in their tooltip."""
    box = QComboBox()
    set_up(box, name)
    for row, (text, meaning) in enumerate((items or {}).items()):
        box.addItem(text)
        box.setItemData(row, meaning, Qt.ItemDataRole.ToolTipRole)
    return box


def data_box(
    name: str, choices: Callable[[object], list[tuple[str, Any]]], nothing: str = ""
) -> ComboBox:
    """Make a combo box of what there is at the moment, filled by `refill`.

    `nothing` is what an item for None is called, "" for no such item.
    """
    from magicgui.widgets import ComboBox

    box = ComboBox(name=name, choices=choices, nullable=bool(nothing))
    box.null_string = nothing
    # It would pick the first item by itself when it is put into a form.
    box.native_parent_changed.disconnect(box.reset_choices)
    set_up(box.native, name)
    return box


def refill(box: ComboBox, value: Any) -> None:
    """List what there is now, and show a value, without a word to anyone."""
    with box.changed.blocked():
        box.native.clear()  # magicgui would leave old items where they are
        box.reset_choices()
        if value in box.choices:
            box.value = value
        else:
            box.native.setCurrentIndex(-1)
    box.native.setToolTip(box.tooltip or box.native.currentText())


class _WheelGuard(QObject):
    """Leaves the wheel to the form, unless a person has clicked into the control."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Drop a wheel event of a control without the focus; the form scrolls instead."""
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if not isinstance(watched, QWidget) or watched.hasFocus():
            return False
        event.ignore()
        return True


def guard_wheel(form: QWidget) -> None:
    """Have no number and no choice in a form change because somebody scrolls over it."""
    guard = _WheelGuard(form)
    for control in form.findChildren(QWidget):
        if isinstance(control, QAbstractSpinBox | QComboBox | QAbstractSlider):
            control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # as before, less the wheel
            control.installEventFilter(guard)


def button(name: str, text: str, tooltip: str = "") -> QPushButton:
    """Make a push button that is found by its name."""
    made = QPushButton(text)
    made.setObjectName(name)
    made.setToolTip(tooltip)
    return made


class Fold(QCollapsible):
    """A line that is clicked to show what few need; the Tab key skips what is folded away."""

    def __init__(self, name: str, text: str, inside: QLayout) -> None:
        super().__init__(text, collapsedIcon="▸", expandedIcon="▾")
        self.setObjectName(name)
        self.toggleButton().setToolTip(f"Show the {text[0].lower()}{text[1:]}, or hide them")
        self._inside = QWidget()
        inside.setObjectName(FOLDED)
        self._inside.setLayout(inside)
        self.addWidget(self._inside)
        self._inside.hide()

    def expand(self, animate: bool = False) -> None:
        """Show what is inside at once: it takes its room from the form."""
        self._inside.show()  # first, or there is no height to expand to
        super().expand(animate=False)

    def collapse(self, animate: bool = False) -> None:
        """Fold it away at once."""
        super().collapse(animate=False)
        self._inside.hide()


def stack(*controls: QWidget) -> QVBoxLayout:
    """Put a control and the notes on it one below the other."""
    column = QVBoxLayout()
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(2)
    for control in controls:
        column.addWidget(control)
    return column


def rows() -> QFormLayout:
    """Make an empty form whose fields take the room there is."""
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    form.setVerticalSpacing(6)
    return form


def show_row(form: QFormLayout, field: QWidget, shown: bool) -> None:
    """Show or hide a field of a form, with its label."""
    label = form.labelForField(field)
    for each in (field, label):
        if each is not None:
            each.setVisible(shown)


def align(widget: QWidget) -> None:
    """Give the labels of all forms inside a widget one width, so that their fields line up.

    What is folded away lines up by itself: its long words shall not make the others narrow.
    """
    labels = []
    for form in widget.findChildren(QFormLayout):
        if form.objectName() == FOLDED:
            continue
        for row in range(form.rowCount()):
            item = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
            label = None if item is None else item.widget()
            if label is not None:
                label.ensurePolished()  # its font and margins are those that will be shown
                labels.append(label)
    width = max((label.sizeHint().width() for label in labels), default=0)
    for label in labels:
        label.setMinimumWidth(width)


def capital(name: str) -> str:
    """Begin a label with a capital letter, and leave the rest ("FLAIR") as it is."""
    return name[:1].upper() + name[1:]

"""Boxes for numbers, and the pixel size among them.

1. A comma is a decimal point, whatever the locale: nobody means 69 by 0,69. A box of whole numbers
   refuses both, and says so.
2. A pixel size counts while it is typed, but "0" on the way to 0.65 is no entry, and nothing is
   written over what somebody types. The key Enter, or leaving the box, ends the typing.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QLocale, QPoint, QSignalBlocker, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QMessageBox, QToolTip, QWidget

from napari_damm.util.pixel_sizes import LARGEST_USUAL_PIXEL_UM
from napari_damm.widgets.notes import Note

NO_SIZE = "not set"
WHOLE_NUMBER = "A whole number: neither comma nor point"
AHEAD = "for the layer that is picked, if it states none"


def read_commas(box: QAbstractSpinBox) -> None:
    """Have a box read and write numbers alike in all countries, a comma as a decimal point."""
    locale = QLocale(QLocale.Language.C)
    locale.setNumberOptions(
        QLocale.NumberOption.OmitGroupSeparator | QLocale.NumberOption.RejectGroupSeparator
    )
    box.setLocale(locale)
    line = box.lineEdit()
    assert line is not None
    line.setValidator(_DecimalComma(box))


class _DecimalComma(QValidator):
    """Turns commas into points, and asks the box about the rest."""

    def __init__(self, box: QAbstractSpinBox) -> None:
        super().__init__(box)
        self._box = box

    def validate(self, text: str | None, place: int) -> Any:
        """Return how good a text is, and the text with points."""
        text = (text or "").replace(",", ".")
        if "." in text and not isinstance(self._box, QDoubleSpinBox):
            QToolTip.showText(self._box.mapToGlobal(QPoint(0, 0)), WHOLE_NUMBER, self._box)
            return QValidator.State.Invalid, text, place
        return self._box.validate(text, place)


class PixelSizeBox(QDoubleSpinBox):
    """A pixel size in um, "not set" (or other words) where it is unknown.

    `entered` is emitted with each size, also while it is typed; with 0 where one was taken back.
    """

    entered = Signal(float)

    def __init__(self, name: str = "pixel_size", unknown: str = NO_SIZE) -> None:
        super().__init__()
        self.typing = False
        """Whether somebody is in the middle of a number."""
        self._emptied = False
        self.setObjectName(name)
        self.setRange(0.0, 1000.0)
        self.setDecimals(4)
        self.setSingleStep(0.05)
        self.setSuffix(" µm")
        self.setSpecialValueText(unknown)
        self.setToolTip("Width of one pixel of the first channel")
        read_commas(self)
        line = self.lineEdit()
        assert line is not None
        line.textEdited.connect(self._on_text)
        self.valueChanged.connect(self._on_value)
        self.editingFinished.connect(self._on_end)

    def show_size(self, size_um: float) -> None:
        """Show a size, unless somebody is typing one."""
        if not self.typing:
            with QSignalBlocker(self):
                self.setValue(size_um)

    def settle(self) -> None:
        """Take what is typed for entered: a button that was clicked may not have the focus."""
        self.interpretText()
        self._on_end()

    def textFromValue(self, v: float) -> str:
        """Write a size without needless zeros."""
        return f"{v:.4f}".rstrip("0").rstrip(".")

    def stepBy(self, steps: int) -> None:
        """End the typing: a step is an entry."""
        self.typing = False
        super().stepBy(steps)

    def _on_text(self, text: str) -> None:
        self.typing = True
        self._emptied = not text.removesuffix(self.suffix()).strip(" .")

    def _on_value(self, size: float) -> None:
        if size > 0 or not self.typing:
            self.entered.emit(size)

    def _on_end(self) -> None:
        if self.typing:
            if self._emptied:  # Qt has put the last size back
                self.setValue(0.0)
            self.typing = self._emptied = False
            self.entered.emit(self.value())


def show_origin(note: Note, size_um: float, origin: str) -> None:
    """Say below the box where a size comes from, or in red why it is not believed."""
    if doubt(size_um):
        note.warn(doubt(size_um))
    else:
        note.calm(origin)


def doubt(size_um: float) -> str:
    """Say why a pixel size is not believed without asking, "" where it is."""
    if size_um <= LARGEST_USUAL_PIXEL_UM:
        return ""
    return f"{size_um:g} µm is larger than any microscope's pixel: enter it in micrometres"


def meant(parent: QWidget, size_um: float) -> bool:
    """Ask whether a pixel size that is not believed is meant; others are."""
    if not doubt(size_um):
        return True
    question = f"Pixels of {size_um:g} µm are larger than any microscope's. Start with them?"
    answer = QMessageBox.question(parent, "Pixel size", question)
    return bool(answer == QMessageBox.StandardButton.Yes)

"""Above which intensity something counts: a slider over what there is, and a box to type it in.

1. Nothing typed or dragged means automatic, Otsu's threshold.
2. The slider moves once a preview has shown what there is; a number can be typed before.
3. A number holds for the image that it was given for, until another is picked.
"""

from __future__ import annotations

import math
from contextlib import suppress

from qtpy.QtCore import QSignalBlocker, Qt, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QGridLayout, QLineEdit, QSlider, QWidget

from napari_damm.widgets.notes import Note

STEPS = 1000
FAR_OFF = 1000
AUTOMATIC = "auto"
TYPE = "Type the same number for sections that are to be compared; empty: automatic (Otsu's)"


class CutOff(QWidget):
    """A slider, a box and a note below; `changed` is emitted when a person moves or types."""

    changed = Signal()

    def __init__(self, name: str, what: str, hint: str) -> None:
        super().__init__()
        self.what = what
        self._of: object = None
        self._low, self._high = 0.0, 1.0
        self._automatic: float | None = None
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName(name)
        self.slider.setRange(0, STEPS)
        self.slider.setEnabled(False)
        self.slider.setToolTip(hint)
        self.typed = QLineEdit()
        self.typed.setObjectName(f"{name}_value")
        self.typed.setPlaceholderText(AUTOMATIC)
        self.typed.setToolTip(TYPE)
        self.note = Note(f"{name}_note")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.addWidget(self.slider, 0, 0)
        grid.addWidget(self.typed, 0, 1)
        grid.addWidget(self.note, 1, 0, 1, 2)
        grid.setColumnStretch(0, 3)
        grid.setColumnStretch(1, 2)

        self.slider.valueChanged.connect(self._on_slider)
        self.typed.textChanged.connect(self._on_text)

    @property
    def value(self) -> float | None:
        """What was typed or dragged to; None: automatic.

        Raises
        ------
        ValueError
            If what was typed is no number.
        """
        text = self.typed.text().strip()
        if not text:
            return None
        try:
            number = float(text.replace(",", "."))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"The {self.what} cut-off must be a number or empty, got {text!r}")
        return number

    @property
    def shown(self) -> float | None:
        """What a preview is to be cut at; None where nothing can be."""
        return self._automatic if self.value is None else self.value

    def begin(self, of: object, possible: bool = True) -> None:
        """Forget what was seen, and of another image than before what was given, too.

        `possible` says whether there is anything to cut: not where vessels are drawn.
        """
        if of != self._of:
            with QSignalBlocker(self.typed):
                self.typed.clear()
        self._of, self._automatic = of, None
        self.slider.setEnabled(False)
        self.typed.setEnabled(possible)

    def show_range(self, low: float, high: float, automatic: float) -> None:
        """Let the slider run over what there is, from where the threshold is now."""
        self._low, self._high, self._automatic = low, high, automatic
        self.slider.setEnabled(True)
        self._follow()

    def text(self, value: float) -> str:
        """Write an intensity as finely as the slider moves, and a digit more."""
        step = (self._high - self._low) / STEPS
        if abs(value) > FAR_OFF * max(abs(self._low), abs(self._high)):
            return f"{value:.4g}"
        return f"{value:.{max(0, 1 - math.floor(math.log10(step)))}f}"

    def how(self) -> str:
        """Say where the threshold that is shown comes from."""
        return "automatic, Otsu's threshold" if self.value is None else "set by hand"

    def _follow(self) -> None:
        shown = self.shown
        if self.slider.isEnabled() and shown is not None:
            share = min(max((shown - self._low) / (self._high - self._low), 0.0), 1.0)
            with QSignalBlocker(self.slider):
                self.slider.setValue(round(share * STEPS))

    def _on_slider(self, step: int) -> None:
        value = self._low + step / STEPS * (self._high - self._low)
        with QSignalBlocker(self.typed):
            self.typed.setText(self.text(value))
        self.changed.emit()

    def _on_text(self, _: str) -> None:
        with suppress(ValueError):  # on the way to a number; whoever asks for the value is told
            self._follow()
        self.changed.emit()

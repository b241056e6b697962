"""What the Predict widget looks like: its controls, their names and words. No logic but wording.

From top to bottom, in the order in which an analyst decides: the two channels, their pixel size,
the model, how thorough, on what device; what part of the image, and where the result goes; then why
Predict is disabled, if it is; then the run.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_damm.widgets.model_cards import Card
from napari_damm.widgets.note import Note
from napari_damm.widgets.result_layers import BRANCH_COLOURS, branch_meanings

MODES = {
    "fast": "16 denoising steps: the everyday choice",
    "draft": "8 denoising steps: a quick look",
    "reference": "1000 denoising steps, as in the paper: some 60 times slower",
}
DEVICES = {
    "auto": "the fastest device there is",
    "cpu": "the processor: slow, works everywhere",
    "cuda": "an NVIDIA graphics card",
    **({"mps": "the Apple graphics processor"} if sys.platform == "darwin" else {}),
}
NO_SIZE = "not set"


class PixelSizeBox(QDoubleSpinBox):
    """A pixel size in um, "not set" where it is unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("pixel_size")
        self.setRange(0.0, 1000.0)
        self.setDecimals(4)
        self.setSingleStep(0.05)
        self.setSuffix(" µm")
        self.setSpecialValueText(NO_SIZE)
        self.setToolTip("Width of one pixel of the first channel")

    def textFromValue(self, v: float) -> str:
        """Write a size without needless zeros."""
        return f"{v:.4f}".rstrip("0").rstrip(".")


class PredictForm(QWidget):
    """The controls of the Predict widget, each found by its objectName."""

    def __init__(
        self, boxes: Sequence[QComboBox], swap: QPushButton, region: QWidget, save_to: QWidget
    ) -> None:
        super().__init__()
        self.roles = (QLabel(), QLabel())
        self.plane_note = Note("plane_note")
        self.pixel_size, self.size_note = PixelSizeBox(), Note("pixel_size_note")
        self.model, self.model_note = _choice("model"), Note("model_note")
        self.mode, self.mode_note = _choice("mode", MODES), Note("mode_note")
        self.device = _choice("device", DEVICES)
        self.reason = Note("reason")
        self.predict, self.cancel = _button("predict", "Predict"), _button("cancel", "Cancel")
        self.progress = QProgressBar()
        self.progress.setObjectName("progress")
        self.progress.setRange(0, 1000)
        self.progress.setFormat("")
        self.status, self.legend = Note("status"), Note("legend")
        self._lay_out(boxes, swap, region, save_to)
        self.mode.currentTextChanged.connect(self._explain_mode)
        self._explain_mode(self.mode.currentText())

    def _lay_out(
        self, boxes: Sequence[QComboBox], swap: QPushButton, region: QWidget, save_to: QWidget
    ) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        form.setVerticalSpacing(6)
        with_swap = QHBoxLayout()
        with_swap.addWidget(boxes[1], 1)
        with_swap.addWidget(swap)
        form.addRow(self.roles[0], boxes[0])
        form.addRow(self.roles[1], with_swap)
        form.addRow(self.plane_note)
        form.addRow("Pixel size", _stack(self.pixel_size, self.size_note))
        form.addRow("Model", _stack(self.model, self.model_note))
        form.addRow("Mode", _stack(self.mode, self.mode_note))
        form.addRow("Device", self.device)
        form.addRow("Region", region)
        form.addRow("Save to", save_to)
        buttons = QHBoxLayout()
        buttons.addWidget(self.predict, 2)
        buttons.addWidget(self.cancel, 1)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addLayout(form)
        layout.addWidget(self.reason)
        layout.addLayout(buttons)
        for widget in (self.progress, self.status, self.legend):
            layout.addWidget(widget)
        layout.addStretch(1)

    def show_card(self, card: Card) -> None:
        """Name the channels in the words of the model's card, and sum it up."""
        for label, name in zip(self.roles, card.modalities, strict=False):
            label.setText(name[:1].upper() + name[1:])
        self.model.setToolTip(card.tooltip)
        self.model_note.say(card.summary)

    def show_pixel_size(self, size_um: float | None, origin: str) -> None:
        """Show um per pixel, "not set" for None, and who says so."""
        with QSignalBlocker(self.pixel_size):
            self.pixel_size.setValue(size_um or 0.0)
        self.size_note.say(origin)

    def show_settings_of(self, record: Mapping[str, Any] | None) -> None:
        """Show the settings of an unfinished result, which cannot be changed; None for none."""
        self.predict.setText("Predict" if record is None else "Resume")
        self.mode.setEnabled(record is None)
        if record is not None:
            self.mode.setCurrentText(str(record.get("mode")))

    def show_ready(self, running: bool, reason: str) -> None:
        """Enable Predict, or say why not."""
        self.predict.setEnabled(not running and not reason)
        self.cancel.setEnabled(running)
        self.reason.say("" if running else reason)

    def show_progress(self, fraction: float, text: str) -> None:
        """Move the progress bar."""
        self.progress.setValue(round(fraction * self.progress.maximum()))
        self.progress.setFormat(text)

    def show_legend(self, modalities: Sequence[str]) -> None:
        """Say what the colours of the Branch layer mean, once there is one."""
        squares = [
            f'<span style="color:{BRANCH_COLOURS[value]}">■</span> {meaning}'
            for value, meaning in branch_meanings(modalities).items()
        ]
        self.legend.say("Branch layer<br>" + "<br>".join(squares))

    def _explain_mode(self, mode: str) -> None:
        self.mode_note.say(MODES[mode])


def _choice(name: str, items: dict[str, str] | None = None) -> QComboBox:
    """Make a combo box whose items say more in their tooltip."""
    box = QComboBox()
    box.setObjectName(name)
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    for row, (text, meaning) in enumerate((items or {}).items()):
        box.addItem(text)
        box.setItemData(row, meaning, Qt.ItemDataRole.ToolTipRole)
    return box


def _button(name: str, text: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    return button


def _stack(control: QWidget, note: Note) -> QVBoxLayout:
    column = QVBoxLayout()
    column.setSpacing(2)
    column.addWidget(control)
    column.addWidget(note)
    return column

"""What the Predict widget looks like: its controls, their names and words. No logic but wording.

From top to bottom, in the order in which an analyst decides: the two channels, their pixel size,
the model, how thorough, how many samples, on what device; what part of the image, and where the
result goes; then why Predict is disabled, if it is; then the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_damm.engine.config import EXPECTED, MAX_SAMPLES, MODES
from napari_damm.widgets.controls import (
    DEVICES,
    PixelSizeBox,
    Progress,
    button,
    capital,
    choice,
    rows,
    stack,
)
from napari_damm.widgets.model_cards import Card
from napari_damm.widgets.notes import Note
from napari_damm.widgets.viewer.result_layers import branch_meanings


class PredictForm(QWidget):
    """The controls of the Predict widget, each found by its objectName."""

    def __init__(
        self, boxes: Sequence[QComboBox], swap: QPushButton, region: QWidget, save_to: QWidget
    ) -> None:
        super().__init__()
        self.roles = (QLabel(), QLabel())
        self.plane_note = Note("plane_note")
        self.pixel_size, self.size_note = PixelSizeBox(), Note("pixel_size_note")
        self.model, self.model_note = choice("model"), Note("model_note")
        self.mode, self.mode_note = choice("mode", MODES), Note("mode_note")
        self.samples, self.samples_note = QSpinBox(), Note("samples_note")
        self.samples.setObjectName("samples")
        self.samples.setRange(1, MAX_SAMPLES)
        self.samples.setToolTip("How many plausible maps to draw, to see how much they differ")
        self.device = choice("device", DEVICES)
        self.reason = Note("reason")
        self.predict, self.cancel = button("predict", "Predict"), button("cancel", "Cancel")
        self.progress = Progress()
        self.status, self.legend = Note("status"), Note("legend")
        self._lay_out(boxes, swap, region, save_to)
        self.mode.currentTextChanged.connect(self._explain_mode)
        self._explain_mode(self.mode.currentText())
        self.samples.valueChanged.connect(self._explain_samples)
        self._explain_samples()

    def _lay_out(
        self, boxes: Sequence[QComboBox], swap: QPushButton, region: QWidget, save_to: QWidget
    ) -> None:
        form = rows()
        with_swap = QHBoxLayout()
        with_swap.addWidget(boxes[1], 1)
        with_swap.addWidget(swap)
        form.addRow(self.roles[0], boxes[0])
        form.addRow(self.roles[1], with_swap)
        form.addRow(self.plane_note)
        form.addRow("Pixel size", stack(self.pixel_size, self.size_note))
        form.addRow("Model", stack(self.model, self.model_note))
        form.addRow("Mode", stack(self.mode, self.mode_note))
        form.addRow("Samples", stack(self.samples, self.samples_note))
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
            label.setText(capital(name))
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
        for control in (self.mode, self.samples):
            control.setEnabled(record is None)
        if record is not None:
            self.mode.setCurrentText(str(record.get("mode")))
            self.samples.setValue(int(record.get("samples", 1)))

    def show_ready(self, running: bool, reason: str) -> None:
        """Enable Predict, or say why not."""
        self.predict.setEnabled(not running and not reason)
        self.cancel.setEnabled(running)
        self.reason.say("" if running else reason)

    def show_legend(self, modalities: Sequence[str]) -> None:
        """Say what the colours of the Branch layer mean, once there is one."""
        squares = [
            f'<span style="color:{branch.colour}">■</span> {meaning}'
            for branch, meaning in branch_meanings(modalities).items()
        ]
        self.legend.say("Branch layer<br>" + "<br>".join(squares))

    def _explain_mode(self, mode: str) -> None:
        self.mode_note.say(MODES[mode])
        self._explain_samples()

    def _explain_samples(self) -> None:
        samples, expected = self.samples.value(), self.mode.currentText() == EXPECTED
        map_of = "the expected map" if expected else "one plausible map"
        if samples > 1:
            among = f"{samples} plausible maps"
            map_of = f"the expected map, and in layer NP std how much {among} differ"
            if not expected:
                map_of = f"the mean of {among}, and in layer NP std how much they differ"
            map_of += f"; takes as long as {among}"
        self.samples_note.say(map_of)

"""The settings of a training: what the model is called and how long, and the advanced ones.

Every advanced field is a setting of `TrainConfig`, which gives its default and its explanation.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QRadioButton,
    QSpinBox,
    QWidget,
)
from superqt import QCollapsible

from napari_damm.train.config import PRESETS, TrainConfig
from napari_damm.util.settings import settings_of
from napari_damm.widgets.controls import DEVICES, choice, rows
from napari_damm.widgets.model_cards import MODALITIES

MINUTES = 15.0
FINE_TUNE = "fine-tune"
PRESET_WORDS = {
    FINE_TUNE: "go on from the base model: the right choice for your own sections",
    "tiny": "a new model from scratch, to try things out",
    "small": "a new model from scratch, as large as the bundled one: on a graphics card",
    "paper": "a new model from scratch, as large as the paper's: on a large graphics card",
}
# setting -> label, smallest, largest value, step
NUMBERS: dict[str, tuple[str, float, float, float]] = {
    "batch_size": ("Batch size", 1, 1024, 1),
    "learning_rate": ("Learning rate", 0.000001, 0.1, 0.00005),
    "validation_share": ("Validation share", 0.01, 0.89, 0.05),
    "variants": ("Views of a patch", 0, 64, 1),
    "seed": ("Seed", 0, 2**31 - 1, 1),
}
AUTOMATIC = {"variants": "as many as suit"}  # what 0, their lowest value, stands for
PARTS = ("primary", "secondary", "target")


class TrainSettings(QWidget):
    """Name and length above, the rest folded away."""

    named = Signal()
    preset_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._help = {name: each.help for name, each in settings_of(TrainConfig).items()}
        defaults = TrainConfig()
        self.name = QLineEdit()
        self.name.setObjectName("name")
        self.name.setToolTip("What the new model is called in Predict's list")
        self._by_minutes, self._by_epochs = QRadioButton("Minutes"), QRadioButton("Epochs")
        self._by_minutes.setChecked(True)
        self.minutes = self._number("minutes", (0.1, 100_000, 5), MINUTES)
        self.epochs = self._number("epochs", (1, 1_000_000, 10), defaults.epochs)
        self.preset = choice("preset", {word: PRESET_WORDS[word] for word in (FINE_TUNE, *PRESETS)})
        self._numbers = {
            name: self._number(name, limits, getattr(defaults, name) or 0)
            for name, (_, *limits) in NUMBERS.items()
        }
        self._adapt = QCheckBox("adapt to these images")
        self._adapt.setObjectName("adapt_first_stages")
        self._adapt.setToolTip(self._help["adapt_first_stages"])
        self._device = choice("device", DEVICES)
        self._modalities = [QLineEdit(name) for name in MODALITIES]
        for line, part in zip(self._modalities, PARTS, strict=True):
            line.setObjectName(f"modality_{part}")
            line.setToolTip(f"What the {part} images are called in a model from scratch")
            line.setMinimumWidth(40)
        self.advanced = QCollapsible("Advanced settings")
        self.advanced.setObjectName("advanced")
        self._lay_out()
        self._on_preset()
        self._connect()

    def _lay_out(self) -> None:
        form = rows()
        form.addRow("New model", self.name)
        for button, box in ((self._by_minutes, self.minutes), (self._by_epochs, self.epochs)):
            form.addRow(button, box)
        form.addRow(self.advanced)
        self.setLayout(form)
        folded, inside = QWidget(), rows()
        inside.addRow("Start from", self.preset)
        names = QHBoxLayout()
        for line in self._modalities:
            names.addWidget(line)
        inside.addRow("Images are", names)
        for name, (label, *_) in NUMBERS.items():
            inside.addRow(label, self._numbers[name])
        inside.addRow("Autoencoders", self._adapt)
        inside.addRow("Device", self._device)
        folded.setLayout(inside)
        self.advanced.addWidget(folded)

    def _connect(self) -> None:
        self.name.textChanged.connect(self.named)
        # Whoever sets a length means it.
        self.minutes.valueChanged.connect(lambda: self._by_minutes.setChecked(True))
        self.epochs.valueChanged.connect(lambda: self._by_epochs.setChecked(True))
        self.preset.currentIndexChanged.connect(self._on_preset)
        for line in self._modalities:
            line.textChanged.connect(self.preset_changed)

    @property
    def from_scratch(self) -> bool:
        """Whether a new model is trained, with no base."""
        return bool(self.preset.currentText() != FINE_TUNE)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the images of a model from scratch are called."""
        texts = zip(self._modalities, MODALITIES, strict=True)
        return tuple(line.text().strip() or usual for line, usual in texts)

    def suggest(self, name: str) -> None:
        """Enter a name, without a word to anyone."""
        with QSignalBlocker(self.name):
            self.name.setText(name)

    def config(self) -> TrainConfig:
        """Freeze the settings.

        Raises
        ------
        ValueError
            If one of them is refused.
        """
        numbers: dict[str, Any] = {name: box.value() for name, box in self._numbers.items()}
        numbers |= {name: numbers[name] or None for name in AUTOMATIC}
        scratch: dict[str, Any] = {
            "preset": self.preset.currentText(),
            "modalities": self.modalities,
        }
        return TrainConfig(
            name=self.name.text().strip(),
            epochs=self.epochs.value(),
            minutes=self.minutes.value() if self._by_minutes.isChecked() else None,
            adapt_first_stages=self._adapt.isChecked(),
            device=self._device.currentText(),
            **numbers,
            **(scratch if self.from_scratch else {}),
        )

    def _number(self, name: str, limits: Any, value: float) -> Any:
        low, high, step = limits
        box: Any = QSpinBox() if isinstance(value, int) else QDoubleSpinBox()
        box.setObjectName(name)
        if isinstance(box, QDoubleSpinBox):
            box.setDecimals(6 if low < 0.001 else 2)
            box.setStepType(QAbstractSpinBox.StepType.DefaultStepType)
        box.setRange(low, high)
        box.setSingleStep(step)
        box.setSpecialValueText(AUTOMATIC.get(name, ""))
        box.setValue(value)
        box.setToolTip(self._help.get(name, ""))
        return box

    def _on_preset(self) -> None:
        box: QComboBox = self.preset
        box.setToolTip(PRESET_WORDS[box.currentText()])
        for line in self._modalities:
            line.setEnabled(self.from_scratch)
        self._adapt.setEnabled(not self.from_scratch)
        self.preset_changed.emit()

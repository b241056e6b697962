"""The settings of a training: what the model is called and how long, and the advanced ones.

Every one of them is a setting of `TrainConfig`, whose fields give the controls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QLineEdit, QRadioButton, QWidget

from napari_damm.train.config import TrainConfig
from napari_damm.widgets.controls import Fold, rows, stack
from napari_damm.widgets.model_picker import MODALITIES
from napari_damm.widgets.settings_controls import SettingsControls

MINUTES = 15.0
FINE_TUNE = "fine-tune"
GO_ON = "go on from the base model: the right choice for your own sections"
ADVANCED = (
    "batch_size", "learning_rate", "validation_share", "variants", "seed", "adapt_first_stages",
    "device",
)  # fmt: skip
STEPS = {"learning_rate": 0.00005, "minutes": 5, "epochs": 10}
PARTS = ("primary", "secondary", "target")


class TrainingSettings(QWidget):
    """Name and length above, the rest folded away."""

    named = Signal()
    preset_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._settings = SettingsControls(
            TrainConfig,
            ("name", "minutes", "epochs", "preset", *ADVANCED),
            nothing={"preset": FINE_TUNE},
            steps=STEPS,
            texts={"adapt_first_stages": "adapt"},
        )
        self.name = self._settings.qt("name")
        self._settings["minutes"].value = MINUTES
        self._by_minutes, self._by_epochs = QRadioButton("Minutes"), QRadioButton("Epochs")
        self._by_minutes.setChecked(True)
        self._by_minutes.setToolTip("Train for so long, whatever it has seen by then")
        self._by_epochs.setToolTip("Train for so many passes over the tissue")
        self._modalities = [QLineEdit(name) for name in MODALITIES]
        for line, part in zip(self._modalities, PARTS, strict=True):
            line.setObjectName(f"modality_{part}")
            line.setToolTip(f"What the {part} images are called in a model from scratch")
        self._inside = rows()
        self.advanced = Fold("advanced", "Advanced settings", self._inside)
        self._lay_out()
        self._on_preset()
        self._connect()

    def _lay_out(self) -> None:
        form, inside = rows(), self._inside
        form.addRow("New model", self.name)
        form.addRow(self._by_minutes, self._settings.qt("minutes"))
        form.addRow(self._by_epochs, self._settings.qt("epochs"))
        form.addRow(self.advanced)
        self.setLayout(form)
        self._settings.add_rows(inside, "preset")
        inside.addRow("Images are", stack(*self._modalities))
        self._settings.add_rows(inside, *ADVANCED)

    def _connect(self) -> None:
        self.name.textChanged.connect(self.named)
        self._by_minutes.toggled.connect(self.named)  # what can be resumed depends on it, too
        # Whoever sets a length means it.
        for button, name in ((self._by_minutes, "minutes"), (self._by_epochs, "epochs")):
            self._settings[name].changed.connect(lambda _, button=button: button.setChecked(True))
        self._settings["preset"].changed.connect(self._on_preset)
        for line in self._modalities:
            line.textChanged.connect(self.preset_changed)

    @property
    def from_scratch(self) -> bool:
        """Whether a new model is trained, with no base."""
        return self._settings["preset"].value is not None

    @property
    def modalities(self) -> tuple[str, str, str]:
        """What the images of a model from scratch are called."""
        texts = zip(self._modalities, MODALITIES, strict=True)
        primary, secondary, target = (line.text().strip() or usual for line, usual in texts)
        return primary, secondary, target

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
        values: dict[str, Any] = self._settings.values()
        values["name"] = values["name"].strip()
        if not self._by_minutes.isChecked():
            values["minutes"] = None
        config = TrainConfig(**values)
        return replace(config, modalities=self.modalities) if self.from_scratch else config

    def _on_preset(self) -> None:
        box = self._settings.qt("preset")
        meaning = self._settings.meaning("preset")
        box.setToolTip(f"a new model from scratch, {meaning}" if self.from_scratch else GO_ON)
        for line in self._modalities:
            line.setEnabled(self.from_scratch)
        self._settings["adapt_first_stages"].enabled = not self.from_scratch
        self.preset_changed.emit()

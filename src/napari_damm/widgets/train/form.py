"""What the Fine-tune widget looks like, from top to bottom in the order in which one decides.

What to train on, from which base model, what it will be called and for how long; then why Start is
disabled, if it is; then the run: progress, what is going on, and the curves.
"""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_damm.widgets.controls import Progress, align, button, choice, rows, stack
from napari_damm.widgets.model_cards import Card
from napari_damm.widgets.notes import Note
from napari_damm.widgets.train.folder_picker import FolderPicker
from napari_damm.widgets.train.layer_picker import LayerPicker
from napari_damm.widgets.train.learning_curves import LearningCurves
from napari_damm.widgets.train.settings import TrainSettings

LAYERS, FOLDERS = "Open layers", "Folders"
FROM_SCRATCH = "from scratch: a new model, without a base"


class TrainForm(QWidget):
    """The controls of the Fine-tune widget, each found by its objectName."""

    def __init__(self, layers: LayerPicker, folders: FolderPicker) -> None:
        super().__init__()
        self.layers, self.folders = layers, folders
        self.data = choice(
            "data",
            {
                LAYERS: "layers of this viewer that show one section",
                FOLDERS: "a folder with one sub-folder per stain and equal file names",
            },
        )
        self.model, self.model_note = choice("model"), Note("model_note")
        self.settings = TrainSettings()
        self.reason = Note("reason")
        self.start = button("start", "Start", "Begin to train")
        self.stop = button("stop", "Stop", "Stop, and keep the best model so far")
        self.resume = button("resume", "Resume", "Go on with the training of this name")
        self.progress, self.status = Progress(), Note("status")
        self.curves, self.legend = LearningCurves(), Note("legend")
        self._lay_out()
        self.data.currentIndexChanged.connect(self._on_data)
        self._on_data()

    def _lay_out(self) -> None:
        form = rows()
        form.addRow("Train on", self.data)
        base = rows()
        base.addRow("Base model", stack(self.model, self.model_note))
        buttons = QHBoxLayout()
        for each in (self.start, self.stop, self.resume):
            buttons.addWidget(each)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addLayout(form)
        layout.addWidget(self.layers)
        layout.addWidget(self.folders)
        layout.addLayout(base)
        layout.addWidget(self.settings)
        layout.addWidget(self.reason)
        layout.addLayout(buttons)
        for widget in (self.progress, self.status, self.curves, self.legend):
            layout.addWidget(widget)
        layout.addStretch(1)

    @property
    def picker(self) -> LayerPicker | FolderPicker:
        """Where the data are chosen now."""
        return self.folders if self.data.currentText() == FOLDERS else self.layers

    def show_base(self, card: Card, from_scratch: bool, modalities: Sequence[str]) -> None:
        """Sum up the base model, and name the data in its words."""
        self.model.setEnabled(not from_scratch)
        self.model.setToolTip("" if from_scratch else card.tooltip)
        self.model_note.say(FROM_SCRATCH if from_scratch else card.summary)
        for picker in (self.layers, self.folders):
            picker.set_modalities(modalities)
        align(self)

    def show_ready(self, running: bool, reason: str, resume_reason: str) -> None:
        """Enable Start, Stop and Resume, or say why not."""
        self.start.setEnabled(not running and not reason)
        self.stop.setEnabled(running)
        self.resume.setEnabled(not running and not resume_reason)
        self.resume.setToolTip(resume_reason or "Go on with the training of this name")
        self.reason.say("" if running else reason)

    def _on_data(self) -> None:
        folders = self.data.currentText() == FOLDERS
        self.layers.setVisible(not folders)
        self.folders.setVisible(folders)

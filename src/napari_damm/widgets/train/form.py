"""What the Fine-tune widget looks like, from top to bottom in the order in which one decides.

What to train on, from which base model, what it will be called and for how long; then the curves
of the run. Below all that is scrolled stands the run itself: why Start is disabled, if it is,
progress, what is going on.
"""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_damm.util.text import with_micro
from napari_damm.widgets.controls import align, button, capital, choice, guard_wheel, rows
from napari_damm.widgets.help import help_button
from napari_damm.widgets.model_picker import ModelPicker
from napari_damm.widgets.notes import Note
from napari_damm.widgets.run.run_controls import RunControls
from napari_damm.widgets.section_picker import SectionPicker
from napari_damm.widgets.train.folder_picker import FolderPicker
from napari_damm.widgets.train.learning_curves import LearningCurves
from napari_damm.widgets.train.training_settings import TrainingSettings

HELP_PAGE = "fine-tune-in-napari"
LAYERS, FOLDERS = "Open layers", "Folders"
RESUME = "Go on with the training of this name"
WHOLE = 0.95
"""Share of a section that its target covers, from which on nothing is said: as in the engine."""
NO_MODEL = "There is no base model: choose a preset to train from scratch"
FROM_SCRATCH = "from scratch: a new model, without a base"


class TrainForm(QWidget):
    """The controls of the Fine-tune widget, each found by its objectName."""

    def __init__(self, section: SectionPicker) -> None:
        super().__init__()
        self.section, self.folders = section, FolderPicker()
        self.data = choice(
            "data",
            {
                LAYERS: "layers of this viewer that show one section",
                FOLDERS: "a folder with one sub-folder per stain and equal file names",
            },
        )
        self.data.setToolTip("Where the images are that it learns from")
        self.model = ModelPicker(NO_MODEL)
        self.settings = TrainingSettings()
        self.coverage = Note("coverage")
        self._choices = QWidget()
        self.resume = button("resume", "Resume", RESUME)
        self.run = RunControls(
            button("start", "Start", "Begin to train"),
            button("stop", "Stop", "Stop, and keep the best model so far"),
            self.resume,
        )
        self.curves = LearningCurves()
        self._lay_out()
        guard_wheel(self)
        self.data.currentIndexChanged.connect(self._on_data)
        self._on_data()

    def _lay_out(self) -> None:
        data, base = rows(), rows()
        data.addRow("Train on", self.data)
        base.addRow("Base model", self.model)
        inside, layout = QVBoxLayout(self._choices), QVBoxLayout(self)
        inside.setContentsMargins(0, 0, 0, 0)
        for column in (inside, layout):
            column.setSpacing(8)
        inside.addLayout(data)
        inside.addWidget(self.section)
        inside.addWidget(self.folders)
        inside.addLayout(base)
        inside.addWidget(self.settings)
        layout.addWidget(self._choices)
        layout.addWidget(self.coverage)
        layout.addWidget(self.curves)
        layout.addWidget(self.run.legend)
        layout.addWidget(help_button(HELP_PAGE))
        layout.addStretch(1)

    @property
    def from_folders(self) -> bool:
        """Whether the images are read from folders, not from open layers."""
        return bool(self.data.currentText() == FOLDERS)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the model that is trained calls its images."""
        return self.settings.modalities if self.settings.from_scratch else self.model.modalities

    def show_model(self) -> None:
        """Sum up the base model, and name the data in its words."""
        self.model.explain(FROM_SCRATCH if self.settings.from_scratch else "")
        for picker in (self.section, self.folders):
            picker.set_modalities(self.modalities)
        align(self)

    def show_coverage(self, share: float) -> None:
        """Say where the target covers a part of the section only."""
        primary, _, target = self.modalities
        said = f"{capital(target)} cover {100 * share:.0f} % of the {primary} image: only there is "
        self.coverage.say("" if share >= WHOLE else f"{said}something to learn")

    def show_ready(self, running: bool, reason: str, resume_reason: str) -> None:
        """Enable Start, Stop and Resume, or say why not; the choices of a run are settled."""
        self.run.show_ready(running, reason)
        self._choices.setEnabled(not running)
        self.resume.setEnabled(not running and not resume_reason)
        self.resume.setToolTip(with_micro(resume_reason or RESUME))

    def _on_data(self) -> None:
        self.section.setVisible(not self.from_folders)
        self.folders.setVisible(self.from_folders)

"""What the Predict widget looks like: its controls, their names and words. No logic but wording.

From top to bottom, in the order in which an analyst decides: the section and which part of it, the
model, and whether it knows such images; how thorough, where the result goes; what few need is
folded away. Below all that is scrolled stands the run, with what it will take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_damm.engine.config import EXPECTED, FULL, PredictConfig
from napari_damm.util.devices import ALWAYS, devices_here
from napari_damm.util.settings import settings_of
from napari_damm.widgets.controls import (
    NARROWEST,
    Fold,
    align,
    button,
    guard_wheel,
    rows,
    show_row,
    stack,
)
from napari_damm.widgets.help import help_button
from napari_damm.widgets.model_picker import ModelPicker
from napari_damm.widgets.notes import Note
from napari_damm.widgets.predict.forecast import MEANING
from napari_damm.widgets.predict.result_panel import ResultPanel
from napari_damm.widgets.predict.save_to import SaveTo
from napari_damm.widgets.predict.trust_note import TrustNote
from napari_damm.widgets.preferences import preferences
from napari_damm.widgets.run.run_controls import RunControls
from napari_damm.widgets.section_picker import SectionPicker
from napari_damm.widgets.settings_controls import SettingsControls

HELP_PAGE = "predict"
FURTHER = ("views", "samples", "device", "precision")
SETTINGS = ("mode", *FURTHER)
PREVIEW_HELP = "Predict one window at the centre of the view, to see what the settings give"
NO_MODEL = "There is no model: import one with 'napari-damm models import FILE'"


class PredictForm(QWidget):
    """The controls of the Predict widget, each found by its objectName."""

    def __init__(self, section: SectionPicker, result: ResultPanel) -> None:
        super().__init__()
        self.result = result
        self.section, self.save_to = section, SaveTo()
        self.model = ModelPicker(NO_MODEL)
        self.settings = SettingsControls(PredictConfig, SETTINGS)
        self.settings.set(preferences())
        self.mode_note, self.samples_note = Note("mode_note"), Note("samples_note")
        self.batch = button("batch", "Many sections…", "Predict files one after another")
        self.batch.setMinimumWidth(NARROWEST)
        self.trust, self.forecast = TrustNote(), Note("forecast")
        self._choices, self._resuming = QWidget(), False
        self._further = rows()
        self.more = Fold("more", "More settings", self._further)
        self.preview = button("preview", "Preview", PREVIEW_HELP)
        self.run = RunControls(
            button("predict", "Predict", "Predict the section, or the region, tile by tile"),
            button("cancel", "Cancel", "Stop within a step; what is finished stays"),
            self.preview,
        )
        for each in (self.run.start, self.run.stop, self.preview):
            each.setMinimumWidth(NARROWEST)
        self.forecast.setToolTip(MEANING)
        self.run.insert_above_buttons(self.forecast)
        self._lay_out()
        guard_wheel(self)
        self._unfold()
        for name in ("mode", "samples"):
            self.settings[name].changed.connect(self._explain)
        self._explain()

    def _lay_out(self) -> None:
        form = rows()
        form.addRow("Model", self.model)
        form.addRow(self.trust)
        form.addRow("Mode", stack(self.settings.qt("mode"), self.mode_note))
        form.addRow("Save to", self.save_to)
        form.addRow(self.more)
        further = self._further
        self.settings.add_rows(further, "views")
        further.addRow("Samples", stack(self.settings.qt("samples"), self.samples_note))
        self.settings.add_rows(further, "device", "precision")
        inside = QVBoxLayout(self._choices)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(8)
        inside.addWidget(self.section)
        inside.addLayout(form)
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addWidget(self._choices)
        layout.addWidget(self.result)
        below = QHBoxLayout()
        below.addWidget(self.batch, 2)
        below.addWidget(help_button(HELP_PAGE), 1)
        layout.addLayout(below)
        layout.addStretch(1)

    def show_model(self) -> None:
        """Name the channels in the words of the model's card, and sum it up."""
        self.model.explain()
        self.section.set_modalities(self.model.modalities)
        align(self)

    def show_ready(self, running: bool, reason: str) -> None:
        """Say whether a run is possible, or why not; while one runs nothing else can be chosen."""
        self.run.show_ready(running, reason)
        self.preview.setEnabled(self.run.start.isEnabled())
        self._choices.setEnabled(not running)

    def show_settings_of(self, record: Mapping[str, Any] | None) -> None:
        """Show the settings of an unfinished result, which cannot be changed; None for none."""
        self._resuming = record is not None
        self.run.start.setText("Resume" if self._resuming else "Predict")
        for name in ("mode", "samples", "precision"):
            self.settings[name].enabled = record is None
        if record is not None:
            self.settings.qt("mode").setCurrentText(str(record.get("mode")))
            older = {"views": 1, "precision": FULL}  # do not state them
            self.settings.set({name: record.get(name, usual) for name, usual in older.items()})
            self.settings.qt("samples").setValue(int(record.get("samples", 1)))
            self._unfold()
        self._explain()

    def _unfold(self) -> None:
        """Show what few need where it is not as usual: nobody shall wonder why it takes so long."""
        usual = {name: each.default for name, each in settings_of(PredictConfig).items()}
        if any(self.settings[name].value != usual[name] for name in FURTHER):
            self.more.expand()

    def _show_precision(self) -> None:
        """Offer it where it gains: on a graphics card."""
        asked = self.settings["precision"].value != FULL
        show_row(self._further, self.settings.qt("precision"), asked or devices_here() != ALWAYS)

    def _explain(self) -> None:
        self._show_precision()
        self.mode_note.say(self.settings.meaning("mode"))
        samples = self.settings["samples"].value
        expected = self.settings["mode"].value == EXPECTED
        if not expected:
            self.settings["views"].value = 1
        self.settings["views"].enabled = expected and not self._resuming
        map_of = "the expected map" if expected else "one plausible map"
        if samples > 1:
            among = f"{samples} plausible maps"
            map_of = f"the expected map, and in layer NP std how much {among} differ"
            if not expected:
                map_of = f"the mean of {among}, and in layer NP std how much they differ"
            map_of += f"; takes as long as {among}"
        self.samples_note.say(map_of)

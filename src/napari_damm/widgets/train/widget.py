"""The "Fine-tune model" widget: resolves its controls into a request and runs it.

1. Build the controls (train_form).
2. Read the state: the models there are, the layers there are, what there is under the name.
3. Connect: any change says anew whether Start and Resume are possible, and if not, why.
4. Start or Resume freezes the controls into a `TrainRequest`; a `LiveTraining` does the rest and
   hands back one sentence, and the name of the model that is in the list now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QVBoxLayout

from napari_damm.train import run_folder
from napari_damm.widgets.controls import Scrolled
from napari_damm.widgets.model_cards import NO_MODEL, Card, list_cards
from napari_damm.widgets.model_hub import model_hub
from napari_damm.widgets.run.live_run import RunWidget
from napari_damm.widgets.train.folder_picker import FolderPicker
from napari_damm.widgets.train.form import TrainForm
from napari_damm.widgets.train.layer_picker import LayerPicker
from napari_damm.widgets.train.live_training import LiveTraining
from napari_damm.widgets.train.request import TrainRequest
from napari_damm.widgets.train.run_names import NameState, free_name, look_up

if TYPE_CHECKING:
    import napari.viewer


class TrainWidget(RunWidget):
    """Make a model one's own: train it on sections of which the target was imaged as well."""

    closed_words = "Stopped: the widget was closed"

    # napari passes the viewer to whoever annotates it so.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._cards: list[Card] = []
        self._name = NameState()
        self._form = TrainForm(LayerPicker(viewer), FolderPicker())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(Scrolled(self._form))

        self._list_models()
        self._form.settings.suggest(free_name(self._taken))
        self._on_base()
        self._on_name()

        form = self._form
        for changed in (form.layers.changed, form.folders.changed, form.data.currentIndexChanged):
            changed.connect(self._update)
        form.model.currentIndexChanged.connect(self._on_base)
        form.settings.preset_changed.connect(self._on_base)
        form.settings.named.connect(self._on_name)
        form.start.clicked.connect(self._start)
        form.resume.clicked.connect(self._resume)
        form.stop.clicked.connect(self._stop)
        model_hub().model_added.connect(self._on_model_added)

    @property
    def _taken(self) -> list[str]:
        return [card.name for card in self._cards]

    @property
    def _card(self) -> Card | None:
        row = self._form.model.currentIndex()
        return self._cards[row] if 0 <= row < len(self._cards) else None

    @property
    def _modalities(self) -> tuple[str, ...]:
        if self._form.settings.from_scratch:
            return self._form.settings.modalities
        return (self._card or NO_MODEL).modalities

    def _list_models(self) -> None:
        chosen = self._form.model.currentText()
        try:
            self._cards = list_cards()
        except (OSError, ValueError) as error:
            self._form.status.say(str(error))
        with QSignalBlocker(self._form.model):
            self._form.model.clear()
            self._form.model.addItems(self._taken)
            self._form.model.setCurrentIndex(max(self._form.model.findText(chosen), 0))

    def _on_model_added(self, viewer: object, name: str) -> None:
        self._list_models()
        self._on_base()

    def _on_base(self) -> None:
        scratch = self._form.settings.from_scratch
        self._form.show_base(self._card or NO_MODEL, scratch, self._modalities)
        self._update()

    def _on_name(self) -> None:
        self._name = look_up(self._form.settings.name.text(), self._taken)
        self._update()

    def _update(self) -> None:
        """Say whether Start and Resume are possible, or why not."""
        reasons = []
        for resume in (False, True):
            try:
                self._request(resume)
                reasons.append("")
            except ValueError as error:
                reasons.append(str(error))
        self._form.show_ready(self._run is not None, *reasons)

    def _request(self, resume: bool) -> TrainRequest:
        """Freeze the controls, or raise ValueError with the reason why they cannot be run."""
        card, scratch, begun = self._card, self._form.settings.from_scratch, self._name.begun
        if resume and begun is None:
            raise ValueError("There is no stopped training of this name to resume")
        if not (resume or scratch):
            if card is None:
                raise ValueError("There is no base model: choose a preset to train from scratch")
            if card.problem is not None:
                raise ValueError(card.problem)
        data = self._form.picker.chosen(self._modalities)
        if resume and begun is not None:
            return TrainRequest(data, begun.config, None, begun.folder, resume=True)
        if self._name.problem:
            raise ValueError(self._name.problem)
        config = self._form.settings.config()
        base = None if scratch or card is None else card.path
        return TrainRequest(data, config, base, run_folder.default_folder(config.name))

    def _start(self) -> None:
        self._go(resume=False)

    def _resume(self) -> None:
        self._go(resume=True)

    def _go(self, resume: bool) -> None:
        self._on_name()  # the disk may have changed since
        try:
            request = self._request(resume)
        except ValueError as error:
            self._form.status.say(str(error))
            return
        run = LiveTraining(self._viewer, request, self._form.curves, self)
        run.told.connect(self._form.status.say)
        run.progressed.connect(self._form.progress.show_progress)
        run.explained.connect(self._form.legend.say)
        self._form.progress.show_progress(0.0, "")
        self._form.status.say("Loading the model engine…")
        self._begin(run)
        self._update()

    def _stop(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self._form.stop.setEnabled(False)
            self._form.status.say("Stopping, and keeping what was learnt…")

    def _after_run(self, sentence: str) -> None:
        self._form.status.say(sentence)
        self._list_models()
        self._on_name()
        if self._name.problem and self._name.begun is None:
            self._form.settings.suggest(free_name(self._taken))
            self._on_name()

    def _on_ended(self, sentence: str) -> None:
        model = self._run.kept.model if isinstance(self._run, LiveTraining) else ""
        super()._on_ended(sentence)
        if model:
            model_hub().model_added.emit(self._viewer, model)

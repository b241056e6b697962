"""The "Fine-tune model" widget: resolves its controls into a request and runs it.

1. Build the controls (`form`).
2. Read the state: the models there are, the layers there are, what there is under the name.
3. Connect: any change says anew whether Start and Resume are possible, and if not, why.
4. Start or Resume freezes the controls into a `TrainRequest`; a `LiveTraining` does the rest and
   hands back one sentence, and the name of the model that is in the list now.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_damm.train import run_folder
from napari_damm.widgets.model_hub import model_hub
from napari_damm.widgets.region_picker import LayerChoice
from napari_damm.widgets.run.job import readable
from napari_damm.widgets.run.run_widget import RunWidget
from napari_damm.widgets.section_picker import SAMPLE, SectionPicker
from napari_damm.widgets.train.form import TrainForm
from napari_damm.widgets.train.live_training import LiveTraining
from napari_damm.widgets.train.request import FolderData, LayerData, TrainRequest
from napari_damm.widgets.train.run_names import NameState, continued, free_name, look_up
from napari_damm.widgets.viewer.marked_region import HINT, layers_with_areas, marked_by
from napari_damm.widgets.viewer.slices import shown_plane

if TYPE_CHECKING:
    import napari.viewer

    from napari_damm.widgets.run.live_run import LiveRun

ROLES = ("primary", "secondary", "target")
PICKERS = {
    "vessels": "what the model predicts from",
    "nuclei": "what the model predicts from",
    "target": "what it is to predict",
}


class TrainWidget(RunWidget):
    """Make a model one's own: train it on sections of which the target was imaged as well."""

    what = "The training"
    stopping = "Stopping, and keeping what was learnt…"

    # napari passes the viewer to whoever annotates it so.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        region = LayerChoice(viewer, layers_with_areas, HINT)
        form = TrainForm(SectionPicker(viewer, PICKERS, region))
        super().__init__(form.run)
        self._viewer, self._form, self._region = viewer, form, region
        self._model, self._name = form.model, NameState()
        scrolled = self._add_form(form)

        self._model.refill()
        form.settings.suggest(free_name(self._model.names))
        form.show_model()
        self._on_name()

        for changed in (form.section.changed, form.folders.changed, form.data.currentIndexChanged):
            changed.connect(self._update)
        self._model.changed.connect(self._on_model)
        form.settings.preset_changed.connect(self._on_model)
        form.settings.named.connect(self._on_name)
        form.run.start.clicked.connect(self._start)
        form.resume.clicked.connect(self._resume)
        form.curves.begun.connect(partial(scrolled.show_from, form.curves))
        model_hub().model_added.connect(self._on_model_added)

    def _on_model_added(self, viewer: object, name: str) -> None:
        self._model.refill()

    def _on_model(self) -> None:
        self._form.show_model()
        self._update()

    def _on_name(self) -> None:
        self._name = look_up(self._form.settings.name.text(), self._model.names)
        self._update()

    def _update(self) -> None:
        reasons, covered = [], 1.0
        for resume in (False, True):
            try:
                covered = self._request(resume).data.target_covers
                reasons.append("")
            except ValueError as error:
                reasons.append(readable(error))
        self._form.show_coverage(covered)
        self._form.show_ready(self.running, *reasons)

    def _request(self, resume: bool) -> TrainRequest:
        """Freeze the controls, or raise ValueError with the reason why they cannot be run."""
        scratch, begun = self._form.settings.from_scratch, self._name.begun
        if resume and begun is None:
            raise ValueError("There is no training of this name to resume")
        base = None if resume or scratch else self._model.chosen().path
        data = self._data()
        if resume and begun is not None:
            config = continued(begun, self._form.settings.config())
            return TrainRequest(data, config, None, begun.folder, resume=True)
        if self._name.problem:
            raise ValueError(self._name.problem)
        config = self._form.settings.config()
        return TrainRequest(data, config, base, run_folder.default_folder(config.name))

    def _data(self) -> LayerData | FolderData:
        """Resolve what is to be trained on."""
        form = self._form
        if form.from_folders:
            return form.folders.chosen(form.modalities)
        empty = f"Open images first, or {SAMPLE}, or choose Folders"
        slide = form.section.request(ROLES, form.modalities, empty)
        layer, primary = self._region.picked(), form.section.primary
        if layer is None or primary is None:
            return LayerData(slide)
        shown, _ = shown_plane(primary, self._viewer.dims)
        return LayerData(slide, marked_by(layer, shown, slide.world, self._viewer.dims))

    def _start(self) -> None:
        self._go(resume=False)

    def _resume(self) -> None:
        self._go(resume=True)

    def _go(self, resume: bool) -> None:
        self._on_name()  # the disk may have changed since
        self._form.section.pixel_size.settle()
        try:
            request = self._request(resume)
        except ValueError as error:
            self._form.run.status.say(readable(error))
            return
        if not self._form.from_folders and not self._form.section.size_is_meant:
            return
        self._begin(LiveTraining(self._viewer, request, self._form.curves, self))

    def _after_run(self, run: LiveRun) -> None:
        self._model.refill()
        self._on_name()
        begun = self._name.begun
        if self._name.problem and (begun is None or begun.finished):
            self._form.settings.suggest(free_name(self._model.names))
            self._on_name()
        if isinstance(run, LiveTraining) and run.kept.model:
            model_hub().model_added.emit(self._viewer, run.kept.model)

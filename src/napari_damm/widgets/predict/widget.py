"""The "Predict nanoparticles" widget: resolves its controls into a request and runs it.

1. Build the controls (`form`).
2. Read the state: the models there are, the layers there are.
3. Connect: any change says anew whether Predict is possible, and if not, why; and whether it would
   resume what an earlier run left on disk.
4. Predict freezes the controls into a `PredictRequest`; a `LivePrediction` does the rest and hands
   back one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMessageBox

from napari_damm.widgets.model_hub import model_hub, same_viewer
from napari_damm.widgets.predict.batch_run import Choices
from napari_damm.widgets.predict.forecast import forecast
from napari_damm.widgets.predict.form import PredictForm
from napari_damm.widgets.predict.live_prediction import LivePrediction
from napari_damm.widgets.predict.preview import place_in, preview_box
from napari_damm.widgets.predict.request import PredictRequest
from napari_damm.widgets.predict.result_panel import ResultPanel
from napari_damm.widgets.preferences import open_results_unasked, remember
from napari_damm.widgets.region_picker import RegionPicker
from napari_damm.widgets.run.job import readable
from napari_damm.widgets.run.run_widget import RunWidget
from napari_damm.widgets.section_picker import SAMPLE, SectionPicker
from napari_damm.widgets.viewer.camera import camera_of
from napari_damm.widgets.viewer.roles import Channel
from napari_damm.widgets.viewer.slices import in_units_of

if TYPE_CHECKING:
    import napari.viewer

    from napari_damm.widgets.predict.batch_queue import BatchQueue
    from napari_damm.widgets.run.live_run import LiveRun
    from napari_damm.widgets.viewer.layer_slides import SlideRequest

LONG_S = 3600.0
ROLES = {"vessels": "what the model predicts from", "nuclei": "what the model predicts from"}


class PredictWidget(RunWidget):
    """Predict the nanoparticle distribution from a vessels and a nuclei channel."""

    what = "The prediction"
    stopping = "Cancelling…"

    # napari passes the viewer to whoever annotates it so.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        region = RegionPicker(viewer)
        form = PredictForm(SectionPicker(viewer, ROLES, region), ResultPanel(viewer))
        super().__init__(form.run)
        self._viewer, self._form, self._region = viewer, form, region
        self._queue: BatchQueue | None = None
        self._looked_at: tuple[object, ...] = ()
        self._section, self._save_to, self._model = form.section, form.save_to, form.model
        self._scrolled = self._add_form(form)

        self._model.refill()
        self._form.show_model()
        self._on_section()
        open_results_unasked()

        self._section.changed.connect(self._on_section)
        self._save_to.changed.connect(self._on_destination)
        for name in ("mode", "views", "samples", "device", "precision"):
            self._form.settings[name].changed.connect(self._update)
        self._model.changed.connect(self._on_model)
        self._form.run.start.clicked.connect(self._predict)
        self._form.preview.clicked.connect(self._preview)
        self._form.batch.clicked.connect(self._show_queue)
        model_hub().model_added.connect(self._on_model_added)

    def offer_model(self, name: str) -> None:
        """List the models anew and select the one of this name, unless a result is resumed."""
        resuming = self._save_to.destination.unfinished is not None
        self._model.refill(pick="" if resuming else name)

    def _on_model_added(self, viewer: object, name: str) -> None:
        if same_viewer(viewer, self._viewer):
            self.offer_model(name)

    def _on_model(self) -> None:
        self._form.show_model()
        self._look()
        self._update()

    def _on_section(self) -> None:
        primary = self._section.primary
        self._save_to.follow(None if primary is None else primary.layer)
        self._look()
        self._update()

    def _look(self) -> None:
        """Look at the picked images with the model's eyes, if they are others than before."""
        try:
            card = self._model.chosen()
            slide, shown = self._slide_request(card.modalities), self._section.shown
        except ValueError:  # said beside Predict
            self._clear_status(())
            self._looked_at = ()
            self._form.trust.clear_answer()
            return
        sizes, corners = slide.pixel_sizes_um.values(), slide.origins_um.values()
        key = (card.path, *shown, *sizes, *corners)
        if key != self._looked_at:
            self._clear_status(key)
            self._looked_at = key
            self._form.trust.ask(slide, card.path)

    def _clear_status(self, key: tuple[object, ...]) -> None:
        """Say nothing more of a run, once it is of other images or another model."""
        if key != self._looked_at and not self.running:
            self._form.run.status.say("")
            self._form.run.progress.show_progress(0.0, "")

    def _on_destination(self) -> None:
        """Take the settings of an unfinished result over, so that it can be resumed as it was."""
        begun = self._save_to.destination.unfinished
        record = None if begun is None else begun.record
        self._region.begin_from(record)
        self._form.show_settings_of(record)
        if record is not None:
            model = record.get("model")
            self._model.pick(model if isinstance(model, dict) else {})
        self._update()

    def _update(self) -> None:
        region, reason, told = None, "", ""
        try:
            request = self._request()
            region = request.region
            told, _ = forecast(request, self._model.chosen().pixel_size_um)
        except ValueError as error:
            reason = readable(error)
        self._region.show_region(region)
        self._form.forecast.say("" if self.running else told)
        self._form.show_ready(self.running, reason)
        if self._queue is not None:
            self._queue.refresh()

    def _request(self) -> PredictRequest:
        """Freeze the controls, or raise ValueError with the reason why they cannot be run."""
        card = self._model.chosen()
        slide = self._slide_request(card.modalities)
        primary = self._section.primary
        region = None if primary is None else self._region.region(primary)
        destination = self._save_to.destination
        if destination.problem:
            raise ValueError(destination.problem)
        return PredictRequest(
            slide=slide,
            model=card.path,
            settings=self._form.settings.values(),
            region=region,
            region_name=None if region is None else self._region.name,
            out=destination.path,
            begun=destination.unfinished,
            focus=None if primary is None else place_in(primary, self._centre(primary)),
        )

    def _slide_request(self, modalities: Sequence[str]) -> SlideRequest:
        return self._section.request(tuple(ROLES), modalities, f"Open an image first, or {SAMPLE}")

    def _predict(self) -> None:
        self._save_to.look()  # the disk may have changed since
        remember(self._form.settings.values())
        self._run_if_possible(self._request)

    def _preview(self) -> None:
        self._run_if_possible(self._preview_request)

    def _preview_request(self) -> PredictRequest:
        """Return the request for one window at the centre of the view."""
        card, primary = self._model.chosen(), self._section.primary
        slide = self._slide_request(card.modalities)
        assert primary is not None  # else there were no slide
        size = slide.pixel_sizes_um["vessels"]
        box = preview_box(primary, size, card.pixel_size_um or size, self._centre(primary))
        settings = self._form.settings.values()
        return PredictRequest(slide, card.path, settings, region=box, preview=True)

    def _centre(self, channel: Channel) -> list[float]:
        """Return the place (y, x) at the middle of the view, in the units of a channel's layer."""
        centre = camera_of(self._viewer).center[-2:]
        return in_units_of(channel.layer, self._viewer.dims, centre)

    def _run_if_possible(self, make: Callable[[], PredictRequest]) -> None:
        self._section.pixel_size.settle()
        try:
            request = make()
        except ValueError as error:
            self._form.run.status.say(readable(error))
            return
        if not self._section.size_is_meant:
            return
        told, seconds = forecast(request, self._model.chosen().pixel_size_um)
        if (seconds or 0.0) > LONG_S and not self._confirmed(told):
            return
        self._begin(LivePrediction(self._viewer, request, self))

    def _confirmed(self, told: str) -> bool:
        """Ask whether a run that takes hours is meant: a wrong pixel size may be why."""
        size = self._section.pixel_size.text()
        question = f"This may take hours: {told}, with pixels of {size}. Start it?"
        answer = QMessageBox.question(self, "Predict nanoparticles", question)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _show_queue(self) -> None:
        """Open the window for many sections."""
        from napari_damm.widgets.predict.batch_queue import BatchQueue

        if self._queue is None:
            self._queue = BatchQueue(self._viewer, self._choices, self)
        self._queue.show()
        self._queue.raise_()

    def _choices(self) -> Choices:
        """Return model and settings, for many sections."""
        path = self._model.chosen().path
        return Choices(path, self._form.settings.values(), self._model.pixel_sizes_um)

    def _after_run(self, run: LiveRun) -> None:
        self._form.result.update_record()
        self._save_to.look()
        if isinstance(run, LivePrediction) and run.has_result:
            self._scrolled.show_from(self._form.result)

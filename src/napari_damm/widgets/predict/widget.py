"""The "Predict nanoparticles" widget: resolves its controls into a request and runs it.

1. Build the controls (predict_form, role_pickers).
2. Read the state: the models there are, the layers there are.
3. Connect: any change says anew whether Predict is possible, and if not, why; and whether it would
   resume what an earlier run left on disk.
4. Predict freezes the controls into a `PredictRequest`; a `LivePrediction` does the rest and hands
   back one sentence.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QVBoxLayout

from napari_damm.widgets.model_cards import NO_MODEL, Card, list_cards
from napari_damm.widgets.model_hub import model_hub, same_viewer
from napari_damm.widgets.predict.form import PredictForm
from napari_damm.widgets.predict.live_prediction import LivePrediction
from napari_damm.widgets.predict.request import PredictRequest
from napari_damm.widgets.predict.save_to import SaveTo
from napari_damm.widgets.region_picker import RegionPicker
from napari_damm.widgets.role_pickers import RolePickers
from napari_damm.widgets.run.live_run import RunWidget
from napari_damm.widgets.viewer.layer_slides import request_slide
from napari_damm.widgets.viewer.pixel_sizes import PixelSizes
from napari_damm.widgets.viewer.slices import shown_plane, stack_axes

if TYPE_CHECKING:
    import napari.viewer

    from napari_damm.widgets.viewer.layer_slides import SlideRequest
    from napari_damm.widgets.viewer.roles import Channel

SAMPLE = "try File > Open Sample > Simulated tumour section"


class PredictWidget(RunWidget):
    """Predict the nanoparticle distribution from a vessels and a nuclei channel."""

    # napari passes the viewer to whoever annotates it so.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._sizes = PixelSizes()
        self._cards: list[Card] = []
        self._pickers = RolePickers(viewer, self)
        self._region, self._save_to = RegionPicker(viewer), SaveTo()
        self._form = PredictForm(
            self._pickers.boxes, self._pickers.swap, self._region, self._save_to
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._form)

        self._list_models()
        self._on_pick()

        self._pickers.changed.connect(self._on_pick)
        self._region.changed.connect(self._update)
        self._save_to.changed.connect(self._on_destination)
        for moved in (viewer.dims.events.point, viewer.dims.events.ndisplay):
            moved.connect(self._on_dims)
        self._form.model.currentIndexChanged.connect(self._on_model)
        self._form.pixel_size.valueChanged.connect(self._on_pixel_size)
        self._form.predict.clicked.connect(self._predict)
        self._form.cancel.clicked.connect(self._cancel)
        model_hub().model_added.connect(self._on_model_added)

    def _list_models(self) -> None:
        try:
            self._cards = list_cards()
        except (OSError, ValueError) as error:
            self._form.status.say(str(error))
        with QSignalBlocker(self._form.model):
            self._form.model.clear()
            self._form.model.addItems([card.name for card in self._cards])
        self._on_model()

    def offer_model(self, name: str) -> None:
        """List the models anew and select the one of this name, unless a result is resumed."""
        chosen = self._form.model.currentText()
        self._list_models()
        resuming = self._save_to.destination.unfinished is not None
        self._form.model.setCurrentText(chosen if resuming else name)

    def _on_model_added(self, viewer: object, name: str) -> None:
        if same_viewer(viewer, self._viewer):
            self.offer_model(name)

    def _on_model(self) -> None:
        card = self._card or NO_MODEL
        self._form.show_card(card)
        self._pickers.set_modalities(card.modalities)

    @property
    def _card(self) -> Card | None:
        row = self._form.model.currentIndex()
        return self._cards[row] if 0 <= row < len(self._cards) else None

    def _on_pick(self) -> None:
        primary, _ = self._pickers.picked
        self._save_to.follow(None if primary is None else primary.layer)
        self._update()

    def _on_destination(self) -> None:
        """Take the settings of an unfinished result over, so that it can be resumed as it was."""
        begun = self._save_to.destination.unfinished
        record = None if begun is None else begun.record
        self._region.begin_from(record)
        self._form.show_settings_of(record)
        if record is not None:
            self._form.model.setCurrentText(str((record.get("model") or {}).get("name")))
        self._update()

    def _on_dims(self, event: Any) -> None:
        # The viewer may outlive the widget by a moment while its window is torn down.
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        if any(channel and stack_axes(channel) for channel in self._pickers.picked):
            self._update()

    def _update(self) -> None:
        """Show the pixel size of the picked layer, and whether Predict is possible or why not."""
        primary, _ = self._pickers.picked
        size, origin = None, ""
        if primary is not None:
            with suppress(ValueError):  # _request() says it
                size, origin = self._sizes.of(primary)
        self._form.show_pixel_size(size, origin)
        plane, region, reason = "", None, ""
        try:
            request = self._request()
            plane, region = request.slide.plane, request.roi
        except ValueError as error:
            reason = str(error)
        self._form.plane_note.say(f"the shown slice: {plane}" if plane else "")
        self._region.show_region(region)
        self._form.show_ready(self._run is not None, reason)

    def _request(self) -> PredictRequest:
        """Freeze the controls, or raise ValueError with the reason why they cannot be run."""
        card = self._card
        if card is None:
            raise ValueError("There is no model: import one with 'napari-damm models import FILE'")
        if card.problem is not None:
            raise ValueError(card.problem)
        if self._pickers.empty:
            raise ValueError(f"Open an image first, or {SAMPLE}")
        primary, secondary = self._pickers.picked
        if primary is None:
            raise ValueError(f"Pick a {card.modalities[0]} layer")
        if secondary is None:
            raise ValueError(f"Pick a {card.modalities[1]} layer")
        destination = self._save_to.destination
        slide = self._slide(primary, secondary)
        roi = self._region.region(primary)
        if destination.problem:
            raise ValueError(destination.problem)
        return PredictRequest(
            slide=slide,
            model=card.path,
            mode=self._form.mode.currentText(),
            device=self._form.device.currentText(),
            samples=self._form.samples.value(),
            roi=roi,
            out=destination.path,
            begun=destination.unfinished,
        )

    def _slide(self, primary: Channel, secondary: Channel) -> SlideRequest:
        """Resolve both channels to planes that lie in one world."""
        shown, plane = shown_plane(primary, self._viewer.dims)
        beside, other_plane = shown_plane(secondary, self._viewer.dims)
        size, _ = self._sizes.of(primary)
        return replace(request_slide(shown, beside, size or 0.0), plane=plane or other_plane)

    def _on_pixel_size(self, value: float) -> None:
        primary, secondary = self._pickers.picked
        if primary is not None:
            with suppress(ValueError):  # _request() says it
                self._sizes.enter(primary, value, beside=secondary)
        self._update()

    def _predict(self) -> None:
        self._save_to.look()  # the disk may have changed since
        try:
            request = self._request()
        except ValueError as error:
            self._form.status.say(str(error))
            return
        run = LivePrediction(self._viewer, request, self)
        run.told.connect(self._form.status.say)
        run.progressed.connect(self._form.progress.show_progress)
        run.planned.connect(self._form.show_legend)
        self._form.progress.show_progress(0.0, "")
        self._form.status.say("Loading the model engine…")
        self._begin(run)
        self._update()

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self._form.cancel.setEnabled(False)
            self._form.status.say("Cancelling…")

    def _after_run(self, sentence: str) -> None:
        self._form.status.say(sentence)
        self._save_to.look()

"""The "Predict nanoparticles" widget: resolves its controls into a request and runs it.

1. Build the controls (predict_form, role_pickers).
2. Read the state: the models there are, the layers there are.
3. Connect: any change says anew whether Predict is possible, and if not, why.
4. Predict freezes the controls into a `PredictRequest`; a `LivePrediction` does the rest and hands
   back one sentence.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from qtpy.QtCore import (  # type: ignore[attr-defined,unused-ignore]
    QEvent,
    QSignalBlocker,
    Signal,
)
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_damm.widgets.layer_slides import request_slide
from napari_damm.widgets.live_prediction import LivePrediction, PredictRequest
from napari_damm.widgets.model_cards import NO_MODEL, Card, list_cards
from napari_damm.widgets.pixel_sizes import PixelSizes
from napari_damm.widgets.predict_form import PredictForm
from napari_damm.widgets.role_pickers import RolePickers

if TYPE_CHECKING:
    import napari.viewer

SAMPLE = "try File > Open Sample > Simulated tumour section"


class PredictWidget(QWidget):
    """Predict the nanoparticle distribution from a vessels and a nuclei channel."""

    ended = Signal(str)  # the sentence with which a run came to its end

    # napari passes the viewer to whoever annotates it so.
    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._sizes = PixelSizes()
        self._cards: list[Card] = []
        self._run: LivePrediction | None = None
        self._pickers = RolePickers(viewer, self)
        self._form = PredictForm(self._pickers.boxes, self._pickers.swap)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._form)

        self._list_models()
        self._update()

        self._pickers.changed.connect(self._update)
        self._form.model.currentIndexChanged.connect(self._on_model)
        self._form.pixel_size.valueChanged.connect(self._on_pixel_size)
        self._form.predict.clicked.connect(self._predict)
        self._form.cancel.clicked.connect(self._cancel)

    def _list_models(self) -> None:
        try:
            self._cards = list_cards()
        except (OSError, ValueError) as error:
            self._form.status.say(str(error))
        with QSignalBlocker(self._form.model):
            self._form.model.addItems([card.name for card in self._cards])
        self._on_model()

    def _on_model(self) -> None:
        card = self._card or NO_MODEL
        self._form.show_card(card)
        self._pickers.set_modalities(card.modalities)

    @property
    def _card(self) -> Card | None:
        row = self._form.model.currentIndex()
        return self._cards[row] if 0 <= row < len(self._cards) else None

    def _update(self) -> None:
        """Show the pixel size of the picked layer, and whether Predict is possible or why not."""
        primary, _ = self._pickers.picked
        size, origin = None, ""
        if primary is not None:
            with suppress(ValueError):  # _request() says it
                size, origin = self._sizes.of(primary)
        self._form.show_pixel_size(size, origin)
        try:
            self._request()
            reason = ""
        except ValueError as error:
            reason = str(error)
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
        size, _ = self._sizes.of(primary)
        return PredictRequest(
            slide=request_slide(primary, secondary, size or 0.0),
            model=card.path,
            mode=self._form.mode.currentText(),
            device=self._form.device.currentText(),
        )

    def _on_pixel_size(self, value: float) -> None:
        primary, secondary = self._pickers.picked
        if primary is not None:
            with suppress(ValueError):  # _request() says it
                self._sizes.enter(primary, value, beside=secondary)
        self._update()

    def _predict(self) -> None:
        try:
            request = self._request()
        except ValueError as error:
            self._form.status.say(str(error))
            return
        self._run = LivePrediction(self._viewer, request, self)
        self._run.told.connect(self._form.status.say)
        self._run.progressed.connect(self._form.show_progress)
        self._run.ended.connect(self._on_ended)
        self._run.planned.connect(self._form.show_legend)
        self._form.show_progress(0.0, "")
        self._form.status.say("Loading the model engine…")
        self._update()
        self._run.start()

    def _cancel(self) -> None:
        if self._run is not None:
            self._run.cancel()
            self._form.cancel.setEnabled(False)
            self._form.status.say("Cancelling…")

    def _on_ended(self, sentence: str) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.deleteLater()
        self._form.status.say(sentence)
        self._update()
        self.ended.emit(sentence)

    def changeEvent(self, event: QEvent | None) -> None:
        """Stop a run whose widget is taken out of its dock: napari does so to close it."""
        super().changeEvent(event)
        moved = event is not None and event.type() == QEvent.Type.ParentChange
        if moved and self.parent() is None and self._run is not None:
            self._run.shut_down()
            self._on_ended("Cancelled: the widget was closed")

"""One training in a viewer, from the click to the new model.

1. A `TrainRequest`, frozen at the click, makes the events in the job's thread, and afterwards puts
   the model into the list.
2. The GUI drains the job: steps and validations go to the curves, validation tiles to their layers.
3. However it ends, `ended` says what there is now: a model, something to resume, or an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject

from napari_damm.events import (
    Event,
    FailedItem,
    Preparing,
    TrainPlanned,
    TrainStep,
    Validated,
)
from napari_damm.widgets.run.gui_priority import Ready
from napari_damm.widgets.run.job import Job, Outcome
from napari_damm.widgets.run.live_run import LiveRun
from napari_damm.widgets.train.learning_curves import LearningCurves
from napari_damm.widgets.train.request import Kept, LayerData, TrainRequest
from napari_damm.widgets.train.training_summary import TrainingSummary
from napari_damm.widgets.viewer.validation_layers import ValidationLayers

NO_MODEL = "The training ended without a model"


class LiveTraining(LiveRun):
    """Drives one request; `kept` is what it left, once it has ended."""

    def __init__(
        self,
        viewer: Any,
        request: TrainRequest,
        curves: LearningCurves,
        parent: QObject,
    ) -> None:
        super().__init__(Job(request.events, afterwards=request.keep), parent)
        self.kept = Kept()
        self._viewer = viewer
        self._request = request
        self._curves = curves
        self._summary = TrainingSummary(request.config.name, request.config.validation_windows)
        self._layers: ValidationLayers | None = None

    @property
    def _complete(self) -> bool:
        return self._layers is None or not self._layers.incomplete

    def _show(self, event: Event | Ready) -> None:
        if isinstance(event, Ready):
            return
        self._summary.count(event)
        match event:
            case TrainPlanned():
                self._curves.begin(event, self._request.config.name)
                world = self._request.data.world
                # images from folders are not shown: there is nothing to outline
                shown = isinstance(self._request.data, LayerData)
                corners = event.validation_corners_um if shown else ()
                self._layers = ValidationLayers(self._viewer, event.modalities, world, corners)
            case TrainStep():
                self._curves.step(event)
            case Validated():
                self._curves.validated(event)
                if event.tiles and self._layers is not None:
                    self._layers.show(event.tiles)
                    self.legend_changed.emit(self._layers.explain())

    def _shown(self, events: Sequence[Event | Ready]) -> None:
        if self._layers is not None:
            self._layers.add_next()
        if any(isinstance(event, TrainStep | Validated) for event in events):
            self._curves.draw()
        if any(isinstance(event, TrainStep | Validated | Preparing) for event in events):
            self.progress_changed.emit(self._summary.fraction, self._summary.text())
        if any(isinstance(event, TrainPlanned | Validated | FailedItem) for event in events):
            self.status_changed.emit(self._summary.state())

    def _finish(self, outcome: Outcome) -> None:
        if isinstance(outcome.left, Kept):
            self.kept = outcome.left
        finished = self._summary.finished
        if finished is not None and not outcome.message:
            self.progress_changed.emit(1.0, "")
            self.ended.emit(self._summary.done(finished, self.kept))
            return
        self.progress_changed.emit(self._summary.fraction, "")
        if outcome.cancelled:
            self.ended.emit(self._summary.stopped(self.kept))
        else:
            self.ended.emit(self._summary.stopped(self.kept, outcome.message or NO_MODEL))

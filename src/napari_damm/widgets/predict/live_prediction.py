"""One prediction in a viewer, from the click to the finished layers.

1. A `PredictRequest`, frozen at the click, makes the events in the job's thread: importing the
   engine and hashing the input are slow, and happen there.
2. A timer in the GUI thread drains the job: at `Planned` the layers are added, one at a time, and
   the job waits for them; the rest moves the progress.
3. Shown layers are refreshed a few times a second, and less often where that is slow: with the
   drawing that follows it may take a fifth of the time at most, so the viewer stays usable.
4. How the job ends is one sentence; `live_run` sees to it that it always does.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QObject

from napari_damm.events import Event, Planned, ShardDone, Step, Tile
from napari_damm.widgets.predict.forecast import keep_timing
from napari_damm.widgets.predict.prediction_summary import PredictionSummary, estimate
from napari_damm.widgets.predict.request import PredictRequest
from napari_damm.widgets.run.gui_priority import Ready
from napari_damm.widgets.run.job import Job, Outcome
from napari_damm.widgets.run.live_run import LiveRun
from napari_damm.widgets.viewer.regions import hide_what_covers
from napari_damm.widgets.viewer.result_layers import ResultLayers
from napari_damm.widgets.viewer.result_maps import Maps
from napari_damm.widgets.viewer.run_notes import RunNotes

REFRESH_S = 0.3
REFRESH_SHARE = 0.2
PREVIEWED = "Preview of one window, at the centre of the view. Predict does all."
NO_RESULT = "The prediction ended without a result"


class LivePrediction(LiveRun):
    """Drives one request and shows it in a viewer."""

    def __init__(self, viewer: Any, request: PredictRequest, parent: QObject) -> None:
        super().__init__(Job(request.events, waits_after=(Planned,)), parent)
        self._viewer = viewer
        self._request = request
        self._summary = PredictionSummary()
        self._layers: ResultLayers | None = None
        self._planned: Planned | None = None
        self._going = False  # past the point where the layers are there
        self._refreshed = 0.0
        self._next_refresh = 0.0
        self._stale = False

    @property
    def has_result(self) -> bool:
        """Whether a result came of it; a preview is none."""
        return self._summary.finished is not None and not self._request.preview

    def _shown(self, events: Sequence[Event | Ready]) -> None:
        self._add_a_layer()
        if any(isinstance(event, Step | Tile | ShardDone) for event in events):
            self.progress_changed.emit(self._summary.fraction, self._summary.text())
        layers = self._layers
        if layers is not None and not layers.incomplete and not layers.present:
            self._job.cancel()  # the analyst threw the result away
        self._refresh_now_and_then()

    def _show(self, event: Event | Ready) -> None:
        if not isinstance(event, Ready):
            self._summary.count(event)
        match event:
            case Planned():
                self._planned, self._layers = event, self._new_layers(Maps.of_plan(event))
            case Tile():
                self._stale = True
            case Ready(maps) if self._layers is not None:
                self._layers.finish(maps)

    def _new_layers(self, maps: Maps) -> ResultLayers:
        request = self._request
        if request.preview:
            return ResultLayers.of_preview(self._viewer, maps, request.slide)
        hide_what_covers(self._viewer.layers, request.region_name)
        notes = RunNotes(request.slide.sources, request.model)
        return ResultLayers(self._viewer, maps, request.slide, notes, request.out)

    def _add_a_layer(self) -> None:
        """Add one layer per tick; when all have been drawn, the job goes on."""
        layers, planned = self._layers, self._planned
        if layers is None or planned is None or self._going:
            return
        if layers.incomplete:
            layers.add_next()
            return
        self._going = True
        self._job.go_on()
        self.status_changed.emit(self._summary.sentence(self._announcement(planned)))

    def _announcement(self, planned: Planned) -> str:
        plane = f" {self._request.slide.plane}" if self._request.slide.plane else ""
        before = f", {planned.shards_done} of {planned.shards} parts were done"
        return f"Predicting{plane}{before if planned.shards_done else ''}{estimate(planned)}…"

    def _refresh_now_and_then(self) -> None:
        now = time.monotonic()
        if self._refreshed:
            # Drawing follows the refresh in the event loop: a late tick tells how long it took.
            spent = now - self._refreshed
            self._next_refresh = self._refreshed + max(REFRESH_S, spent / REFRESH_SHARE)
            self._refreshed = 0.0
        if self._layers is None or not self._stale or now < self._next_refresh:
            return
        self._layers.refresh()
        self._refreshed, self._stale = now, False

    def _finish(self, outcome: Outcome) -> None:
        finished = self._summary.finished
        if finished is not None and not outcome.message:
            if self._layers is not None:
                self._layers.keep(finished.result)
            self._keep_timing(finished.seconds)
            done = self._summary.done(finished)
            self.ended.emit(f"{PREVIEWED} {done}" if self._request.preview else done)
            return
        done = self._summary.eta.windows_text()
        self.progress_changed.emit(self._summary.fraction, done if self._layers else "")
        if self._layers is not None:
            state = "cancelled" if outcome.cancelled else "failed"
            record = {} if self._planned is None else self._planned.record
            self._layers.end_early(
                {**record, "state": state, "windows_done": done}, self._summary.windows_share
            )
        shown = self._layers is not None and bool(self._layers.present)
        saved = self._request.out is not None and self._layers is not None
        if outcome.cancelled:
            self.ended.emit(self._summary.cancelled(shown, saved))
        else:
            self.ended.emit(outcome.message or NO_RESULT)

    def _keep_timing(self, seconds: float) -> None:
        """Note what it took, for the forecast of the next run; previews are mostly start."""
        planned, request = self._planned, self._request
        if planned is not None and not request.preview:
            windows = planned.windows - planned.windows_done
            result = planned.disk_bytes if request.out is None else 0
            memory = planned.memory_bytes - result
            keep_timing(request.model, request.settings, seconds, windows, memory)

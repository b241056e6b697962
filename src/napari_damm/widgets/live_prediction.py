"""One prediction in a viewer, from the click to the finished layers.

1. A `PredictRequest`, frozen at the click, makes the events in the job's thread: importing the
   engine and hashing the input are slow, and happen there.
2. A timer in the GUI thread drains the job: at `Planned` the layers are added, one at a time, and
   the job waits for them; the rest moves the progress.
3. Shown layers are refreshed a few times a second, and less often where that is slow: with the
   drawing that follows it may take a fifth of the time at most, so the viewer stays usable.
4. However the job ends, `ended` is emitted once with a sentence, and nothing is left running, not
   even when the widget or the whole viewer is closed on the way.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined,unused-ignore]
    QObject,
    QTimer,
    Signal,
)

from napari_damm.events import Event, Notice, Planned, ShardDone, Step, Tile
from napari_damm.widgets.backstage import Ready
from napari_damm.widgets.job import Job, Outcome, readable
from napari_damm.widgets.request import PredictRequest
from napari_damm.widgets.result_layers import Maps, ResultLayers
from napari_damm.widgets.tally import Tally, estimate

log = logging.getLogger(__name__)
DRAIN_MS = 50
REFRESH_S = 0.3
REFRESH_SHARE = 0.2
JOIN_S = 10.0
NO_RESULT = "The prediction ended without a result"


class LivePrediction(QObject):
    """Drives one request and shows it in a viewer."""

    told = Signal(str)
    planned = Signal(tuple)  # the model's modalities
    progressed = Signal(float, str)
    ended = Signal(str)

    def __init__(self, viewer: Any, request: PredictRequest, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._request = request
        self._job = Job(request.events)
        self._tally = Tally()
        self._layers: ResultLayers | None = None
        self._planned: Planned | None = None
        self._going = False  # past the point where the layers are there
        self._refreshed = 0.0
        self._next_refresh = 0.0
        self._stale = False
        self._trouble = ""  # why nothing more can be shown
        self._timer = QTimer(self)
        self._timer.setInterval(DRAIN_MS)
        self._timer.timeout.connect(self._tick)
        # The widget may vanish with its window: the thread must not outlive it.
        self.destroyed.connect(partial(_abandon, self._job))

    def start(self) -> None:
        """Start the thread and the timer that reads from it."""
        self._job.start()
        self._timer.start()

    def cancel(self) -> None:
        """Ask for the end; `ended` follows within a denoising step."""
        self._job.cancel()

    def shut_down(self) -> None:
        """Stop at once and wait for the thread: nobody is watching any more."""
        self._timer.stop()
        _abandon(self._job)

    def _tick(self) -> None:
        try:
            events = self._job.drain()
            if self._trouble:
                events = []
            for event in events:
                self._show(event)
            self._add_a_layer()
            if any(isinstance(event, Step | Tile | ShardDone) for event in events):
                self.progressed.emit(self._tally.pace.fraction, self._tally.pace.text())
            layers = self._layers
            if layers is not None and not layers.incomplete and not layers.present:
                self._job.cancel()  # the analyst threw the result away
            self._refresh_now_and_then()
        except Exception as error:  # whatever napari raises, the widget must become ready again
            log.exception("The prediction cannot be shown")
            self._trouble = self._trouble or readable(error)
            self._job.cancel()  # ends within a step; waiting for it here would freeze the screen
        if self._job.over and self._job.outcome is not None:
            self._finish(self._job.outcome)

    def _show(self, event: Event | Ready) -> None:
        self._tally.count(event)
        match event:
            case Notice():
                self.told.emit(event.message)
            case Planned():
                slide, out, self._planned = self._request.slide, self._request.out, event
                maps = Maps.of_plan(event)
                self._layers = ResultLayers(self._viewer, maps, slide.world, slide.plane, out)
            case Tile():
                self._stale = True
            case Ready(maps) if self._layers is not None:
                self._layers.finish(maps)

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
        self.planned.emit(Maps.of_plan(planned).modalities)
        self.told.emit("; ".join([self._announcement(planned), *self._tally.warnings]))

    def _announcement(self, planned: Planned) -> str:
        plane = f" {self._request.slide.plane}" if self._request.slide.plane else ""
        before = f", {planned.shards_done} of {planned.shards} shards were done"
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
        self.shut_down()
        if self._trouble:
            outcome = Outcome(message=self._trouble)
        finished = self._tally.finished
        if finished is not None and not outcome.message:
            self.ended.emit(self._tally.summary(finished))
            return
        done = self._tally.pace.windows_text()
        self.progressed.emit(self._tally.pace.fraction, done if self._layers else "")
        if self._layers is not None:
            state = "cancelled" if outcome.cancelled else "failed"
            record = {} if self._planned is None else self._planned.record
            self._layers.stamp({**record, "state": state, "windows_done": done})
        shown = self._layers is not None and bool(self._layers.present)
        saved = self._request.out is not None and self._layers is not None
        if outcome.cancelled:
            self.ended.emit(self._tally.cancelled(shown, saved))
        else:
            self.ended.emit(outcome.message or NO_RESULT)


def _abandon(job: Job, *_: object) -> None:
    job.cancel()
    if not job.join(JOIN_S):
        log.warning("The prediction is still in its last step and ends by itself")

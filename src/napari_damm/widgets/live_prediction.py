"""One prediction in a viewer, from the click to the finished layers.

1. A `PredictRequest`, frozen at the click, makes the events in the job's thread: importing the
   engine and hashing the input are slow, and happen there.
2. A timer in the GUI thread drains the job: `Planned` adds the layers, the rest moves the progress.
3. Shown layers are refreshed a few times a second, and less often where a refresh is slow: it may
   take a tenth of the time at most, so the viewer stays usable.
4. However the job ends, `ended` is emitted once with a sentence, and nothing is left running, not
   even when the widget or the whole viewer is closed on the way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import (  # type: ignore[attr-defined,unused-ignore]
    QObject,
    QTimer,
    Signal,
)

from napari_damm.events import Event, FailedItem, Finished, Notice, Planned, Step, Tile
from napari_damm.widgets.job import Job, Outcome, readable
from napari_damm.widgets.layer_slides import SlideRequest
from napari_damm.widgets.pace import Pace
from napari_damm.widgets.result_layers import Maps, ResultLayers

log = logging.getLogger(__name__)
DRAIN_MS = 50
REFRESH_S = 0.3
REFRESH_SHARE = 0.1
JOIN_S = 10.0
MULTI_MODAL = 2
NO_RESULT = "The prediction ended without a result"


@dataclass(frozen=True)
class PredictRequest:
    """Everything that the analyst chose, resolved when Predict was clicked."""

    slide: SlideRequest
    model: Path
    mode: str
    device: str

    def events(self) -> Iterator[Event]:
        """Start the prediction; slow, for the worker."""
        from napari_damm import api

        config = api.PredictConfig(mode=self.mode, device=self.device)
        events: Iterator[Event] = api.predict(self.slide.slide(), self.model, config)
        return events


@dataclass
class Tally:
    """What has happened so far."""

    pace: Pace = field(default_factory=lambda: Pace(windows=0))
    windows_multi_modal: int = 0
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    finished: Finished | None = None

    def count(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case Notice(message, "warning"):
                self.warnings.append(message)
            case Planned():
                self.pace = Pace(event.windows)
            case Step():
                self.pace.step(event.done, event.total)
            case Tile():
                self.windows_multi_modal += bool((event.branch == MULTI_MODAL).any())
                self.pace.window(event.windows_done)
            case FailedItem():
                self.failed.append(event.item)
            case Finished():
                self.finished = event

    def summary(self, finished: Finished) -> str:
        """Say in one line what a finished job did."""
        done = self.pace.windows_done
        share = 100 * self.windows_multi_modal / max(done, 1)
        words = [f"Done in {finished.seconds:.0f} s: {done} windows, {share:.0f} % multi-modal"]
        if self.failed:
            words.append(f"{len(self.failed)} failed ({self.failed[0]}, ...)")
        return "; ".join(words + self.warnings)


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
        self._record: Mapping[str, Any] = {}
        self._next_refresh = 0.0
        self._stale = False
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
            for event in events:
                self._show(event)
            if any(isinstance(event, Step | Tile) for event in events):
                self.progressed.emit(self._tally.pace.fraction, self._tally.pace.text())
            if self._layers is not None and not self._layers.present:
                self._job.cancel()  # the analyst threw the result away
            self._refresh_now_and_then()
        except Exception as error:  # whatever napari raises, the widget must become ready again
            log.exception("The prediction cannot be shown")
            self._finish(Outcome(message=readable(error)))
            return
        if self._job.over and self._job.outcome is not None:
            self._finish(self._job.outcome)

    def _show(self, event: Event) -> None:
        self._tally.count(event)
        match event:
            case Notice():
                self.told.emit(event.message)
            case Planned():
                self._record = event.record
                maps = Maps.of_plan(event)
                self._layers = ResultLayers(self._viewer, maps, self._request.slide.world)
                self.planned.emit(maps.modalities)
                self.told.emit("; ".join(["Predicting…", *self._tally.warnings]))
            case Tile():
                self._stale = True
            case Finished():
                if self._layers is not None:
                    self._layers.finish(Maps.of_result(event.result))

    def _refresh_now_and_then(self) -> None:
        start = time.monotonic()
        if self._layers is None or not self._stale or start < self._next_refresh:
            return
        self._layers.refresh()
        self._stale = False
        spent = time.monotonic() - start
        self._next_refresh = start + max(REFRESH_S, spent / REFRESH_SHARE)

    def _finish(self, outcome: Outcome) -> None:
        self.shut_down()
        finished = self._tally.finished
        if finished is not None and not outcome.message:
            self.ended.emit(self._tally.summary(finished))
            return
        done = f"{self._tally.pace.windows_done} of {self._tally.pace.windows} windows"
        if self._layers is not None:
            state = "cancelled" if outcome.cancelled else "failed"
            self._layers.stamp({**self._record, "state": state, "windows_done": done})
        kept = f" after {done}, which stay" if self._layers and self._layers.present else ""
        self.ended.emit(f"Cancelled{kept}" if outcome.cancelled else outcome.message or NO_RESULT)


def _abandon(job: Job, *_: object) -> None:
    job.cancel()
    if not job.join(JOIN_S):
        log.warning("The prediction is still in its last step and ends by itself")

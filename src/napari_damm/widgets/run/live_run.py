"""What is common to everything that runs behind a widget: a job, a timer, what is said about it.

1. A timer in the GUI thread drains the job; `_show` and `_shown` put on the screen what came.
2. However the job ends, `ended` is emitted once with a sentence, and nothing is left running, not
   even when the widget or the whole viewer is closed on the way.
3. Whatever napari or Qt raise while something is drawn ends the job, and is the sentence.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined,unused-ignore]

from napari_damm.events import Event, Notice
from napari_damm.util.advice import in_words
from napari_damm.widgets.control_names import control_name
from napari_damm.widgets.run.gui_priority import Ready
from napari_damm.widgets.run.job import Job, Outcome, readable

log = logging.getLogger(__name__)
DRAIN_MS = 50
JOIN_S = 10.0


class LiveRun(QObject):
    """Drives one job and shows what comes out of it."""

    status_changed = Signal(str)
    progress_changed = Signal(float, str)
    legend_changed = Signal(str)
    ended = Signal(str)

    def __init__(self, job: Job, parent: QObject) -> None:
        super().__init__(parent)
        self._job = job
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
        """Ask for the end; `ended` follows within a step."""
        self._job.cancel()

    def close(self) -> None:
        """End at once and wait for the thread: the widget is going. `ended` is emitted."""
        self._stop()
        self._finish(replace(self._job.outcome or Outcome(), cancelled=True))

    def _stop(self) -> None:
        self._timer.stop()
        _abandon(self._job)

    def _tick(self) -> None:
        try:
            events = self._job.drain()
            if self._trouble:
                events = []
            for event in events:
                if isinstance(event, Notice):
                    self.status_changed.emit(in_words(event.message, control_name))
                self._show(event)
            self._shown(events)
        except Exception as error:  # whatever napari raises, the widget must become ready again
            log.exception("The job cannot be shown")
            self._trouble = self._trouble or readable(error)
            self._job.cancel()  # ends within a step; waiting for it here would freeze the screen
        outcome = self._job.outcome
        if self._job.over and outcome is not None and (self._trouble or self._complete):
            self._stop()
            trouble = self._trouble
            self._finish(replace(outcome, cancelled=False, message=trouble) if trouble else outcome)

    @property
    def _complete(self) -> bool:
        """Whether everything that came is on the screen."""
        return True

    def _show(self, event: Event | Ready) -> None:
        """Take note of one event."""
        raise NotImplementedError

    def _shown(self, events: Sequence[Event | Ready]) -> None:
        """Bring the screen up to date, after so many events since the last time."""
        raise NotImplementedError

    def _finish(self, outcome: Outcome) -> None:
        """Emit `ended`: the job is over, and its thread is gone."""
        raise NotImplementedError


def _abandon(job: Job, *_: object) -> None:
    job.cancel()
    if not job.join(JOIN_S):
        log.warning("The job is still in its last step and ends by itself")

"""One analysis in a viewer, from the click to the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_damm.events import Event, Finished, Notice, Preparing
from napari_damm.util.advice import in_words
from napari_damm.widgets.control_names import control_name
from napari_damm.widgets.controls import capital
from napari_damm.widgets.run.gui_priority import Ready
from napari_damm.widgets.run.job import Job, Outcome
from napari_damm.widgets.run.live_run import LiveRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_damm.analysis.report import AnalysisReport


class LiveAnalysis(LiveRun):
    """Drives an analysis, or the writing of its report; `report` is what came out."""

    def __init__(self, make_events: Callable[[], Iterator[Event]], parent: QObject) -> None:
        super().__init__(Job(make_events), parent)
        self.report: AnalysisReport | None = None
        self._warnings: list[str] = []
        self._seconds = 0.0

    def _show(self, event: Event | Ready) -> None:
        match event:
            case Preparing():
                share = event.done / event.total if event.total else 0.0
                self.progress_changed.emit(share, event.what)
            case Notice():
                self._warnings.append(in_words(event.message, control_name))
            case Finished():
                self.report, self._seconds = event.result, event.seconds

    def _shown(self, events: Sequence[Event | Ready]) -> None:
        """Everything is shown as it comes."""

    def _finish(self, outcome: Outcome) -> None:
        if self.report is not None and not outcome.message:
            self.progress_changed.emit(1.0, "")
            done = f"Done in {self._seconds:.1f} s: measured"
            if self.report.path is not None:
                done = f"Saved in {self.report.path}"
            self.ended.emit(". ".join([done, *map(capital, self._warnings)]))
            return
        self.progress_changed.emit(0.0, "")
        self.ended.emit("Cancelled" if outcome.cancelled else outcome.message)

"""What has happened so far in a prediction, and the sentence that it ends with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_damm.engine.branch_use import branch_use_in_words
from napari_damm.events import Event, FailedItem, Finished, Planned, ShardDone, Step, Tile
from napari_damm.trust.cells import shares_in_words
from napari_damm.trust.verdict import in_a_line
from napari_damm.util.text import count
from napari_damm.widgets.run.eta import Eta, duration
from napari_damm.widgets.run.run_summary import RunSummary

GIB = 2**30


@dataclass
class PredictionSummary(RunSummary):
    """Counts the events of one prediction."""

    eta: Eta = field(default_factory=lambda: Eta(windows=0))
    windows_multi_modal: int = 0
    shards_done: int = 0
    shards: int = 0
    failed: list[str] = field(default_factory=list)

    def count(self, event: Event) -> None:
        """Take note of one event."""
        super().count(event)
        match event:
            case Planned():
                self.shards_done, self.shards = event.shards_done, event.shards
                self.eta = Eta(event.windows, windows_done=event.windows_done)
            case Step():
                self.eta.step(event.done, event.total)
            case Tile():
                self.windows_multi_modal += event.mostly_multi_modal
                self.eta.window(event.windows_done)
            case ShardDone():
                self.shards_done = event.shards_done
            case FailedItem():
                self.failed.append(event.item)

    @property
    def fraction(self) -> float:
        """Share of the window-steps that are made, 0..1."""
        return self.eta.fraction

    @property
    def windows_share(self) -> float:
        """Share of the windows that are finished, and thus shown, 0..1."""
        return self.eta.windows_done / self.eta.windows if self.eta.windows else 0.0

    def text(self) -> str:
        """Return the state in words, such as "12 of 25 windows · 0:40 left"."""
        return self.eta.text()

    def done(self, finished: Finished) -> str:
        """Say in one line what a finished job did, with what earlier runs did for it."""
        record = finished.result.record
        windows = record.get("windows", self.eta.windows_done)
        seconds = finished.seconds
        time = f"{seconds:.0f} s" if seconds < 120 else duration(seconds)
        failed = f"{len(self.failed)} failed ({self.failed[0]}, ...)" if self.failed else ""
        trust = record.get("trust") or {}
        worth = shares_in_words(trust)
        used = branch_use_in_words(record, self.windows_multi_modal, windows)
        worth = f". {worth}" if worth else f"; {used}"
        self._leave_out(trust)
        return self.sentence(f"Done in {time}: {count(windows, 'window')}{worth}", failed)

    def _leave_out(self, trust: Mapping[str, Any]) -> None:
        """Drop the warning that stands in a line of its own, beside Predict."""
        said = in_a_line(str(trust.get("verdict")), trust.get("reasons", ()))
        self.warnings = [warning for warning in self.warnings if warning != said]

    def cancelled(self, shown: bool, saved: bool) -> str:
        """Say what is left of a job that was cancelled, in the viewer or on disk."""
        if saved and self.shards_done:
            of = count(self.shards, "part")
            return f"Cancelled after {self.shards_done} of {of}; Resume continues"
        if saved:
            return "Cancelled before a first part was complete: nothing is saved"
        if not shown:
            return "Cancelled"
        return f"Cancelled after {self.eta.windows_text()}, which stay, marked as partial"


def estimate(planned: Planned) -> str:
    """Say what a job will take, as far as it is known."""
    words = []
    if planned.seconds is not None:
        words.append(f"about {duration(planned.seconds)}")
    for size, where in ((planned.memory_bytes, "memory"), (planned.disk_bytes, "disk")):
        if size >= 0.1 * GIB:
            words.append(f"{size / GIB:.1f} GB of {where}")
    return f" ({', '.join(words)})" if words else ""

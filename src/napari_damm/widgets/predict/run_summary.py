"""What has happened so far in a run, and the sentence that it ends with."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_damm.events import FailedItem, Finished, Notice, Planned, ShardDone, Step, Tile
from napari_damm.util.advice import in_words
from napari_damm.widgets.control_names import control_name
from napari_damm.widgets.run.eta import Pace, duration

GIB = 2**30


@dataclass
class Tally:
    """Counts the events of one job."""

    pace: Pace = field(default_factory=lambda: Pace(windows=0))
    windows_multi_modal: int = 0
    shards_done: int = 0
    shards: int = 0
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    finished: Finished | None = None

    def count(self, event: object) -> None:
        """Take note of one event."""
        match event:
            case Notice(message, "warning"):
                self.warnings.append(in_words(message, control_name))
            case Planned():
                self.shards_done, self.shards = event.shards_done, event.shards
                self.pace = Pace(event.windows, windows_done=event.windows_done)
            case Step():
                self.pace.step(event.done, event.total)
            case Tile():
                self.windows_multi_modal += event.mostly_multi_modal
                self.pace.window(event.windows_done)
            case ShardDone():
                self.shards_done = event.shards_done
            case FailedItem():
                self.failed.append(event.item)
            case Finished():
                self.finished = event

    def summary(self, finished: Finished) -> str:
        """Say in one line what a finished job did, with what earlier runs did for it."""
        record = finished.result.record
        windows = record.get("windows", self.pace.windows_done)
        multi_modal = record.get("multi_modal_windows", self.windows_multi_modal)
        share = 100 * multi_modal / max(windows, 1)
        seconds = finished.seconds
        time = f"{seconds:.0f} s" if seconds < 120 else duration(seconds)
        words = [f"Done in {time}: {windows} windows, {share:.0f} % multi-modal"]
        if self.failed:
            words.append(f"{len(self.failed)} failed ({self.failed[0]}, ...)")
        return "; ".join(words + self.warnings)

    def cancelled(self, shown: bool, saved: bool) -> str:
        """Say what is left of a job that was cancelled, in the viewer or on disk."""
        if saved and self.shards_done:
            return f"Cancelled after {self.shards_done} of {self.shards} shards; Resume continues"
        if saved:
            return f"Cancelled before the first of {self.shards} shards was saved"
        return f"Cancelled after {self.pace.windows_text()}, which stay" if shown else "Cancelled"


def estimate(planned: Planned) -> str:
    """Say what a job will take, as far as it is known."""
    words = []
    if planned.seconds is not None:
        words.append(f"about {duration(planned.seconds)}")
    for size, where in ((planned.memory_bytes, "memory"), (planned.disk_bytes, "disk")):
        if size >= 0.1 * GIB:
            words.append(f"{size / GIB:.1f} GB of {where}")
    return f" ({', '.join(words)})" if words else ""

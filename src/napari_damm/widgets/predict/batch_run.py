"""A batch behind the window "Many sections": its events become states of sections."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_damm.engine.config import EXPECTED
from napari_damm.events import (
    Event,
    Finished,
    Planned,
    SectionDone,
    SectionFailed,
    SectionStarted,
    Step,
)
from napari_damm.util.advice import in_words
from napari_damm.util.text import count
from napari_damm.widgets.predict.batch_channels import batch_control
from napari_damm.widgets.predict.forecast import keep_timing
from napari_damm.widgets.run.gui_priority import Ready, load_what_is_slow
from napari_damm.widgets.run.job import Job, Outcome
from napari_damm.widgets.run.live_run import LiveRun

if TYPE_CHECKING:
    from napari_damm.engine.batch_sections import BatchSection


NAMED = 5  # of the sections that failed, at the end; the list has all


@dataclass(frozen=True)
class Choices:
    """Model and settings of `PredictConfig`, for all sections.

    `model_um` holds the pixel sizes of the models that there are, where they state one.
    """

    model: Path
    settings: Mapping[str, Any]
    model_um: Mapping[Path, float] = field(default_factory=dict)

    def of(self, section: BatchSection) -> tuple[Path, Mapping[str, Any]]:
        """Return model and settings of a section, which may have its own."""
        model = Path(section.model or self.model)
        if section.mode is None:
            return model, self.settings
        views = self.settings["views"] if section.mode == EXPECTED else 1
        return model, {**self.settings, "mode": section.mode, "views": views}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def words_of(section: BatchSection) -> str:
    """Name a section, and its nuclei where they have a file of their own."""
    return f"{section.name} + {section.nuclei.name}" if section.nuclei else section.name


class BatchRun(LiveRun):
    """Drives a batch; `tell` hears what becomes of each section, by its name."""

    def __init__(
        self,
        sections: Sequence[BatchSection],
        choices: Choices,
        tell: Callable[[str, str], None],
        parent: QObject,
    ) -> None:
        self._sections, self._choices, self._tell = sections, choices, tell
        self._current: SectionStarted | None = None
        self._planned: Planned | None = None
        self._done = 0
        self.failed: list[str] = []
        self._finished = False
        super().__init__(Job(self._events), parent)

    def _events(self) -> Iterator[Event]:
        load_what_is_slow()
        from napari_damm import api

        config = api.PredictConfig(**self._choices.settings)
        yield from api.predict_batch(self._sections, self._choices.model, config, resume=True)

    def _show(self, event: Event | Ready) -> None:
        match event:
            case SectionStarted():
                self._current, self._planned = event, None
                self._tell(event.section, "running")
                self.status_changed.emit(f"Section {event.number} of {event.total}")
            case Planned():
                self._planned = event
            case Step() if self._current is not None and event.total:
                share = event.done / event.total
                self._tell(self._current.section, f"{100 * share:.0f} %")
                done = (self._current.number - 1 + share) / self._current.total
                text = f"{self._current.number} of {count(self._current.total, 'section')}"
                self.progress_changed.emit(done, text)
            case SectionDone():
                self._done += 1
                failed = f", {count(len(event.failed), 'window')} failed" if event.failed else ""
                self._tell(event.section, f"done{failed}")
                self._keep_timing(event.seconds)
            case SectionFailed():
                self.failed.append(event.section)
                self._tell(event.section, f"failed: {in_words(event.message, batch_control)}")
            case Finished():
                self._finished = True
                self.progress_changed.emit(1.0, "")

    def _keep_timing(self, seconds: float) -> None:
        """Note what a section took, for forecasts."""
        if self._planned is not None and self._current is not None:
            section = self._sections[self._current.number - 1]
            windows = self._planned.windows - self._planned.windows_done
            keep_timing(*self._choices.of(section), seconds, windows, self._planned.memory_bytes)

    def _shown(self, events: Sequence[Event | Ready]) -> None:
        pass

    def _finish(self, outcome: Outcome) -> None:
        said = f"{self._done} of {count(len(self._sections), 'section')} done"
        said += f", {len(self.failed)} failed: {_listed(self.failed)}" if self.failed else ""
        if self._finished:
            self.ended.emit(said)
            return
        if self._current is not None and outcome.cancelled:
            self._tell(self._current.section, "cancelled, Start goes on")
        self.ended.emit(f"Cancelled; {said}" if outcome.cancelled else outcome.message or said)

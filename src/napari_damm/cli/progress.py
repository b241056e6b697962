"""A job's events, followed to the end: shown on the terminal, and tallied.

1. Each event is shown (`terminal`) and counted.
2. What goes wrong before a plan (`Planned`, `TrainPlanned`) is bad input and passes through
   unchanged; what goes wrong later is a job that stopped, and becomes `JobStopped`.
3. A job that can be stopped between its events is, at the first Ctrl-C or SIGTERM.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field

from napari_damm.cli.option_names import in_options
from napari_damm.cli.signals import asked_to_stop
from napari_damm.cli.terminal import Terminal
from napari_damm.events import (
    Event,
    FailedItem,
    Finished,
    Planned,
    Saved,
    SectionStarted,
    ShardDone,
    Tile,
    TrainPlanned,
    TrainStep,
    Validated,
)
from napari_damm.util.errors import JobFault, is_disk_full, is_out_of_memory, one_line

# Events of which the last is kept, and as what.
_LAST = {
    SectionStarted: "section",
    TrainPlanned: "train_planned",
    TrainStep: "train_step",
    Validated: "validated",
    Saved: "saved",
    Finished: "finished",
}


class JobStopped(Exception):
    """A job that had started could not go on; the message is one sentence."""


class JobInterrupted(Exception):
    """The user ended a job that had started; the message says how to continue it."""


@dataclass
class Tally:
    """What was seen of a job."""

    section: SectionStarted | None = None
    planned: Planned | None = None
    finished: Finished | None = None
    windows_multi_modal: int = 0
    windows_done: int = 0
    shards_done: int = 0
    failed: list[str] = field(default_factory=list)
    train_planned: TrainPlanned | None = None
    train_step: TrainStep | None = None
    validated: Validated | None = None
    saved: Saved | None = None

    @property
    def is_planned(self) -> bool:
        """Whether the job had its plan: what goes wrong from then on is no bad input."""
        begun = (self.section, self.planned, self.train_planned)
        return any(event is not None for event in begun)


def stopped_because(error: BaseException) -> str:
    """Say in one line why a job stopped."""
    if is_disk_full(error):
        message = in_options(one_line(error))
        return (
            message
            if "disk is full" in message
            else f"the disk is full: {message}; free some space"
        )
    if isinstance(error, MemoryError) and "out of memory" in str(error):
        return in_options(one_line(error))
    if is_out_of_memory(error):
        return "out of memory; close other programs, or choose something smaller"
    if isinstance(error, JobFault | OSError):
        return in_options(one_line(error))
    return f"stopped by an internal error, {type(error).__name__}: {in_options(one_line(error))}"


def follow(events: Iterator[Event], tally: Tally, stops_between_events: bool = False) -> Finished:
    """Drive a job to its end with a progress bar; `tally` says how far it came, even on errors.

    Parameters
    ----------
    events
        The job.
    tally
        Is filled in.
    stops_between_events
        At the first Ctrl-C or SIGTERM let the job come to its next event, and close it there; at
        the second interrupt it at once. Otherwise the first does that.

    Raises
    ------
    JobStopped
        An error after the job was planned. Earlier errors pass through.
    JobInterrupted
        It was closed between two events, as the user asked.
    """
    with ExitStack() as stack:
        request = stack.enter_context(asked_to_stop()) if stops_between_events else None
        stack.enter_context(_closing(events))
        terminal = stack.enter_context(closing(Terminal()))
        try:
            for event in events:
                terminal.show(event)
                _count(event, tally)
                if request is not None and request.asked and tally.finished is None:
                    # Here, not on the way out, for closing a job may fail as well.
                    with _closing(events):
                        raise JobInterrupted("interrupted")
        except JobInterrupted:
            raise
        except Exception as error:
            if not tally.is_planned:
                raise
            raise JobStopped(stopped_because(error)) from error
    if tally.finished is None:
        raise JobStopped("the job ended without a result")
    return tally.finished


def _count(event: Event, tally: Tally) -> None:
    match event:
        case Planned():
            tally.planned = event
            tally.shards_done = event.shards_done
        case Tile():
            tally.windows_done = event.windows_done
            tally.windows_multi_modal += event.mostly_multi_modal
        case ShardDone():
            tally.shards_done = event.shards_done
        case FailedItem():
            tally.failed.append(f"{event.item}: {event.message}")
        case _ if type(event) in _LAST:
            setattr(tally, _LAST[type(event)], event)


@contextmanager
def _closing(events: Iterator[Event]) -> Iterator[None]:
    """Cancel the job when its driver leaves early; a plain iterator has nothing to cancel."""
    try:
        yield
    finally:
        if isinstance(events, Generator):
            events.close()

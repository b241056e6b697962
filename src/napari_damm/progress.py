"""A job's events, shown on a terminal: one progress bar, and one line per notice.

1. `Planned` opens the bar.
2. `Step` moves it; `Tile` counts windows and which branch each was predicted with.
3. `Notice` and `FailedItem` are printed above it, on stderr.
4. `Finished` closes it and the tally of the job is returned.

What goes wrong before `Planned` is bad input and passes through unchanged; what goes wrong later
is a job that stopped, and becomes `JobStopped`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from napari_damm.events import (
    Event,
    FailedItem,
    Finished,
    Notice,
    Planned,
    ShardDone,
    Step,
    Tile,
)
from napari_damm.faults import is_disk_full, is_out_of_memory, one_line

_MULTI_MODAL = 2
BAR_INTERVAL_S = 0.2
LOG_INTERVAL_S = 10.0


class JobStopped(Exception):
    """A job that had started could not go on; the message is one sentence."""


class JobInterrupted(Exception):
    """The user ended a job that had started; the message says how to continue it."""


@dataclass
class Tally:
    """What was seen of a job."""

    planned: Planned | None = None
    finished: Finished | None = None
    windows_multi_modal: int = 0
    windows_done: int = 0
    shards_done: int = 0
    failed: list[str] = field(default_factory=list)

    @property
    def share_multi_modal(self) -> float:
        """Share of the predicted windows that took the multi-modal branch, in 0..1."""
        return self.windows_multi_modal / self.windows_done if self.windows_done else 0.0


def stopped_because(error: BaseException) -> str:
    """Say in one line why a job stopped."""
    if is_disk_full(error):
        told = one_line(error)
        return told if "disk is full" in told else f"the disk is full: {told}; free some space"
    if isinstance(error, MemoryError) and "out of memory" in str(error):
        return one_line(error)
    if is_out_of_memory(error):
        return "out of memory; close other programs or choose a smaller region"
    return f"stopped by an internal error, {type(error).__name__}: {one_line(error)}"


def follow(events: Iterator[Event], tally: Tally) -> Finished:
    """Drive a job to its end with a progress bar; `tally` says how far it came, even on errors.

    Raises
    ------
    JobStopped
        An error after the job was planned. Earlier errors pass through.
    """
    with _closing(events), closing(_Terminal()) as terminal:
        try:
            for event in events:
                terminal.show(event)
                _count(event, tally)
        except Exception as error:
            if tally.planned is None:
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
            tally.windows_multi_modal += bool((event.branch == _MULTI_MODAL).any())
        case ShardDone():
            tally.shards_done = event.shards_done
        case FailedItem():
            tally.failed.append(f"{event.item}: {event.message}")
        case Finished():
            tally.finished = event


class _Terminal:
    """The bar and the lines above it, on stderr; where that is no terminal, a line now and then."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._started = self._last_line = 0.0
        self._first_done = 0  # steps of an earlier run say nothing about the pace of this one
        self._windows = self._shards = ""

    def show(self, event: Event) -> None:
        match event:
            case Planned():
                self._started = self._last_line = time.monotonic()
                self._first_done = event.windows_done * event.steps
                self._windows = f"window {event.windows_done}/{event.windows}"
                if sys.stderr.isatty():
                    self._bar = _new_bar(event, self._windows)
            case Step():
                self._move(event)
            case Tile():
                self._describe(f"window {event.windows_done}/{event.windows}")
            case ShardDone():
                if event.shards > 1:
                    self._describe(self._windows, f", shard {event.shards_done}/{event.shards}")
            case Notice():
                self._say(event.message)
            case FailedItem():
                self._say(f"failed: {event.item}: {event.message}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _describe(self, windows: str, shards: str | None = None) -> None:
        self._windows = windows
        self._shards = self._shards if shards is None else shards
        if self._bar is not None:
            self._bar.set_description_str(windows + self._shards, refresh=False)

    def _move(self, step: Step) -> None:
        now = time.monotonic()
        if self._bar is not None:
            self._bar.total = step.total
            self._bar.update(step.done - self._bar.n)
        elif now - self._last_line >= LOG_INTERVAL_S:
            self._last_line = now
            told = f"{self._windows}{self._shards}, {step.done / step.total:.0%}"
            made = step.done - self._first_done
            if made > 0:
                left = (now - self._started) * (step.total - step.done) / made
                told += f", {tqdm.format_interval(left)} left"
            self._say(told)

    def _say(self, message: str) -> None:
        tqdm.write(f"napari-damm: {message}", file=sys.stderr)


def _new_bar(planned: Planned, description: str) -> tqdm[Any]:
    return tqdm(
        total=max(1, planned.windows * planned.steps),
        initial=planned.windows_done * planned.steps,
        desc=description,
        file=sys.stderr,
        mininterval=BAR_INTERVAL_S,
        leave=False,
        bar_format="{desc} {percentage:3.0f}% |{bar:30}| {elapsed} gone, {remaining} left",
    )


@contextmanager
def _closing(events: Iterator[Event]) -> Iterator[None]:
    """Cancel the job when its driver leaves early; a plain iterator has nothing to cancel."""
    try:
        yield
    finally:
        if isinstance(events, Generator):
            events.close()

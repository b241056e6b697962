"""What a terminal shows of a job: one bar, and lines above it.

1. `Planned` opens the bar of a prediction; `Step` moves it, `Tile` and `ShardDone` describe it.
2. `TrainPlanned` says what is trained on; `TrainStep` moves the bar, `Saved` is told beside it,
   `Validated` is a line.
3. `Preparing` has a bar for each kind of work, which is gone when something else begins.
4. `Notice` and `FailedItem` are lines, and so is where a batch is.

All of it goes to stderr. Where that is no terminal, a line now and then stands for the bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tqdm import tqdm

from napari_damm.cli.option_names import in_options
from napari_damm.events import (
    Event,
    FailedItem,
    Notice,
    Planned,
    Preparing,
    Saved,
    SectionDone,
    SectionFailed,
    SectionStarted,
    ShardDone,
    Step,
    Tile,
    TrainPlanned,
    TrainStep,
    Validated,
)
from napari_damm.util.text import count

BAR_INTERVAL_S = 0.2
LOG_INTERVAL_S = 10.0
_BAR = "{desc} {percentage:3.0f}% |{bar:30}| {elapsed} gone"
_BUSY = "{desc} ({elapsed})"
_PREDICTION, _TRAINING = "prediction", "training"


class Terminal:
    """The bar and the lines above it."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._work = ""  # what the bar measures
        self._started = self._last_line = time.monotonic()
        self._first_done = 0.0  # what an earlier run did says nothing about the pace of this one
        self._windows = self._shards = self._saved = ""
        self._training_since = 0.0

    def show(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Planned() | Step() | Tile() | ShardDone():
                self._show_prediction(event)
            case TrainPlanned() | TrainStep() | Validated() | Saved():
                self._show_training(event)
            case Preparing():
                if self._work != event.what:
                    self._open(event.what, event.total, 0, _BAR if event.total else _BUSY)
                    self._describe(event.what)
                self._move(event.what, event.done, event.total)
            case Notice():
                self._say(in_options(event.message))
            case FailedItem():
                self._say(f"failed: {event.item}: {in_options(event.message)}")
            case SectionStarted() | SectionDone() | SectionFailed():
                self._show_section(event)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_prediction(self, event: Planned | Step | Tile | ShardDone) -> None:
        match event:
            case Planned():
                total, done = event.windows * event.steps, event.windows_done * event.steps
                self._open(_PREDICTION, max(1, total), done, _BAR + ", {remaining} left")
                self._windows = f"window {event.windows_done}/{event.windows}"
            case Step():
                self._move(self._windows + self._shards, event.done, event.total)
            case Tile():
                self._windows = f"window {event.windows_done}/{event.windows}"
            case ShardDone(shards=shards) if shards > 1:
                self._shards = f", part {event.shards_done}/{shards}"
        self._describe(self._windows + self._shards)

    def _show_section(self, event: SectionStarted | SectionDone | SectionFailed) -> None:
        self.close()
        self._windows = self._shards = ""
        match event:
            case SectionStarted():
                self._say(f"section {event.number} of {event.total}: {event.section}")
            case SectionDone():
                self._say(f"done: {event.section}, {event.seconds:.1f} s")
            case SectionFailed():
                self._say(f"failed: {event.section}: {in_options(event.message)}")

    def _show_training(self, event: TrainPlanned | TrainStep | Validated | Saved) -> None:
        match event:
            case TrainPlanned():
                for line in _plan_lines(event):
                    self._say(line)
            case TrainStep():
                if self._work != _TRAINING:
                    self._open(_TRAINING, 1.0, event.progress, _BAR + "{postfix}")
                    self._go_on_counting()
                text = f"{event.phase}, epoch {event.epoch}, loss {event.loss:.4g}{self._saved}"
                self._describe(text)
                self._move(text, event.progress, 1.0, event.seconds_left)
            case Validated():
                self._say(validation_line(event))
            case Saved():
                self._saved = f", saved at step {event.step}"

    def _open(self, work: str, total: float, done: float, layout: str) -> None:
        """Begin a bar for another kind of work."""
        self.close()
        self._work, self._first_done = work, done
        self._started = time.monotonic()
        if work == _PREDICTION:
            self._last_line = self._started
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                initial=done,
                file=sys.stderr,
                mininterval=BAR_INTERVAL_S,
                leave=False,
                bar_format=layout,
            )

    def _go_on_counting(self) -> None:
        """Let a training's bar, which makes room for others now and then, keep its time."""
        if self._bar is not None:
            self._training_since = self._training_since or self._bar.start_t
            self._bar.start_t = self._training_since

    def _describe(self, text: str) -> None:
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)

    def _move(self, text: str, done: float, total: float, seconds: float | None = None) -> None:
        """Move the bar, or say how far it is; `seconds` are left, where the job knows."""
        now = time.monotonic()
        if self._bar is not None:
            if seconds is not None:
                self._bar.set_postfix_str(f"{tqdm.format_interval(seconds)} left", refresh=False)
            self._bar.total = total or None
            self._bar.update(done - self._bar.n)
        elif now - self._last_line >= LOG_INTERVAL_S:
            self._last_line = now
            made = done - self._first_done
            if seconds is None and made > 0 and total:
                seconds = (now - self._started) * (total - done) / made
            share = f", {done / total:.0%}" if total else ""
            left = "" if seconds is None else f", {tqdm.format_interval(seconds)} left"
            self._say(f"{text}{share}{left}")

    def _say(self, message: str) -> None:
        with suppress(OSError):  # nobody reads it any more: no reason to stop
            tqdm.write(f"napari-damm: {message}", file=sys.stderr)


def validation_line(event: Validated) -> str:
    """Put a validation into one line: how good, how good the base was, and if the best."""
    parts = []
    for name, title, digits in (("r", "r", 3), ("ssim", "SSIM", 3), ("psnr", "PSNR", 2)):
        if name in event.scores:
            base = event.base_scores.get(name)
            before = "" if base is None else f" (base {base:.{digits}f})"
            parts.append(f"{title} {event.scores[name]:.{digits}f}{before}")
    best = ", the best so far" if event.best else ""
    return f"validation at step {event.step}: {', '.join(parts)}{best}"


def _plan_lines(event: TrainPlanned) -> Iterator[str]:
    primary, secondary, target = event.modalities
    yield (
        f"training {primary} + {secondary} -> {target} at {event.pixel_size_um:g} um per pixel: "
        f"{event.train_patches} patches to train, {event.validation_patches} to validate, "
        f"from {count(event.sections, 'section')}"
    )
    linear = event.record.get("linear_scores", {})
    if "r" in linear:
        yield f"a linear model of the same images has r {linear['r']:.3f} in the validation windows"
    if event.steps_done:
        yield f"going on from step {event.steps_done}"

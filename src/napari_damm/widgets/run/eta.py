"""How far a job is and how long it will take, in words.

Time left = time since the first sign of progress x work left / work done since then. The start
does not count, because loading the model would make every estimate too long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from napari_damm.util import text

duration = text.clock


@dataclass
class Eta:
    """Counts the windows, and the finer window-steps, of a job."""

    windows: int
    clock: Callable[[], float] = time.monotonic
    windows_done: int = 0
    _fraction: float = 0.0
    _first: tuple[float, float] | None = field(default=None, repr=False)

    def window(self, done: int) -> None:
        """Note that `done` windows are finished."""
        self.windows_done = done
        self._advance(done / max(self.windows, 1))

    def step(self, done: int, total: int) -> None:
        """Note that `done` of `total` window-steps are made."""
        self._advance(done / max(total, 1))

    def _advance(self, fraction: float) -> None:
        self._fraction = min(max(self._fraction, fraction), 1.0)
        if self._first is None:
            self._first = (self.clock(), self._fraction)

    @property
    def fraction(self) -> float:
        """Share of the work that is done, 0..1."""
        return self._fraction

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None before two signs of progress, and at the end."""
        if self._first is None or not self._first[1] < self._fraction < 1:
            return None
        started, at = self._first
        return (self.clock() - started) * (1 - self._fraction) / (self._fraction - at)

    def windows_text(self) -> str:
        """Return how many windows are done, such as "12 of 25 windows"."""
        return f"{self.windows_done} of {text.count(self.windows, 'window')}"

    def text(self) -> str:
        """Return the state in words, such as "12 of 25 windows · 0:40 left"."""
        words = self.windows_text()
        left = self.seconds_left
        return words if left is None else f"{words} · {duration(left)} left"

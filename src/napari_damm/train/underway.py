"""Steps of a training that are taken, while their losses are still on their way from a card.

A card that is asked for the losses of each step has nothing to do until the next one is started.
So a step is told when the one after it has been started.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from napari_damm.events import TrainStep

LATE = 1
"""Steps that a card is ahead of what is told."""
Told = Callable[[float], TrainStep]
"""Waits for the losses of a step, and makes its event of them and of the time that it took, s."""


class Underway:
    """The steps that are not told yet, the oldest first."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._steps: deque[tuple[int, float, Told]] = deque()
        self._clock, self._last = clock, 0.0

    def add(self, step: int, began: float, told: Told) -> None:
        """Take note of a step, and of when it was begun."""
        self._steps.append((step, began, told))

    def arrived(self, late: int = 0) -> list[TrainStep]:
        """Wait until at most so many are left; return what is told of the others.

        Raises
        ------
        NotFinite
            If what was learnt is no number: that step is still the oldest.
        """
        found = []
        while len(self._steps) > late:
            _, began, told = self._steps[0]
            # a step begins when the one before it is done
            found.append(told(max(self._clock() - max(began, self._last), 1e-9)))
            self._last = self._clock()
            self._steps.popleft()
        return found

    def oldest(self, step: int) -> int:
        """Return the oldest that is not told yet, or this one."""
        return self._steps[0][0] if self._steps else step

    def forget(self) -> None:
        """Tell nothing of those that are left."""
        self._steps.clear()

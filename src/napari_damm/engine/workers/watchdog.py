"""Has a worker gone silent? One that is frozen neither answers nor ends by itself.

1. Workers give a sign of life every few seconds, whatever they compute; `heard` notes it.
2. `silent` names those that have given none for longer than the patience.
3. Whoever asks may have been frozen as well (a closed lid, Ctrl-Z): after a long pause between two
   questions everybody's time begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

PATIENCE_S = 60.0
SIGNS_PER_PATIENCE = 12


class Watchdog:
    """Notes when each worker was last heard of.

    Parameters
    ----------
    patience_s
        How long a worker may be silent, seconds.
    clock
        Seconds that pass.
    """

    def __init__(
        self, patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.patience_s = patience_s
        self._clock = clock
        self._heard: dict[int, float] = {}
        self._asked = clock()
        self._lock = Lock()

    @property
    def interval_s(self) -> float:
        """How often a worker is to give a sign of life, seconds."""
        return self.patience_s / SIGNS_PER_PATIENCE

    def heard(self, worker: int) -> None:
        """Note a sign of life; the first begins the watch."""
        with self._lock:
            self._heard[worker] = self._clock()

    def forget(self, worker: int) -> None:
        """End the watch over a worker."""
        with self._lock:
            self._heard.pop(worker, None)

    def silent(self) -> list[int]:
        """Return the workers that were silent for too long, and end the watch over them."""
        with self._lock:
            now = self._clock()
            if now - self._asked > self.patience_s / 2:
                self._heard = dict.fromkeys(self._heard, now)
            self._asked = now
            found = [k for k, heard in self._heard.items() if now - heard > self.patience_s]
            for worker in found:
                del self._heard[worker]
        return found

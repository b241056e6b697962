"""How many threads compute the steps of a training on a CPU: as many as help at the time.

Threads of one operation wait for each other, busily. On cores of their own they gain; where another
program takes one of the cores, they take longer than a single one, even many times. So both are
tried again and again, and the faster goes on.

The count may change the last bits of gradients: a training by epochs, which resumes to the same
bits, keeps the one that it was begun with.
"""

from __future__ import annotations

import torch

TRIED = 3
"""Steps in a row that each count is tried for: of those the fastest counts."""
PERIOD = 60
"""Steps from one trial to the next."""


class ThreadChoice:
    """Chooses between one thread and `most`, step by step."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._step = 0
        self._fastest: dict[int, float] = {}

    def count(self) -> int:
        """Return how many threads are to compute the next step."""
        place = self._step % PERIOD
        if place < TRIED or not self._fastest:
            return self.most
        if place < 2 * TRIED:
            return 1
        return min(self._fastest, key=lambda count: self._fastest[count])

    def took(self, seconds: float) -> None:
        """Take note of how long the step took that `count` was asked for."""
        place, count = self._step % PERIOD, self.count()
        if place == 0:
            self._fastest.clear()
        if place < 2 * TRIED:
            self._fastest[count] = min(seconds, self._fastest.get(count, seconds))
        self._step += 1

    def apply(self) -> None:
        """Let torch compute the next step with as many threads as `count` says."""
        wanted = self.count()
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)

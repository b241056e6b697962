"""How far a training is, by steps or by the clock, and when something is due.

With `epochs`, progress is a function of the step alone, so that a resumed run does the same as an
uninterrupted one. With `minutes` it is the share of the time that has passed, what earlier runs
spent included.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from napari_damm.train.config import TrainConfig
from napari_damm.train.rates import cosine_rate, warmup_steps

VALIDATION_SHARE = 0.2
MAP_RATE, NOISE_RATE = 2e-3, 2e-4
"""Highest learning rates, where the expected map is learnt and where the noise alone is."""


@dataclass
class TrainingProgress:
    """The progress of the noise estimator's training.

    `spent_s` is what earlier runs took, `validation_s` what one validation takes, if known.
    """

    config: TrainConfig
    steps: int
    spent_s: float = 0.0
    validation_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    _started: float = field(default=0.0, init=False)
    _first: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Start the clock."""
        self._started = self.clock()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, earlier runs included."""
        return self.spent_s + self.clock() - self._started

    def at(self, step: int) -> float:
        """Return how far the training is after so many steps, 0..1."""
        if self.config.minutes is None:
            done = step / self.steps
        else:
            done = self.seconds / (60 * self.config.minutes)
        done = min(1.0, done)
        if self._first is None:
            self._first = done
        return done

    def seconds_left(self, progress: float) -> float | None:
        """Return how long it will take; None before that can be told."""
        if self.config.minutes is not None:
            return max(0.0, 60 * self.config.minutes - self.seconds)
        if self._first is None or progress <= self._first:
            return None
        return (self.clock() - self._started) * (1 - progress) / (progress - self._first)

    def validations_due(self, progress: float) -> int:
        """Return how many validations should have been made by now.

        Where `minutes` rule, there are fewer of them if they would take more than a fifth of the
        time.
        """
        count = self.config.validations
        if self.config.minutes is not None and self.validation_s > 0:
            room = VALIDATION_SHARE * 60 * self.config.minutes / self.validation_s
            count = min(count, max(1, math.floor(room)))
        return math.floor(progress * count + 1e-9)


def detail_from(config: TrainConfig) -> float:
    """Return from which share of the training on the detail alone learns.

    From scratch the decoder learns along, and all else needs its time.
    """
    if config.detail_from is not None:
        return config.detail_from
    return 0.4 if config.preset is None else 0.9


def part_of(progress: float, detail_from: float) -> tuple[bool, float]:
    """Return whether the detail alone learns, and how far that part of the training is, 0..1."""
    if progress < detail_from or detail_from >= 1:
        return False, progress / detail_from if detail_from else 0.0
    return True, (progress - detail_from) / (1 - detail_from)


def highest_rate(config: TrainConfig, learns_map: bool) -> float:
    """Return the highest learning rate: as set, else what suits what is learnt."""
    if config.learning_rate is not None:
        return config.learning_rate
    return MAP_RATE if learns_map else NOISE_RATE


def learning_rate(highest: float, step: int, steps: int, progress: float) -> float:
    """Return the rate of a step: linear warm-up, then half a cosine down to a twentieth."""
    return highest * cosine_rate(progress, step, warmup_steps(steps))

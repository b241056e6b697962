"""How a learning rate rises and falls: shared by all trainings."""

from __future__ import annotations

import math

WARMUP_STEPS, WARMUP_SHARE = 100, 0.05


def warmup_steps(steps: int) -> float:
    """Return over how many of so many steps the learning rate rises."""
    return max(1.0, min(WARMUP_STEPS, WARMUP_SHARE * steps))


def cosine_rate(progress: float, step: int, warmup: float, floor: float = 0.05) -> float:
    """Return the share of the highest learning rate at a progress of 0..1.

    Linear over the first `warmup` steps, times a cosine from 1 down to `floor`.
    """
    cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, (step + 1) / warmup) * cosine

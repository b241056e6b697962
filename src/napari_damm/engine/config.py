"""The settings of a prediction, checked as far as that goes without a slide."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_damm.tiling import SHARD
from napari_damm.util.choices import DEVICES, MAX_SEED

if TYPE_CHECKING:
    from napari_damm.slide import Normalisation

STEPS = {"reference": 1000, "fast": 16, "draft": 8}
ORDERS = ("rows", "centre")
LARGE_NETWORK = 50_000_000
MAX_SAMPLES = 64
POOL_BATCHES = 2
"""Full batches that a sampler takes together, so that after the gate both decoders run full."""


@dataclass(frozen=True)
class PredictConfig:
    """The settings of a prediction.

    Parameters
    ----------
    mode
        "fast" (DPM-Solver++, 16 steps), "draft" (8 steps) or "reference" (the authors' sampler:
        DDIM, eta 1, 1000 steps).
    steps
        Number of denoising steps, in place of the mode's own.
    seed
        Key of the noise; the same seed gives the same result.
    samples
        How many samples to draw of each window. With several the map is their mean, and the
        result has their standard deviation per pixel too.
    device
        "auto", "cpu", "cuda" or "mps".
    roi
        (y0, x0, y1, x1) in full-resolution pixels of the vessel image, half-open; None = all.
    gamma
        Confidence from which a window uses the multi-modal branch.
    batch_size, lanes
        Windows per network call, and sampler threads (calls at once); None = what suits the device.
    workers
        Local processes; each computes shards of its own. Needs a store on disk. Windows on shard
        borders are then computed by both neighbours (13 % more of them at 3072 px).
    strict
        Stop when memory runs out, rather than go on with smaller batches or on the CPU, which may
        change the last bits.
    shard
        Side of the regions that are computed and stored as units, in model pixels.
    order
        Which shards come first: "rows" from the top left, or from the "centre" outwards.
    normalisation
        Intensity limits; None = percentiles 0.1 and 99.9 over the tissue of the whole slide.
    """

    mode: str = "fast"
    steps: int | None = None
    seed: int = 0
    samples: int = 1
    device: str = "auto"
    roi: tuple[float, float, float, float] | None = None
    gamma: float = 0.5
    batch_size: int | None = None
    lanes: int | None = None
    workers: int = 1
    strict: bool = False
    shard: int = SHARD
    order: str = "rows"
    normalisation: Normalisation | None = None

    def __post_init__(self) -> None:
        """Check every value that can be checked without a slide."""
        for name, choices in (("mode", STEPS), ("device", DEVICES), ("order", ORDERS)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}"
                )
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise ValueError(f"steps must be in 1..1000, got {self.steps}")
        if not 0 <= self.seed <= MAX_SEED:
            raise ValueError(f"seed must be in 0..{MAX_SEED}, got {self.seed}")
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise ValueError(f"samples must be in 1..{MAX_SAMPLES}, got {self.samples}")
        if not 0.0 <= self.gamma <= 1.0:
            raise ValueError(f"gamma must be in 0..1, got {self.gamma}")
        for name in ("batch_size", "lanes", "workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        if self.roi is not None:
            _check_roi(self.roi)

    @property
    def total_steps(self) -> int:
        """Denoising steps asked for (the sampler may merge some)."""
        return STEPS[self.mode] if self.steps is None else self.steps


def default_samplers(device: str, workers: int = 1) -> int:
    """One sampler thread per core on a CPU, shared among the workers; one on an accelerator."""
    return 1 if device != "cpu" else max(1, cores() // workers)


def default_batch(device: str, parameters: int = 0) -> int:
    """Windows per network call, for a noise estimator of so many parameters.

    On a CPU 4 show the first tiles soon; a large network gains a tenth from 8.
    """
    if device == "cpu":
        return 8 if parameters > LARGE_NETWORK else 4
    return 64 if device == "cuda" else 16


def cores() -> int:
    """Processor cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def _check_roi(roi: tuple[float, float, float, float]) -> None:
    if len(roi) != 4 or not all(math.isfinite(v) for v in roi):
        raise ValueError(f"roi must be four numbers y0 x0 y1 x1, got {roi}")
    if roi[2] <= roi[0] or roi[3] <= roi[1]:
        raise ValueError(f"roi must have y1 > y0 and x1 > x0, got {plain_roi(roi)}")


def plain_roi(roi: tuple[float, float, float, float]) -> str:
    """Write a region as the command line takes it."""
    return " ".join(f"{v:g}" for v in roi)

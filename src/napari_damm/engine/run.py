"""Prediction on this machine, as a generator of events.

1. `prepare` (job.py) resolves everything and opens the store; bad input ends here.
2. `run_job` (workers/coordinator.py) has the shards computed by this process (workers/local.py),
   commits them, and tells what happens.
3. Closing the generator stops all threads within a denoising step; what is stored stays valid.

The result does not depend on the order of windows, the shard size, the number of threads, or on
being interrupted: noise is keyed by position, batches have one size, and blending goes in lattice
order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_damm.engine.config import PredictConfig
from napari_damm.engine.cost import Cost, expected_cost, refuse_what_cannot_fit, statement
from napari_damm.engine.job import prepare, survey_to_resume
from napari_damm.engine.planning import Plan
from napari_damm.engine.workers import local
from napari_damm.engine.workers.coordinator import run_job
from napari_damm.events import Event
from napari_damm.slide import Slide

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

__all__ = ["Plan", "PredictConfig", "Survey", "plan", "predict"]


@dataclass(frozen=True)
class Survey:
    """A plan and what it costs; `str()` says both in a sentence."""

    plan: Plan
    cost: Cost
    doubt: str = ""
    """What of the slide somebody should know before: that its file states another pixel size."""

    def __str__(self) -> str:
        return "; ".join(filter(None, [statement(self.plan, self.cost), self.doubt]))

    @property
    def windows(self) -> int:
        """Windows to compute."""
        return len(self.plan.windows)

    @property
    def background_windows(self) -> int:
        """Windows that touch no tissue and are skipped."""
        return self.plan.background_windows

    @property
    def shards(self) -> int:
        """Shards of the result."""
        return len(self.plan.shards)

    @property
    def memory_bytes(self) -> int:
        """Peak memory expected."""
        return self.cost.memory_bytes

    @property
    def disk_bytes(self) -> int:
        """Upper bound of the stored result."""
        return self.cost.disk_bytes

    @property
    def seconds(self) -> float | None:
        """Time expected."""
        return self.cost.seconds


def plan(
    slide: Slide,
    model: DAMM,
    config: PredictConfig | None = None,
    store: str | Path | None = None,
) -> Survey:
    """Say what a prediction would compute and cost, without starting it.

    Times one batch of windows. Arguments are those of `predict`; of a `store` that exists it is
    what is left to do.

    Raises
    ------
    ValueError, OSError
        For bad input, and for a result that cannot fit into memory or onto the disk.
    """
    from napari_damm.engine.timing import window_seconds

    config = config or PredictConfig()
    surveyed = survey_to_resume(slide, model, config, store, resume=True)
    left, setup = surveyed.left, surveyed.setup
    per_window = None
    if left.windows:
        per_window = window_seconds(model, setup, left.lattice.window)
    cost = expected_cost(left, model, setup, config.workers, store is not None, per_window)
    refuse_what_cannot_fit(left, cost, store)
    return Survey(left, cost, slide.doubt)


def predict(
    slide: Slide,
    model: DAMM,
    config: PredictConfig | None = None,
    store: str | Path | None = None,
    resume: bool = False,
) -> Iterator[Event]:
    """Predict the nanoparticle map of a slide, yielding events as it goes.

    Parameters
    ----------
    slide
        Vessels and nuclei with pixel sizes.
    model
        The model; its card states the pixel size that it works at.
    config
        Settings; all have defaults.
    store
        Folder for the result (an OME-Zarr); None keeps it in memory.
    resume
        Continue what is in `store`, which must be of the same job; without it `store` must not
        exist yet.

    Yields
    ------
    `Planned` first (after notices), `Finished(result)` last.

    Raises
    ------
    ValueError, OSError
        For bad input, before the first event and with nothing left behind or lost.
    """
    job = prepare(slide, model, config or PredictConfig(), store, resume)
    yield from run_job(job, local.compute)

"""Prediction on this machine, as a generator of events.

1. `prepare` (job.py) resolves everything and opens the store; bad input ends here.
2. A pipeline of threads (pipeline.py) reads windows, samples them, and writes finished shards.
3. This generator keeps finished windows until the shards they belong to are complete
   (blending.py), blends those, and tells what happens.
4. Closing the generator stops all threads within a denoising step; what is stored stays valid.

The result does not depend on the order of windows, the shard size, the number of threads, or on
being interrupted: noise is keyed by position, batches have one size, and blending goes in lattice
order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.blending import ShardBlender
from napari_damm.engine.config import PredictConfig
from napari_damm.engine.cost import Cost, expected_cost, refuse_what_cannot_fit, statement
from napari_damm.engine.job import Job, mark_background, prepare, summary, survey
from napari_damm.engine.pipeline import Blended, Clock, Pipeline, Sink, Work, Written
from napari_damm.engine.planning import Plan, Shard
from napari_damm.engine.recovery import Downgraded, Ladder, StepsDone, WindowFailed, WindowsDone
from napari_damm.events import Event, FailedItem, Finished, Notice, ShardDone, Step
from napari_damm.slide import Slide
from napari_damm.store import ResultStore
from napari_damm.tiling import Window

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

__all__ = ["Plan", "PredictConfig", "Survey", "compute", "plan", "predict"]


@dataclass(frozen=True)
class Survey:
    """A plan and what it costs; `str()` says both in a sentence."""

    plan: Plan
    cost: Cost

    def __str__(self) -> str:
        return statement(self.plan, self.cost)

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

    Times one batch of windows. Arguments are those of `predict`.

    Raises
    ------
    ValueError, OSError
        For bad input, and for a result that cannot fit into memory or onto the disk.
    """
    from napari_damm.engine.sampler import WindowSampler

    config = config or PredictConfig()
    planned, setup = survey(slide, model, config)
    per_window = WindowSampler.of(model, setup).window_seconds(planned.lattice.window)
    cost = expected_cost(planned, model, setup, config.workers, store is not None, per_window)
    refuse_what_cannot_fit(planned, cost, store)
    return Survey(planned, cost)


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
    with job.store:
        yield from job.announce()
        yield from _run(job)


def _run(job: Job) -> Iterator[Event]:
    """Compute what is left; yields from the first `ShardDone` to `Finished`."""
    from napari_damm.engine.sampler import WindowSampler

    if job.is_complete:
        yield Finished(job.store.result(), 0.0, tuple(job.store.record.get("failed", ())))
        return
    started = time.monotonic()
    left, empty = mark_background(job)
    stored = job.plan.shards_done
    for row, col in empty:
        stored += 1
        yield ShardDone(row, col, stored, left.all_shards)
    ladder, clock = Ladder(WindowSampler.of(job.model, job.setup), job.config.strict), Clock()
    failed: list[str] = []
    work = Work(job.slide, left, ladder, job.setup.samplers, clock)
    for event in compute(work, StoreSink(job.store)):
        if isinstance(event, FailedItem):
            failed.append(f"{event.item}: {event.message}")
        yield event
    seconds = time.monotonic() - started
    extra: dict[str, Any] = {"timings": _rounded(clock.seconds)}
    if ladder.downgrades:
        extra["out_of_memory"] = ladder.downgrades
    job.store.finish(summary(job, seconds, failed, extra))
    yield Finished(job.store.result(), seconds, tuple(failed))


def compute(work: Work, sink: Sink) -> Iterator[Event]:
    """Compute all shards of a plan (each has windows) into a sink.

    Yields
    ------
    `Step`, `Tile`, `FailedItem`, `Notice` and `ShardDone`, as they happen.
    """
    left, steps = work.plan, work.ladder.current.sampling.window_steps
    blender = ShardBlender(left)
    windows_done, shards_done = left.windows_done, left.shards_done
    step = Step(windows_done * steps, left.all_windows * steps)
    with Pipeline(work, sink) as pipeline:
        for message in pipeline:
            match message:
                case StepsDone(windows):
                    step = replace(step, done=step.done + windows)
                    yield step
                case Downgraded(sentence):
                    yield Notice(sentence, "warning")
                case WindowsDone(outputs):
                    for output in outputs:
                        windows_done += 1
                        blender.take(output)
                        with work.clock.timing("blend"):
                            tile = blender.tile(output, windows_done)
                        yield tile
                        _hand_on(blender.completed_by(output.window), blender, pipeline, work.clock)
                case WindowFailed(window, error):
                    blender.lose(window)
                    yield FailedItem(describe(left, window), error)
                    _hand_on(blender.completed_by(window), blender, pipeline, work.clock)
                case Written(row, col):
                    shards_done += 1
                    yield ShardDone(row, col, shards_done, left.all_shards)


def describe(planned: Plan, window: Window) -> str:
    """Name a window for people: its place on the lattice and in model pixels."""
    box = planned.lattice.window_box(*window)
    return f"window {window} at y {box.y0}, x {box.x0}"


@dataclass(frozen=True)
class StoreSink:
    """Stores and commits shards in this process."""

    store: ResultStore

    def write(self, shard: Shard, blended: Blended) -> None:
        """Store a shard."""
        self.store.write_shard(shard.row, shard.col, blended.maps, blended.status, blended.windows)


def _hand_on(shards: list[Shard], blender: ShardBlender, pipeline: Pipeline, clock: Clock) -> None:
    for shard in shards:
        with clock.timing("blend"):
            blended = blender.blend(shard)
        with clock.timing("wait for the writer"):
            pipeline.write(shard, blended)


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {part: round(value, 3) for part, value in seconds.items()}

"""Shards computed in this process: the pipeline's messages become blended shards and events.

1. A pipeline of threads (`pipeline`) reads windows, samples them, and writes finished shards.
2. Finished windows are kept until the shards they belong to are complete (`blending`); those are
   handed to the writer, which blends them: whoever gathers events must keep up with the windows.
3. Closing the generator stops all threads within a denoising step.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace

from napari_damm.engine.blending import ShardBlender
from napari_damm.engine.job import Job
from napari_damm.engine.pipeline import Pipeline, Work, Written
from napari_damm.engine.planning import Plan, Shard
from napari_damm.engine.recovery import Downgraded, Ladder, StepsDone, WindowFailed, WindowsDone
from napari_damm.engine.workers.coordinator import Outcome, ShardReport
from napari_damm.events import FailedItem, Step
from napari_damm.store import ShardWriter
from napari_damm.util.tiling import Window


def compute(job: Job, left: Plan) -> Iterator[Outcome]:
    """Compute all shards of a plan in this process (a `Compute`), with tiles on the way."""
    from napari_damm.engine.device_sampler import sampler_of

    ladder = Ladder(sampler_of(job.model, job.setup), job.config.strict)
    work = Work(job.slide, left, ladder, job.setup.samplers)
    yield from compute_shards(work, job.store.writer)


def compute_shards(work: Work, writer: ShardWriter) -> Generator[Outcome, None, None]:
    """Compute all shards of a plan (each has windows) and write their files.

    Yields
    ------
    `Step`, `Tile`, `FailedItem`, `Downgraded` and `ShardReport`, as they happen.
    """
    left, steps = work.plan, work.ladder.current.sampling.window_steps
    blender = ShardBlender(left)
    windows_done = left.windows_done
    step = Step(windows_done * steps, left.all_windows * steps)
    with Pipeline(work, writer) as pipeline:
        for message in pipeline:
            match message:
                case StepsDone(windows):
                    step = replace(step, done=step.done + windows)
                    yield step
                case Downgraded():
                    yield message
                case WindowsDone(outputs):
                    for output in outputs:
                        windows_done += 1
                        blender.take(output)
                        with work.clock.timing("blend"):
                            tile = blender.tile(output, windows_done)
                        yield tile
                        _hand_on(blender.completed_by(output.window), blender, pipeline, work)
                case WindowFailed(window, error):
                    blender.lose(window)
                    yield FailedItem(describe(left, window), error)
                    _hand_on(blender.completed_by(window), blender, pipeline, work)
                case Written(row, col, files, status, windows):
                    spent = work.clock.take()
                    yield ShardReport(row, col, status, files, windows, seconds=spent)


def describe(planned: Plan, window: Window) -> str:
    """Name a window for people: its place on the lattice and in model pixels."""
    box = planned.lattice.window_box(*window)
    return f"window {window} at y {box.y0}, x {box.x0}"


def _hand_on(shards: list[Shard], blender: ShardBlender, pipeline: Pipeline, work: Work) -> None:
    for shard in shards:
        with work.clock.timing("wait for the writer"):
            pipeline.write(shard, blender.hand_on(shard))

"""The coordinator of a job whose shards are computed by workers.

1. Announce the job, note background shards, and have the rest computed (a `Dispatch`).
2. Every report that comes back is committed: journal, status, events. This is the only process
   that writes those, and it holds the store's lock.
3. Between reports the number of steps done is told several times a second, which is also when
   whoever drives the job can close it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import PredictConfig
from napari_damm.engine.job import Job, mark_background, prepare, summary
from napari_damm.engine.planning import Shard
from napari_damm.engine.workers.shard import ShardReport
from napari_damm.events import Event, Finished, ShardDone, Step
from napari_damm.slide import Slide
from napari_damm.util.advice import Advice

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

Dispatch = Callable[[Job, tuple[Shard, ...]], Iterator[ShardReport | int]]
"""Has shards computed; yields their reports, and in between the window-steps done in others."""


def gather(
    slide: Slide,
    model: DAMM,
    config: PredictConfig,
    store: str | Path | None,
    resume: bool,
    dispatch: Dispatch,
    remote: bool = False,
) -> Iterator[Event]:
    """Predict a slide with workers; events as those of `engine.predict`, but without tiles.

    Raises
    ------
    ValueError, OSError
        For bad input, before the first event.
    """
    if store is None:
        raise ValueError(Advice("workers meet in a store on disk", "give {store}"))
    job = prepare(slide, model, config, store, resume, remote)
    with job.store:
        yield from job.announce()
        if job.is_complete:
            yield Finished(job.store.result(), 0.0, tuple(job.store.record.get("failed", ())))
            return
        yield from _gather(job, dispatch)


def _gather(job: Job, dispatch: Dispatch) -> Iterator[Event]:
    started = time.monotonic()
    left, empty = mark_background(job)
    shards_done = job.plan.shards_done
    for row, col in empty:
        shards_done += 1
        yield ShardDone(row, col, shards_done, left.all_shards)
    steps = job.setup.sampling.window_steps
    # Border windows are computed by each shard: here they count as often as they are.
    earlier = left.windows_done * steps
    total = earlier + left.windows_apart * steps
    sizes = {(shard.row, shard.col): len(shard.windows) * steps for shard in left.shards}
    done = earlier
    failed: list[str] = []
    timings: dict[str, float] = {}
    told: list[str] = []
    for report in dispatch(job, left.shards):
        if isinstance(report, int):
            yield Step(min(total, done + report), total)
            continue
        job.store.commit(report.row, report.col, report.status, report.files, report.windows)
        done += sizes[report.row, report.col]
        shards_done += 1
        yield from report.notices
        yield from report.failed
        for item in report.failed:
            line = f"{item.item}: {item.message}"
            failed += [line] if line not in failed else []  # both neighbours of a border met it
        told += [notice.message for notice in report.notices]
        for part, seconds in report.seconds.items():
            timings[part] = round(timings.get(part, 0.0) + seconds, 3)
        yield Step(done, total)
        yield ShardDone(report.row, report.col, shards_done, left.all_shards)
    seconds = time.monotonic() - started
    extra: dict[str, Any] = {"timings": timings}
    if told:
        extra["out_of_memory"] = list(dict.fromkeys(told))  # workers meet the same
    job.store.finish(summary(job, seconds, failed, extra))
    yield Finished(job.store.result(), seconds, tuple(failed))

"""The coordinator of a job, whoever computes its shards: this process, others, or a cluster.

1. `run_job` announces a job, marks background shards and has the rest computed by an executor, a
   `Compute`: one of `local`, `processes`, `dask`. Another back end is one more such function.
2. Every report that comes back is committed: journal, status, events. This is the only process
   that writes those, and it holds the store's lock.
3. At the end the record gains what is known only then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field

from napari_damm.engine.job import Job, mark_background, summary
from napari_damm.engine.planning import Plan, Shard
from napari_damm.engine.recovery import Downgraded
from napari_damm.events import Event, FailedItem, Finished, Notice, ShardDone
from napari_damm.store import ShardStatus
from napari_damm.util.errors import one_line


@dataclass(frozen=True)
class ShardReport:
    """What came of a shard: its status, its files' hashes, what failed or changed on the way.

    `seconds` are the times spent in each part of the computation since the report before.
    """

    row: int
    col: int
    status: ShardStatus
    files: dict[str, str | None]
    windows: int
    failed: tuple[FailedItem, ...] = ()
    downgrades: tuple[Downgraded, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


Outcome = Event | Downgraded | ShardReport
Compute = Callable[[Job, Plan], Iterator[Outcome]]
"""Computes the shards of a plan, each of which has windows, and writes their files.

Yields a `ShardReport` per shard, and events as they happen. Closing it ends the computing.
"""


def lost_shard(shard: Shard, error: BaseException) -> ShardReport:
    """Return the report of a shard that nobody could compute."""
    item = FailedItem(f"shard ({shard.row}, {shard.col})", one_line(error))
    return ShardReport(shard.row, shard.col, ShardStatus.FAILED, {}, 0, (item,))


def run_job(job: Job, compute: Compute) -> Iterator[Event]:
    """Run a prepared job to its end; yields from its notices to `Finished`."""
    with job.store:
        yield from job.announce()
        if job.is_complete:
            yield Finished(job.store.result(), 0.0, tuple(job.store.record.get("failed", ())))
        else:
            yield from _compute_what_is_left(job, compute)


def _compute_what_is_left(job: Job, compute: Compute) -> Iterator[Event]:
    started = time.monotonic()
    left, background = mark_background(job)
    shards_done = job.plan.shards_done
    for row, col in background:
        shards_done += 1
        yield ShardDone(row, col, shards_done, left.all_shards)
    notes, lost = _Notes(), set()
    for outcome in compute(job, left):
        if not isinstance(outcome, ShardReport):
            yield notes.take(outcome)
            continue
        report = outcome
        job.store.commit(report.row, report.col, report.status, report.files, report.windows)
        notes.add_seconds(report.seconds)
        if report.status is ShardStatus.FAILED and not report.files:
            lost.add((report.row, report.col))
        met: tuple[FailedItem | Downgraded, ...] = (*report.downgrades, *report.failed)
        for each in met:
            yield notes.take(each)
        shards_done += 1
        yield ShardDone(report.row, report.col, shards_done, left.all_shards)
    seconds = time.monotonic() - started
    job.slide.check_unchanged(whole=True)
    missing = len(notes.failed) - len(lost) + _windows_of(left, lost)
    job.store.finish(summary(job, seconds, notes.failed, missing, notes.for_record()))
    yield Finished(job.store.result(), seconds, tuple(notes.failed))


def _windows_of(plan: Plan, lost: Set[tuple[int, int]]) -> int:
    """Count the windows of shards that nobody computed, but for those that neighbours did."""
    if not lost:
        return 0
    computed = {w for s in plan.shards if (s.row, s.col) not in lost for w in s.windows}
    return len(set(plan.windows) - computed)


class _Notes:
    """What is noted of a run for its record."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._downgrades: list[str] = []
        self._seconds: dict[str, float] = {}

    def take(self, outcome: Event | Downgraded) -> Event:
        """Note what the record will say of an event; return it as others see it."""
        if isinstance(outcome, Downgraded):
            known = outcome.message in self._downgrades  # workers meet the same
            if outcome.out_of_memory and not known:
                self._downgrades.append(outcome.message)
            return Notice(outcome.message, "warning")
        if isinstance(outcome, FailedItem):
            line = f"{outcome.item}: {outcome.message}"
            if line not in self.failed:  # both neighbours of a border met it
                self.failed.append(line)
        return outcome

    def add_seconds(self, seconds: dict[str, float]) -> None:
        for part, spent in seconds.items():
            self._seconds[part] = self._seconds.get(part, 0.0) + spent

    def for_record(self) -> dict[str, object]:
        timings = {part: round(spent, 3) for part, spent in self._seconds.items()}
        return {
            "timings": timings,
            **({"out_of_memory": self._downgrades} if self._downgrades else {}),
        }

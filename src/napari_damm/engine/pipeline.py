"""The threads behind a prediction: one reader, several samplers, one writer.

1. The reader cuts pools of windows out of the slide onto a bounded queue, on CUDA with several
   threads that help it.
2. Each sampler takes a pool, samples it, and reports every step and the outputs.
3. The writer blends finished shards and stores them, one at a time.
4. Whoever iterates over the pipeline gets their messages until all shards are stored. An exception
   in any thread is raised there. Leaving the `with` block stops all threads, within a denoising
   step.

Every queue is bounded, so whoever is slow slows the others down and memory does not grow.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import (
    POOL_BATCHES,
    default_readers,
    pool_batches,
    samples_at_once,
)
from napari_damm.engine.planning import Plan, Shard
from napari_damm.engine.recovery import Ladder, Progress, WindowFailed, WindowsDone, sample_pool
from napari_damm.engine.windows import cut_patiently
from napari_damm.slide import Slide
from napari_damm.store import ShardMaps, ShardStatus, ShardWriter
from napari_damm.trust.known import Known
from napari_damm.trust.statistics import window_statistics
from napari_damm.util.errors import one_line

if TYPE_CHECKING:
    from napari_damm.engine.windows import WindowInput
    from napari_damm.util.tiling import Window

READ_AHEAD = 2
WRITE_AHEAD = 2
UNTAKEN_POOLS = 2
POLL_S = 0.2
PATIENCE = 16


@dataclass(frozen=True)
class Blended:
    """A shard's maps, as they are stored, its verdict, and how many windows it is made of."""

    maps: ShardMaps
    status: ShardStatus
    windows: int


@dataclass(frozen=True)
class Written:
    """A shard's files are written: their hashes by name, its verdict, and of how many windows."""

    row: int
    col: int
    files: dict[str, str | None]
    status: ShardStatus
    windows: int


class Clock:
    """Seconds spent in each part of a run, summed over its threads."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Add the time inside the block to a part."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            with self._lock:
                self._seconds[part] = self._seconds.get(part, 0.0) + spent

    def take(self) -> dict[str, float]:
        """Return the seconds since it was asked before."""
        with self._lock:
            seconds, self._seconds = self._seconds, {}
        return seconds


@dataclass(frozen=True)
class Work:
    """What a pipeline works on, with what, and in how many sampler threads."""

    slide: Slide
    plan: Plan
    ladder: Ladder
    samplers: int
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True)
class _Crashed:
    error: BaseException


class _Stopped(Exception):
    """The pipeline was asked to stop."""


class Pipeline:
    """Reader, samplers and writer of one prediction, as a context manager and an iterator."""

    def __init__(self, work: Work, writer: ShardWriter) -> None:
        self._work, self._files = work, writer
        self._stop = threading.Event()
        samplers = max(1, min(work.samplers, len(work.plan.windows)))
        self._pools: queue.Queue[list[WindowInput] | None] = queue.Queue(READ_AHEAD + samplers)
        self._shards: queue.Queue[tuple[Shard, Callable[[], Blended]]] = queue.Queue(WRITE_AHEAD)
        self._messages: queue.Queue[Any] = queue.Queue()
        # finished pools that nobody has taken yet: a slow reader of events slows the samplers down
        self._untaken = threading.Semaphore(UNTAKEN_POOLS + samplers)
        self._writer_error: list[Exception] = []
        self._stored = 0
        self._samplers = samplers
        sampling, device = work.ladder.current.sampling, work.ladder.current.device
        self._readers = default_readers(device)
        self._pool_size = pool_size(
            len(work.plan.windows),
            samplers,
            sampling.batch_size,
            samples_at_once(device, sampling.samples),
            pool_batches(device),
        )
        self._unread_in_a_row = 0
        self._known: Known | None = None
        if work.plan.layout.with_familiarity:
            self._known = Known.of_card(work.ladder.current.model.card)
        jobs = [("reader", self._read), ("writer", self._write)]
        jobs += [(f"sampler {k}", self._sample) for k in range(samplers)]
        self._threads = [
            threading.Thread(
                target=self._guard, args=(job,), name=f"napari-damm {name}", daemon=True
            )
            for name, job in jobs
        ]

    def __enter__(self) -> Pipeline:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # an interrupt: those that have begun must not outlive it
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def __iter__(self) -> Iterator[Progress | Written]:
        """Yield messages until every shard is stored; raise what a thread raised."""
        while self._stored < len(self._work.plan.shards):
            message = self._get(self._messages)
            if isinstance(message, _Crashed):
                raise message.error
            if isinstance(message, Written):
                self._stored += 1
            if isinstance(message, WindowsDone):
                self._untaken.release()
            yield message

    def write(self, shard: Shard, blended: Callable[[], Blended]) -> None:
        """Have a shard blended and written; waits while the writer is busy with earlier ones."""
        while not self._writer_error:
            try:
                return self._shards.put((shard, blended), timeout=POLL_S)
            except queue.Full:
                continue
        raise self._writer_error[0]

    def _guard(self, job: Callable[[], None]) -> None:
        try:
            job()
        except _Stopped:
            pass
        except BaseException as error:
            self._messages.put(_Crashed(error))

    def _read(self) -> None:
        with ThreadPoolExecutor(self._readers, "napari-damm reader") as threads:
            each = threads.map if self._readers > 1 else map
            windows = self._work.plan.windows
            for start in range(0, len(windows), self._pool_size):
                some = windows[start : start + self._pool_size]
                pool = [read for read in each(self._read_or_tell, some) if read is not None]
                if pool:
                    self._put(self._pools, pool)
        for _ in range(self._samplers):
            self._put(self._pools, None)

    def _read_or_tell(self, window: Window) -> WindowInput | None:
        """Read a window; where that fails, say so and return None."""
        if self._stop.is_set():
            raise _Stopped
        try:
            read = self._read_one(window)
        except (OSError, ValueError) as error:
            self._unread_in_a_row += 1
            self._messages.put(WindowFailed(window, one_line(error)))
            return None
        self._unread_in_a_row = 0
        return read

    def _read_one(self, window: Window) -> WindowInput:
        with self._work.clock.timing("read"):
            cut = cut_patiently(self._work.slide, self._work.plan, window, self._pause)
        if self._known is None:
            return cut
        with self._work.clock.timing("familiarity"):
            row = self._work.plan.measured.get(window)
            if row is None:
                row = window_statistics(cut.primary, cut.secondary)
            return replace(cut, familiarity=self._known.windows.familiarity(row))

    def _pause(self, seconds: float) -> None:
        # Where the whole file is gone, waiting at each of its windows helps nobody.
        patient = self._unread_in_a_row < PATIENCE
        if self._stop.wait(seconds if patient else 0.0):
            raise _Stopped

    def _sample(self) -> None:
        import torch

        if self._work.ladder.current.device == "cpu":
            # of this thread alone: bits depend on how many threads torch uses in a call
            torch.set_num_threads(1)
        while True:
            with self._work.clock.timing("wait for windows"):
                pool = self._get(self._pools)
            if pool is None:
                return
            self._sample_one(pool)

    def _sample_one(self, pool: list[WindowInput]) -> None:
        clock = self._work.clock
        progress = sample_pool(self._work.ladder, pool)
        while True:
            with clock.timing("network"):
                message = next(progress, None)
            if message is None:
                return
            if self._stop.is_set():
                raise _Stopped
            if isinstance(message, WindowsDone):
                with clock.timing("wait for blending"):
                    self._wait(lambda: self._untaken.acquire(timeout=POLL_S))
            self._messages.put(message)

    def _write(self) -> None:
        try:
            while True:
                self._messages.put(self._written(*self._get(self._shards)))
        except Exception as error:
            # a dead writer would never make room: tell whoever waits for it
            self._writer_error.append(error)
            raise

    def _written(self, shard: Shard, blend: Callable[[], Blended]) -> Written:
        """Blend and write a shard; what it was made of is forgotten then."""
        with self._work.clock.timing("blend"):
            blended = blend()
        with self._work.clock.timing("write"):
            # What was read since is of this section only if the file is still the same.
            self._work.slide.check_unchanged()
            files = self._files.write(shard.row, shard.col, blended.maps)
        return Written(shard.row, shard.col, files, blended.status, blended.windows)

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self._stop.is_set():
                raise _Stopped

    def _get(self, source: queue.Queue[Any]) -> Any:
        while not self._stop.is_set():
            try:
                return source.get(timeout=POLL_S)
            except queue.Empty:
                continue
        raise _Stopped

    def _put(self, target: queue.Queue[Any], item: object) -> None:
        while not self._stop.is_set():
            try:
                return target.put(item, timeout=POLL_S)
            except queue.Full:
                continue
        raise _Stopped


def pool_size(
    windows: int, samplers: int, batch: int, samples: int = 1, most: int = POOL_BATCHES
) -> int:
    """Windows per pool: up to `most` full batches, so that the samplers end together.

    With several samples of each, as few windows as fill whole batches: the first is done sooner.
    """
    batches = -(-windows * samples // batch)
    each = -(-batches // samplers)
    rounds = -(-each // most)
    draws = batch * max(1, -(-each // max(1, rounds)))
    whole = math.lcm(batch, samples)
    return whole * max(1, draws // whole) // samples

"""The threads behind a prediction: one reader, several lanes, one writer.

1. The reader cuts pools of windows out of the slide onto a bounded queue.
2. Each lane takes a pool, samples it, and reports every step and the outputs.
3. The writer stores finished shards, one at a time.
4. Whoever iterates over the crew gets their messages until all shards are stored. An exception in
   any thread is raised there. Leaving the `with` block stops all threads and waits for them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.plan import Plan, Shard
from napari_damm.slide import Slide, normalise, read_region
from napari_damm.store import ResultStore, ShardStatus
from napari_damm.tiling import Window

if TYPE_CHECKING:
    from napari_damm.lanes import WindowInput, WindowOutput, WindowSampler

POOL_BATCHES = 2
READ_AHEAD = 2
WRITE_AHEAD = 2
UNTAKEN_POOLS = 2
POLL_S = 0.2


@dataclass(frozen=True)
class Stepped:
    """A denoising step of so many windows is done."""

    windows: int


@dataclass(frozen=True)
class Done:
    """A pool is done."""

    outputs: list[WindowOutput]


@dataclass(frozen=True)
class PoolFailed:
    """A window could not be read."""

    window: Window
    error: str


@dataclass(frozen=True)
class Written:
    """A shard is stored."""

    row: int
    col: int


@dataclass(frozen=True)
class _Crashed:
    error: BaseException


class _Stopped(Exception):
    """The crew was told to stop."""


class Crew:
    """Reader, lanes and writer of one prediction, as a context manager and an iterator."""

    def __init__(
        self, slide: Slide, plan: Plan, sampler: WindowSampler, lanes: int, store: ResultStore
    ) -> None:
        self._slide, self._plan, self._sampler, self._store = slide, plan, sampler, store
        self._stop = threading.Event()
        self._pools: queue.Queue[list[WindowInput] | None] = queue.Queue(READ_AHEAD + lanes)
        self._shards: queue.Queue[Callable[[], Written] | None] = queue.Queue(WRITE_AHEAD)
        self._messages: queue.Queue[Any] = queue.Queue()
        # finished pools that nobody has taken yet: a slow reader of events slows the lanes down
        self._untaken = threading.Semaphore(UNTAKEN_POOLS + lanes)
        self._writer_error: list[Exception] = []
        self._stored = 0
        lanes = max(1, min(lanes, len(plan.windows)))
        self._pool_size = pool_size(
            len(plan.windows), lanes, POOL_BATCHES * sampler.sampling.batch_size
        )
        jobs = [("napari-damm reader", self._read), ("napari-damm writer", self._write)]
        jobs += [(f"napari-damm lane {k}", self._sample) for k in range(lanes)]
        self._lanes = lanes
        self._threads = [
            threading.Thread(
                target=self._guard, args=(job,), name=f"napari-damm {name}", daemon=True
            )
            for name, job in jobs
        ]

    def __enter__(self) -> Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator[Stepped | Done | PoolFailed | Written]:
        """Yield messages until every shard is stored; raise what a thread raised."""
        while self._stored < len(self._plan.shards):
            message = self._get(self._messages)
            if isinstance(message, _Crashed):
                raise message.error
            if isinstance(message, Written):
                self._stored += 1
            if isinstance(message, Done):
                self._untaken.release()
            yield message

    def write(
        self,
        shard: Shard,
        image: np.ndarray,
        uncertainty: np.ndarray,
        branch: np.ndarray,
        status: ShardStatus,
    ) -> None:
        """Have a shard stored; waits while the writer is busy with earlier ones."""

        def store() -> Written:
            self._store.write_shard(shard.row, shard.col, image, uncertainty, branch, status)
            return Written(shard.row, shard.col)

        self._hand_to_writer(store)

    def mark(self, shard: Shard, status: ShardStatus) -> None:
        """Have a shard without pixels noted."""

        def store() -> Written:
            self._store.mark(shard.row, shard.col, status)
            return Written(shard.row, shard.col)

        self._hand_to_writer(store)

    def _hand_to_writer(self, store: Callable[[], Written]) -> None:
        while not self._writer_error:
            try:
                return self._shards.put(store, timeout=POLL_S)
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
        windows = self._plan.windows
        for start in range(0, len(windows), self._pool_size):
            pool = []
            for window in windows[start : start + self._pool_size]:
                if self._stop.is_set():
                    raise _Stopped
                try:
                    pool.append(self._cut(window))
                except (OSError, ValueError) as error:
                    self._messages.put(PoolFailed(window, str(error)))
            if pool:
                self._put(self._pools, pool)
        for _ in range(self._lanes):
            self._put(self._pools, None)

    def _cut(self, window: Window) -> WindowInput:
        from napari_damm.lanes import WindowInput

        slide, plan = self._slide, self._plan
        box = plan.lattice.window_box(*window)
        images = [
            normalise(
                read_region(raster, box, plan.model_um, slide.origin, plan.lattice.shape), *limits
            )
            for raster, limits in (
                (slide.vessels, plan.normalisation.vessels),
                (slide.nuclei, plan.normalisation.nuclei),
            )
        ]
        return WindowInput(window, (box.y0, box.x0), *images)

    def _sample(self) -> None:
        import torch

        if self._sampler.device == "cpu":
            # of this thread alone: bits depend on the number of threads (design: decision 4)
            torch.set_num_threads(1)
        while (pool := self._get(self._pools)) is not None:
            for step in self._sampler.run(pool):
                if self._stop.is_set():
                    raise _Stopped
                if isinstance(step, list):
                    self._wait(lambda: self._untaken.acquire(timeout=POLL_S))
                    self._messages.put(Done(step))
                else:
                    self._messages.put(Stepped(len(pool)))

    def _write(self) -> None:
        try:
            while (store := self._get(self._shards)) is not None:
                self._messages.put(store())
        except Exception as error:
            # a dead writer would never make room: tell whoever waits for it
            self._writer_error.append(error)
            raise

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


def pool_size(windows: int, lanes: int, most: int) -> int:
    """Windows per pool: at most `most`, and such that the lanes end at about the same time."""
    per_lane = -(-windows // lanes)
    rounds = max(1, -(-per_lane // most))
    return max(1, -(-per_lane // rounds))

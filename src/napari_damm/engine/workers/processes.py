"""Local worker processes: `PredictConfig(workers=N)`.

1. One thread per worker starts its process and hands it shards, one at a time.
2. A worker that dies is replaced and its shard given out again; a shard that failed `ATTEMPTS`
   times is marked failed and the job goes on. A full disk or lack of memory stops the job.
3. A worker that is silent for too long (frozen) is ended, which is then as if it had died.
4. Closing the generator ends the processes at once.
"""

from __future__ import annotations

import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from napari_damm.engine.config import PredictConfig
from napari_damm.engine.job import Job, prepare
from napari_damm.engine.planning import Plan, Shard
from napari_damm.engine.recovery import NothingWorks
from napari_damm.engine.workers.cards import card_of
from napari_damm.engine.workers.coordinator import Outcome, ShardReport, lost_shard, run_job
from napari_damm.engine.workers.shard import TaskSpec, need_disk, shards_apart
from napari_damm.engine.workers.watchdog import PATIENCE_S, Watchdog
from napari_damm.engine.workers.worker_main import ALIVE, ERROR, READY, REPORT, STEPS
from napari_damm.events import Event, Notice
from napari_damm.slide import Slide
from napari_damm.util.advice import Advice
from napari_damm.util.children import safe_environment
from napari_damm.util.errors import JobFault, is_disk_full, is_out_of_memory

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

ATTEMPTS = 3
POLL_S = 0.2
ENDING_S = 5.0
# -P: what lies beside the data is no module, whatever it is called.
_PROGRAM = ["-P", "-m", "napari_damm.engine.workers.worker_main"]


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of a shard."""


class _NoStart(RuntimeError):
    """A worker could not load the model or open the store: none will."""


HOPELESS = (_NoStart, NothingWorks, JobFault)


def predict(
    slide: Slide,
    model: DAMM,
    config: PredictConfig,
    store: str | Path | None,
    resume: bool = False,
) -> Iterator[Event]:
    """Predict with `config.workers` local processes; see `engine.predict`.

    Raises
    ------
    ValueError, OSError
        For bad input, before the first event.
    RuntimeError
        If no worker lives long enough to finish a shard.
    """
    need_disk(store)
    yield from run_job(prepare(slide, model, config, store, resume), compute)


def compute(job: Job, left: Plan, patience_s: float = PATIENCE_S) -> Iterator[Outcome]:
    """Compute all shards of a plan in `config.workers` processes (a `Compute`).

    A process that is silent for `patience_s` seconds is replaced.
    """
    spec = cloudpickle.dumps(TaskSpec.of(job))
    pool = _WorkerPool(spec, left.shards, Watchdog(patience_s), job.setup.device)
    try:
        pool.start(min(job.config.workers, len(left.shards)))
        reports = pool.reports(len(left.shards))
        yield from shards_apart(left, job.setup.sampling.window_steps, reports)
    finally:
        pool.stop()


@dataclass(frozen=True)
class _Ended:
    """A seat has no more to do, or cannot go on."""

    error: BaseException | None


class _WorkerPool:
    """Threads that each look after one worker process."""

    def __init__(
        self, spec: bytes, shards: tuple[Shard, ...], watchdog: Watchdog, device: str
    ) -> None:
        self._spec, self._device = spec, device
        self._watchdog = watchdog
        self._frozen: set[int] = set()  # process numbers
        self._waiting: deque[tuple[Shard, int]] = deque((shard, 1) for shard in shards)
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._steps: dict[int, int] = {}
        self._stop = threading.Event()
        self._reported = 0
        self._deaths = 0
        self._threads: list[threading.Thread] = []

    def start(self, workers: int) -> None:
        self._threads = [
            threading.Thread(
                target=self._sit, args=(seat,), name=f"napari-damm worker {seat}", daemon=True
            )
            for seat in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def reports(self, count: int) -> Iterator[ShardReport | int | Notice]:
        """Yield `count` reports, and in between the steps done in unfinished shards and notices."""
        while self._reported < count:
            for seat in self._watchdog.silent():
                yield self._end_frozen(seat)
            try:
                message = self._messages.get(timeout=POLL_S)
            except queue.Empty:
                yield sum(self._steps.values())
                continue
            if isinstance(message, _Ended):
                if message.error is not None:
                    raise message.error
                continue
            self._reported += 1
            yield message

    def _end_frozen(self, seat: int) -> Notice:
        process = self._processes.get(seat)
        if process is not None:
            self._frozen.add(process.pid)
            process.kill()
        return Notice(
            f"a worker process has not answered for {self._watchdog.patience_s:g} s: it is ended, "
            "and its part of the section computed again",
            "warning",
        )

    def stop(self) -> None:
        self._stop.set()
        for process in list(self._processes.values()):
            process.kill()
        for thread in self._threads:
            thread.join()

    def _sit(self, seat: int) -> None:
        """Have shards computed until there are none left to give out."""
        error: BaseException | None = None
        try:
            while not self._stop.is_set() and self._waiting:
                try:
                    shard, attempt = self._waiting.popleft()
                except IndexError:
                    break  # another seat was faster
                self._try(seat, shard, attempt)
        except BaseException as raised:
            error = raised
        finally:
            self._end(seat)
            self._messages.put(_Ended(error))

    def _try(self, seat: int, shard: Shard, attempt: int) -> None:
        try:
            report = self._compute(seat, shard)
        except Exception as error:
            if self._stop.is_set():
                return
            if is_disk_full(error) or is_out_of_memory(error) or isinstance(error, HOPELESS):
                raise
            if isinstance(error, WorkerDied):
                self._deaths += 1
                self._end(seat)
            if self._deaths >= ATTEMPTS and not self._reported:
                raise
            if attempt < ATTEMPTS:
                self._waiting.append((shard, attempt + 1))
                return
            report = lost_shard(shard, error)
        finally:
            self._steps.pop(seat, None)
        self._messages.put(report)

    def _compute(self, seat: int, shard: Shard) -> ShardReport:
        process = self._processes.get(seat) or self._begin(seat)
        assert process.stdin is not None
        try:
            pickle.dump(shard, process.stdin)
            process.stdin.flush()
        except OSError as error:
            raise self._death(process) from error
        while True:
            kind, value = self._receive(seat, process)
            if kind == STEPS:
                self._steps[seat] = value
            elif kind == ERROR:
                raise value
            elif kind == REPORT:
                report: ShardReport = value
                return report

    def _begin(self, seat: int) -> subprocess.Popen[bytes]:
        # a network call has one thread; idle pools of more would only be in the way
        environment = safe_environment(OMP_NUM_THREADS="1", **card_of(seat, self._device))
        process = subprocess.Popen(
            [sys.executable, *_PROGRAM, f"{self._watchdog.interval_s:g}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._processes[seat] = process
        self._watchdog.heard(seat)
        if self._stop.is_set():  # after `stop` has looked for processes to end
            process.kill()
        assert process.stdin is not None
        try:
            process.stdin.write(self._spec)
            process.stdin.flush()
        except OSError as error:
            raise self._death(process) from error
        kind, value = self._receive(seat, process)
        if kind != READY:
            raise _NoStart(str(value)) from value
        return process

    def _receive(self, seat: int, process: subprocess.Popen[bytes]) -> tuple[str, Any]:
        """Wait for the next message that is more than a sign of life."""
        assert process.stdout is not None
        kind = ALIVE
        while kind == ALIVE:
            try:
                kind, value = pickle.load(process.stdout)
            except (EOFError, pickle.UnpicklingError, OSError) as error:
                raise self._death(process) from error
            self._watchdog.heard(seat)
        return kind, value

    def _death(self, process: subprocess.Popen[bytes]) -> WorkerDied:
        try:
            code = process.wait(ENDING_S)
        except subprocess.TimeoutExpired:  # it lives, but not so that anybody understands it
            process.kill()
            code = process.wait()
        if process.pid in self._frozen:
            return WorkerDied("a worker process stopped answering")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return WorkerDied(
            Advice(f"a worker process {how}", "if it was memory, use fewer {workers}")
        )

    def _end(self, seat: int) -> None:
        process = self._processes.pop(seat, None)
        self._watchdog.forget(seat)
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):  # what was still buffered for a dead process
                    stream.close()

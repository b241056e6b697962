"""Programs that are killed, or interrupted, at a chosen moment of a prediction.

1. `POINTS` names the moments: each replaces one function by one that at its n-th call is fatal.
2. `in_another_process` runs a function of this module in a child of a server that has imported
   everything once, so that a crash costs little more than the computing before it.
3. `crash` is such a function: a run of the job in a folder (jobs.py) that SIGKILLs itself.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["napari_damm.engine.run", "napari_damm.engine.sampler", "zarr", "tifffile"]
)

Death = Callable[[], object]


def kill() -> None:
    """End this process as a power switch would."""
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """Counts calls, and acts at the n-th."""

    def __init__(self, nth: int, act: Death) -> None:
        self.calls = 0
        self._nth, self._act = nth, act

    @property
    def is_next(self) -> bool:
        """Whether the next call is the one."""
        return self.calls + 1 == self._nth

    def __call__(self) -> None:
        """Count a call."""
        self.calls += 1
        if self.calls == self._nth:
            self._act()


def denoising_step(nth: int, act: Death = kill) -> Countdown:
    """After a denoising step of some lane."""
    from napari_damm.engine.sampler import WindowSampler

    run, count = WindowSampler.run, Countdown(nth, act)

    def counted(self: Any, inputs: Any) -> Any:
        for step in run(self, inputs):
            if not isinstance(step, list):
                count()
            yield step

    WindowSampler.run = counted
    return count


def shard_array(nth: int, act: Death = kill) -> Countdown:
    """Before one of the arrays of a shard is written (levels, then cells)."""
    return _before_arrays(nth, act, lambda name: name != "status")


def status(nth: int, act: Death = kill) -> Countdown:
    """After the journal, before the status array is."""
    return _before_arrays(nth, act, lambda name: name == "status")


def rename(nth: int, act: Death = kill) -> Countdown:
    """Between a temporary file and its name, wherever zarr or the store renames."""
    return _before(Path, "replace", nth, act)


def fsync(nth: int, act: Death = kill) -> Countdown:
    """Before a file or folder is synced."""
    return _before(os, "fsync", nth, act)


def journal(nth: int, act: Death = kill) -> Countdown:
    """Before a line of the journal: the shard's files are whole."""
    from napari_damm.store.journal import Journal

    return _before(Journal, "append", nth, act)


def journal_line(nth: int, act: Death = kill) -> Countdown:
    """In the middle of a line of the journal."""
    from napari_damm.store.journal import Journal

    def half(self: Any, entries: Any) -> None:
        entries = list(entries)
        line = entries[-1].line("now")
        if count.is_next:
            with self._path.open("ab") as file:
                file.write(line[: len(line) // 2])
                file.flush()
        count()
        append(self, entries)

    append, count = Journal.append, Countdown(nth, act)
    Journal.append = half
    return count


def creation(nth: int, act: Death = kill) -> Countdown:
    """While the arrays of an empty store are created."""
    import zarr

    return _before(zarr.Group, "create_array", nth, act)


def finish(nth: int, act: Death = kill) -> Countdown:
    """When all is stored, before the record says so."""
    from napari_damm.store import ResultStore

    return _before(ResultStore, "finish", nth, act)


POINTS: dict[str, Callable[..., Countdown]] = {
    point.__name__.replace("_", " "): point
    for point in (
        denoising_step,
        shard_array,
        rename,
        fsync,
        journal,
        journal_line,
        status,
        creation,
        finish,
    )
}


def _before(owner: Any, name: str, nth: int, act: Death) -> Countdown:
    real, count = getattr(owner, name), Countdown(nth, act)

    def counted(*args: Any, **options: Any) -> Any:
        count()
        return real(*args, **options)

    setattr(owner, name, counted)
    return count


def _before_arrays(nth: int, act: Death, wanted: Callable[[str], bool]) -> Countdown:
    import zarr

    write, count = zarr.Array.__setitem__, Countdown(nth, act)

    def counted(self: Any, where: Any, values: Any) -> None:
        if wanted(self.basename):
            count()
        write(self, where, values)

    zarr.Array.__setitem__ = counted
    return count


def in_another_process(function: Callable[..., None], *args: Any, timeout: float = 120) -> int:
    """Run a function of this module in a fresh process; its exit code, -9 where it was killed."""
    process = _SERVER.Process(target=function, args=args)
    process.start()
    process.join(timeout)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{function.__name__}{args} did not end within {timeout} s")
    return process.exitcode


def crash_with_workers(point: str, nth: int, folder: Path, out: Path, pids: Path) -> None:
    """Be killed as by `crash`, with two worker processes, whose numbers are left in `pids`."""
    import psutil

    def last_words() -> None:
        workers = psutil.Process().children()
        pids.write_text(" ".join(str(worker.pid) for worker in workers))
        kill()

    POINTS[point](nth, last_words)
    jobs.run(folder, out, workers=2)


def count(folder: Path, out: Path, counts: Path, wishes: dict[str, Any]) -> None:
    """Run the job unharmed, and leave in `counts` how often each point came by."""
    watches = {name: point(-1) for name, point in POINTS.items()}
    jobs.run(folder, out, **wishes)
    counts.write_text(json.dumps({name: watch.calls for name, watch in watches.items()}))


def crash(
    point: str, nth: int, folder: Path, out: Path, wishes: dict[str, Any], quick: bool = True
) -> None:
    """Run the job in `folder`, or go on with it, and be killed at the n-th time of a point."""
    if quick:
        jobs.quick_first_stages()
    POINTS[point](nth)
    jobs.run(folder, out, resume=True, **wishes)


def command(options: list[str], log: Path, moment: tuple[str, int, int] | None = None) -> None:
    """Run the command line and exit as it does, its output in `log`.

    `moment` is (point, n, signal): the signal that the process gets at the n-th time of a point.
    """
    from napari_damm import cli

    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    if moment is not None:
        point, nth, number = moment
        POINTS[point](nth, lambda: os.kill(os.getpid(), number))
    raise SystemExit(cli.main(options))

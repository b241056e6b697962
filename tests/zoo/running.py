"""Run cases of the zoo, each in a process of its own, forked from one that has imported it all.

1. A process builds the case: hostile files are made where their making can do no harm either.
2. Another runs the command in the case's folder, with 4 GB of memory and 60 s.
3. What came of it is judged: exit code, one line, nothing left, nothing executed.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from zoo import goods
from zoo.case import Case, canary

MEMORY = 4 * 2**30
SECONDS = 60.0
BUILD_SECONDS = 120.0
LONGEST_LINE = 700

_NAMES = re.compile(r"Traceback|internal error|[A-Z]\w+Error\b|<\w+ object at")
"""What is meant for programmers."""


@dataclass
class Outcome:
    """What came of a case; `problems` is empty where all is as it must be."""

    name: str
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    megabytes: float = 0.0
    said: str = ""


def warm_up() -> None:
    """Import what the commands import, once, and start nothing."""
    import tifffile  # noqa: F401
    import torch
    import zarr  # noqa: F401

    import napari_damm.cli
    import napari_damm.model.damm
    import napari_damm.model_file.import_authors
    import napari_damm.slide
    import napari_damm.store  # noqa: F401

    torch.set_num_threads(1)


def run_all(cases: list[Case], place: Path, processes: int) -> Iterator[Outcome]:
    """Yield the outcome of each case as it is known; `place` is an empty folder."""
    made = place / "goods"
    made.mkdir()
    os.environ[goods.FOLDER] = str(made)
    code, _ = _limited(lambda: goods.make(made), made / "log", BUILD_SECONDS)
    assert code == 0, f"the good files cannot be made: {(made / 'log').read_text()[-2000:]}"
    waiting, running = list(enumerate(cases)), dict[int, tuple[Case, Path]]()
    while waiting or running:
        while waiting and len(running) < processes:
            number, case = waiting.pop(0)
            folder = place / f"{number:03}"
            running[_fork(lambda c=case, f=folder: _write_outcome(c, f))] = case, folder
        pid, status = os.wait()
        case, folder = running.pop(pid)
        report = folder.with_suffix(".json")
        if status != 0 or not report.exists():
            yield Outcome(case.name, [f"the zoo itself failed, status {status}"])
        else:
            yield Outcome(**json.loads(report.read_text()))
        shutil.rmtree(folder, ignore_errors=True)


def _write_outcome(case: Case, folder: Path) -> None:
    outcome = run_case(case, folder)
    folder.with_suffix(".json").write_text(json.dumps(asdict(outcome)))


def run_case(case: Case, folder: Path) -> Outcome:
    """Build a case in a new folder, run it and judge it."""
    folder.mkdir()
    outcome = Outcome(case.name)
    arguments, log = folder.with_suffix(".argv"), folder.with_suffix(".build")
    code, _ = _limited(
        lambda: arguments.write_text(json.dumps(case.make(folder))), log, BUILD_SECONDS
    )
    if code != 0:
        outcome.problems.append(f"cannot be built: {log.read_text()[-1500:]}")
        return outcome
    argv = json.loads(arguments.read_text())
    before = _listing(folder)
    stderr, stdout = folder.with_suffix(".stderr"), folder.with_suffix(".stdout")
    began = time.monotonic()
    code, kilobytes = _limited(
        lambda: _command(argv, folder), stderr, SECONDS, stdout, memory=MEMORY
    )
    outcome.seconds, outcome.megabytes = time.monotonic() - began, kilobytes / 1024
    outcome.said = stderr.read_text(errors="replace")
    outcome.problems += _judge(
        case, folder, code, outcome.said, stdout.read_text("utf-8", "replace")
    )
    if kilobytes * 1024 > MEMORY:
        outcome.problems.append(f"it took {outcome.megabytes:.0f} MB")
    if case.check is None and (left := _listing(folder) ^ before):
        outcome.problems.append(f"files were left, changed or removed: {sorted(left)[:5]}")
    if canary(folder).exists():
        outcome.problems.append("code in the input was executed")
    return outcome


def _judge(case: Case, folder: Path, code: int | str, stderr: str, stdout: str) -> list[str]:
    if case.check is not None:
        if code != 0:
            return [f"exit {code}, expected 0: {stderr[-1500:]}"]
        try:
            case.check(folder, stdout)
        except AssertionError as error:
            return [f"the wrong result: {error}"]
        return []
    problems = [] if code == 2 else [f"exit {code}, expected 2: {stderr[-1500:]}"]
    lines = stderr.splitlines()
    if len(lines) != 1 or len(stderr) > LONGEST_LINE:
        problems.append(f"{len(lines)} lines, {len(stderr)} characters: {stderr[:300]!r}")
    elif not lines[0].startswith("napari-damm: ") or not lines[0].isprintable():
        problems.append(f"not a plain line of ours: {lines[0]!r}")
    if _NAMES.search(stderr):
        problems.append(f"speaks to programmers: {stderr[-1500:]}")
    if not re.search(case.says, stderr):
        problems.append(f"does not say {case.says!r}: {stderr[:300]!r}")
    return problems


def _command(argv: list[str], folder: Path) -> int:
    """Run the command line in the case's folder, where it finds its models and its data too."""
    from napari_damm.cli import main

    os.chdir(folder)
    os.environ["NAPARI_DAMM_MODELS"] = str(folder / "models")
    os.environ["XDG_DATA_HOME"] = os.environ["XDG_CACHE_HOME"] = str(folder / "home")
    return main(argv)


def _listing(folder: Path) -> set[tuple[str, int, int]]:
    """Return everything in a folder, as (name, size, time of change)."""
    found = set()
    for path in folder.rglob("*"):
        status = path.lstat()
        size = -1 if path.is_dir() else status.st_size
        found.add((str(path.relative_to(folder)), size, -1 if size < 0 else status.st_mtime_ns))
    return found


# ---------------------------------------------------------------- processes


def _limited(
    work: Callable[[], object],
    stderr: Path,
    seconds: float,
    stdout: Path | None = None,
    memory: int | None = None,
) -> tuple[int | str, int]:
    """Run `work` in a process; return its exit code, or what ended it, and its peak in kB."""

    def child() -> int:
        os.setsid()
        for number, path in ((1, stdout or stderr), (2, stderr)):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        code = work()
        return code if isinstance(code, int) and memory is not None else 0

    pid = _fork(child)
    with os.fdopen(os.pidfd_open(pid), "rb", closefd=True, buffering=0) as process:
        ended = bool(select.select([process], [], [], seconds)[0])
    if not ended:
        os.killpg(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    if not ended:
        return f"still running after {seconds:g} s", usage.ru_maxrss
    code = os.waitstatus_to_exitcode(status)
    return (code if code >= 0 else f"killed by signal {-code}"), usage.ru_maxrss


def _fork(work: Callable[[], object]) -> int:
    """Run `work` in a copy of this process; what it returns, if a number, is its exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return pid
    code = 70
    try:
        atexit._clear()
        result = work()
        code = result if isinstance(result, int) else 0
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

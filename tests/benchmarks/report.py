"""What the benchmarks of the engine share: a table, a JSON file, the machine's name, CPU seconds.

1. `print_table` and `write_json` say what was found, each with the machine it was found on.
2. `ThreadSeconds` adds up the CPU seconds of this process by thread, threads that end included.
3. `Load` tells how much of the cores other processes took meanwhile: times are only worth
   something where that is little.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from windows import machine

SAMPLE_S = 0.25


def machine_line() -> str:
    """Name this machine and what computes on it."""
    import torch

    return f"{machine()}; torch {torch.__version__} (load {os.getloadavg()[0]:.1f})"


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their head; numbers get four digits, the first column is text."""
    lines = [list(head), *([_plain(value) for value in row] for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    print(f"\n{title}")
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells).rstrip(), flush=True)


def write_json(path: Path | None, arguments: Mapping[str, Any], **found: object) -> None:
    """Print the machine's name; write all that was found where a path is given."""
    line = machine_line()
    print("\nmachine:", line)
    if path is not None:
        report = {"arguments": dict(arguments), **found, "machine": line}
        path.write_text(json.dumps(report, default=str, indent=1))


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)


class ThreadSeconds:
    """CPU seconds (user and system) by thread name since it was made; call `sample` now and then.

    The system forgets a thread that ends: up to a quarter second of it is lost.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._names: dict[int, str] = {}
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._sampled = 0.0
        self._read()
        self._first = dict(self._last)

    def sample(self) -> None:
        """Note where every thread is, unless that was done just now."""
        if time.perf_counter() - self._sampled >= SAMPLE_S:
            self._read()

    def by_name(self) -> dict[str, float]:
        """Return seconds by name; threads that Python does not know are "native"."""
        self._read()
        found: dict[str, float] = {}
        for number, seconds in self._last.items():
            name = self._names.get(number, "native")
            found[name] = found.get(name, 0.0) + seconds - self._first.get(number, 0.0)
        return found

    def _read(self) -> None:
        self._sampled = time.perf_counter()
        known = {thread.native_id: thread.name for thread in threading.enumerate()}
        for each in self._process.threads():
            self._last[each.id] = each.user_time + each.system_time
            if each.id in known:
                self._names[each.id] = known[each.id]


class Load:
    """CPU seconds of this process, and the share of the cores that others took, since it began.

    Processes that it started count as its own once they have ended.
    """

    def __init__(self) -> None:
        self._own, self._busy, self._wall = _own(), _busy(), time.perf_counter()

    @property
    def own(self) -> float:
        """CPU seconds of this process."""
        return _own() - self._own

    @property
    def others(self) -> float:
        """Share of all cores that other processes took, 0..1."""
        cores = (time.perf_counter() - self._wall) * (os.cpu_count() or 1)
        return max(0.0, _busy() - self._busy - self.own) / cores


def _own() -> float:
    return sum(os.times()[:4])


def _busy() -> float:
    times = psutil.cpu_times()
    waiting = times.idle + getattr(times, "iowait", 0.0)
    # guests are counted in user and nice already
    doubled = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - waiting - doubled)

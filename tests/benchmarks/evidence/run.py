"""Measuring section by section, in one process or several, and again from where it stopped.

1. A task is a section with the parts that need it: they share its predictions.
2. Each part's numbers of a section become one file, with what they depend on; a file that depends
   on the same is not made again.
3. Processes take sections as they come, one torch thread each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from .lab import Lab
from .parts import part
from .rows import Row, read_row, write_row
from .sections import simulate
from .settings import Settings, Specimen

Task = tuple[Specimen, tuple[str, ...]]


def measure_all(lab: Lab, processes: int) -> Iterator[str]:
    """Measure what is missing; yield a line for each section."""
    tasks = list(missing(lab))
    if processes == 1 or len(tasks) < 2:
        for task in tasks:
            yield _measure(lab, task)
        return
    # before the others start: torch reads it once
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_begin, initargs=(lab.settings,)
    ) as pool:
        waiting = [pool.submit(_measure_here, task) for task in tasks]
        try:
            for done in as_completed(waiting):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def missing(lab: Lab) -> Iterator[Task]:
    """Yield the sections of which a part has no numbers yet."""
    settings = lab.settings
    wanted: dict[Specimen, list[str]] = {}
    for name in settings.parts:
        for specimen in part(name).specimens(settings):
            if _kept(lab, name, specimen) is None:
                wanted.setdefault(specimen, []).append(name)
    yield from ((specimen, tuple(names)) for specimen, names in wanted.items())


def measured(lab: Lab, name: str) -> list[Row]:
    """Return the rows of a part that there are, in the order of its sections."""
    rows = [_kept(lab, name, specimen) for specimen in part(name).specimens(lab.settings)]
    return [row for row in rows if row is not None]


def _measure(lab: Lab, task: Task) -> str:
    specimen, names = task
    section, times = simulate(specimen), []
    for name in names:
        started = time.process_time()
        row = part(name).measure(lab, section)
        seconds = time.process_time() - started
        where = {"preset": specimen.preset, "seed": specimen.seed, "seconds": seconds}
        write_row(_path(lab, name, specimen), {**row, **where, "depends": _depends(lab, name)})
        times.append(f"{name} {seconds:.1f} CPU s")
    return f"{specimen.name}: {', '.join(times)}"


def _kept(lab: Lab, name: str, specimen: Specimen) -> Row | None:
    path = _path(lab, name, specimen)
    if not path.is_file():
        return None
    row = read_row(path)
    return row if row["depends"] == _depends(lab, name) else None


def _depends(lab: Lab, name: str) -> Row:
    wishes = lab.settings
    common = {"noise": wishes.seed, "fast steps": wishes.fast_steps}
    return {**part(name).depends(lab), **common}


def _path(lab: Lab, name: str, specimen: Specimen) -> Path:
    return lab.settings.work / "rows" / name / f"{specimen.name}.npz"


_lab: Lab | None = None


def _begin(settings: Settings) -> None:
    """Prepare a process: its own models, one thread."""
    import torch

    global _lab
    torch.set_num_threads(1)
    _lab = Lab(settings)


def _measure_here(task: Task) -> str:
    assert _lab is not None
    return _measure(_lab, task)

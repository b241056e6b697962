"""Several sections at once: in processes of their own, with one thread each.

1. Seeds are cut into portions; each is drawn by a process (this module is its program), which
   leaves the sections in files.
2. They are handed on in the order of the seeds. What a process could not draw is drawn here.

One section gains nothing from several threads; sixteen processes that each start as many as there
are cores are four times slower than with one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.simulate.section import CHANNELS, SimulatedSlide, simulate_slide
from napari_damm.util.children import safe_environment

PORTION = 8
"""Sections that a process draws: it takes a second or two to start."""
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)


def simulate_many(
    size: int, seeds: Sequence[int], preset: str, processes: int | None = None
) -> Iterator[SimulatedSlide]:
    """Draw sections, as `simulate_slide` does, in the order of their seeds.

    `processes` is by default one per core; few sections are drawn in this process.
    """
    portions = [seeds[start : start + PORTION] for start in range(0, len(seeds), PORTION)]
    count = min(processes or _cores(), len(portions))
    if count < 2:
        yield from (simulate_slide(size, seed, preset) for seed in seeds)
        return
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="napari-damm-") as place:

        def drawn(portion: Sequence[int]) -> None:
            arguments = [str(size), preset, place, *map(str, portion)]
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=safe_environment(**ONE_THREAD),
            )
            running.append(process)
            process.wait()

        threads = ThreadPoolExecutor(count)
        try:
            waiting = [threads.submit(drawn, portion) for portion in portions]
            for portion, done in zip(portions, waiting, strict=True):
                done.exception()  # waits; what is missing is drawn here
                for seed in portion:
                    yield _taken(_path(Path(place), seed), size, seed, preset)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for process in running:
                process.kill()
            threads.shutdown()


def _taken(path: Path, size: int, seed: int, preset: str) -> SimulatedSlide:
    """Read a section that a process has drawn, and forget its file; draw it where there is none."""
    if not path.exists():
        return simulate_slide(size, seed, preset)
    with np.load(path, allow_pickle=False) as file:
        channels = {name: file[name] for name in CHANNELS}
        pixel_size_um = float(file["pixel_size_um"])
    path.unlink()
    return SimulatedSlide(**channels, pixel_size_um=pixel_size_um, seed=seed, preset=preset)


def _path(place: Path, seed: int) -> Path:
    return place / f"{seed}.npz"


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def main(arguments: Sequence[str]) -> None:
    """Draw a portion: size, preset, folder, seeds."""
    size, preset, place, *seeds = arguments
    for seed in map(int, seeds):
        made = simulate_slide(int(size), seed, preset)
        path = _path(Path(place), seed)
        partial = path.with_suffix(".part.npz")
        arrays: dict[str, Any] = {**made.channels(), "pixel_size_um": made.pixel_size_um}
        np.savez(partial, **arrays)
        partial.replace(path)


if __name__ == "__main__":
    main(sys.argv[1:])

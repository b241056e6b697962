"""What a prediction will cost, said before it starts, and refused if it cannot fit.

1. Time: windows times what one sampler was timed to take for a window, on the job's own device.
2. Memory: what this process holds already, plus what samplers, queues, shards in work, border
   windows and, without a store on disk, the result will take at most. Samples need room until they
   are combined, and their spread is a second map.
3. Disk: the result uncompressed. It was seen to compress to 0.75 to 0.9 of that, so a job is
   refused when 0.7 of it do not fit, and warned of when all of it does not.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from napari_damm.engine.config import COMPILING_S, pool_batches
from napari_damm.engine.pipeline import READ_AHEAD, UNTAKEN_POOLS, WRITE_AHEAD
from napari_damm.engine.planning import Plan
from napari_damm.store.layout import SAMPLE_PX
from napari_damm.util.advice import Advice
from napari_damm.util.text import count, duration, gigabytes

if TYPE_CHECKING:
    from napari_damm.engine.setup import Setup
    from napari_damm.model.damm import DAMM

_FLOAT = 4
_HALF = 2
_PYRAMID = 4 / 3
# Feature maps alive at once in the widest block of an autoencoder, in units of its widest map.
# On the safe side: estimates were 1.5 to 1.8 times the peaks of tests/benchmarks/peak_memory.py.
_MAPS_ALIVE = 8
_BLOCK_CACHE = 128 * 2**20
_RESERVE = 256 * 2**20
_BEST_COMPRESSION = 0.7


@dataclass(frozen=True)
class Cost:
    """What a run will take.

    Attributes
    ----------
    memory_bytes
        Peak memory, of all workers together where there are several.
    disk_bytes
        Upper bound of the stored result.
    seconds
        Expected time; None where nothing was timed.
    window_seconds
        Time that one sampler takes for one window.
    recomputed
        Share of windows that is computed twice, 0..1.
    samples
        How many samples are drawn of each window.
    workers
        How many processes compute.
    compiling_seconds
        Time, of all, that it takes to compile the network.
    """

    memory_bytes: int
    disk_bytes: int
    seconds: float | None
    window_seconds: float | None
    recomputed: float = 0.0
    samples: int = 1
    workers: int = 1
    compiling_seconds: float = 0.0


def expected_cost(
    planned: Plan,
    model: DAMM,
    setup: Setup,
    workers: int = 1,
    on_disk: bool = True,
    window_seconds: float | None = None,
) -> Cost:
    """Say what a plan will cost in so many workers, given how long a sampler takes for a window."""
    windows = planned.windows_apart if workers > 1 else len(planned.windows)
    disk = _result_bytes(planned)
    held = psutil.Process().memory_info().rss
    memory = held + _working_bytes(planned, model, setup)
    if workers > 1:
        memory = held + workers * memory  # each loads what this process has loaded
    if not on_disk:
        memory += disk
    seconds = None
    compiling = COMPILING_S if setup.sampling.compiled and windows else 0.0
    if window_seconds is not None:
        seconds = windows * window_seconds / (setup.samplers * workers)
        seconds += compiling
    extra = windows / len(planned.windows) - 1 if planned.windows else 0.0
    samples = setup.sampling.samples
    return Cost(memory, disk, seconds, window_seconds, extra, samples, workers, compiling)


def refuse_what_cannot_fit(
    planned: Plan, cost: Cost, store: str | Path | None, remote: bool = False
) -> str:
    """Stop before anything is made; where it is computed elsewhere only the disk is known.

    Returns
    -------
    A warning where it may not fit; empty where it does.

    Raises
    ------
    ValueError
        Naming what is missing, and what would fit.
    """
    free_memory = psutil.virtual_memory().available + psutil.Process().memory_info().rss
    if cost.memory_bytes > free_memory and not remote:
        remedy = "close other programs, "
        if store is None:
            remedy = "store the result on disk with {store}, "
        elif cost.workers > 1:
            remedy += "lower {workers}, "
        raise ValueError(
            Advice(
                f"the prediction needs about {gigabytes(cost.memory_bytes)} of memory and "
                f"{gigabytes(free_memory)} are free",
                f"{remedy}or narrow {{roi}}",
            )
        )
    if store is None:
        return ""
    folder = Path(store).absolute().parent
    if not folder.is_dir():
        return ""  # creating the store says so
    free = shutil.disk_usage(folder).free
    if _BEST_COMPRESSION * cost.disk_bytes > free:
        side = math.isqrt(int(free * 0.9 / (_HALF * _PYRAMID * _images(planned))))
        raise ValueError(
            f"the result needs up to {gigabytes(cost.disk_bytes)} and {gigabytes(free)} are free "
            f"in {folder}: free some space, choose a folder on another disk, or a region of at "
            f"most {side} x {side} model pixels"
        )
    if cost.disk_bytes > free:
        return Advice(
            f"the result may need {gigabytes(cost.disk_bytes)} and {gigabytes(free)} are free in "
            f"{folder}",
            "if the disk fills up, free some space and continue with {resume}",
        )
    return ""


def statement(planned: Plan, cost: Cost) -> str:
    """Say a plan and its cost in one sentence."""
    if planned.shards_done and not planned.shards:
        return f"all {count(planned.shards_done, 'part')} stored already: nothing is left to do"
    total = planned.all_windows + planned.background_windows
    words = [
        f"{count(len(planned.windows), 'window')} in {count(len(planned.shards), 'part')}"
        + (f", {cost.samples} samples of each window" if cost.samples > 1 else ""),
        f"{planned.background_windows} of {count(total, 'window')} skipped as background",
    ]
    if planned.shards_done:
        words.append(f"{planned.shards_done} of {count(planned.all_shards, 'part')} stored already")
    if cost.recomputed > 0:
        words.append(f"{cost.recomputed:.1%} of the windows computed twice, where parts meet")
    if cost.seconds is not None:
        words.append(f"about {duration(cost.seconds)}")
        if cost.compiling_seconds:
            words[-1] += f", {duration(cost.compiling_seconds)} of it to compile the network"
    words += [
        f"{gigabytes(cost.memory_bytes)} of memory",
        f"up to {gigabytes(cost.disk_bytes)} for the result",
    ]
    return "; ".join(words)


def _images(planned: Plan) -> int:
    """How many maps the result has at full resolution."""
    return 2 if planned.layout.with_std else 1


def _result_bytes(planned: Plan) -> int:
    """All shards with windows, with their pyramids; the rest has no files."""
    pixels = sum(math.prod(s.box.shape) for s in planned.shards if s.windows)
    cells = math.prod(planned.layout.cells_shape)
    small = planned.layout.samples * pixels * _HALF // SAMPLE_PX**2
    return int(pixels * _HALF * _PYRAMID) * _images(planned) + small + 3 * cells + 2**20


def _working_bytes(planned: Plan, model: DAMM, setup: Setup) -> int:
    window = planned.lattice.window**2 * _FLOAT
    samplers, batch, samples = setup.samplers, setup.sampling.batch_size, setup.sampling.samples
    # besides the mean and the spread, the small maps of the samples
    images = _images(planned) + planned.layout.samples / SAMPLE_PX**2
    pools = READ_AHEAD + 2 * samplers + UNTAKEN_POOLS + samplers
    held = min(pools * pool_batches(setup.device) * batch, len(planned.windows))
    queued = held * (2 + images) * window
    # a window's samples until the last is in, and in float64 where they are compared
    drawn = samplers * 4 * samples * window if samples > 1 else 0
    widest = max(stage.channels[0] for stage in model.config.first_stages)
    at_once = 1 if setup.device == "cpu" else 0
    network = samplers * _MAPS_ALIVE * widest * window * at_once
    largest = max((len(shard.windows) for shard in planned.shards), default=0)
    across = min(len(planned.windows), planned.lattice.cols)
    kept = (largest + across) * window * images
    shard = max((math.prod(s.box.shape) for s in planned.shards), default=0) * _FLOAT
    # blended, weights, queued for the writer, and the writer's own pyramid
    shards = (2 + WRITE_AHEAD + 2) * shard * images
    seen = 3 * math.prod(planned.layout.cells_shape)
    seen += math.ceil(math.prod(planned.layout.levels[-1].shape) * _HALF * images)
    caches = min(_BLOCK_CACHE, 2 * _FLOAT * math.prod(planned.lattice.shape))
    return int(queued + drawn + network + kept + shards + seen + caches + _RESERVE)

"""How many windows a second can the host serve, whatever computes them?

Run: PYTHONPATH=src OMP_NUM_THREADS=1 python tests/benchmarks/host_ceiling.py [--size 2048]
         [--readers 1 2 4] [--batch 256] [--json FILE]

1. Each part of the host's share of a window alone, in milliseconds of one core: reading and
   normalising, what says whether the model knows it, unpacking what comes from the card, the tile
   that a viewer gets, and blending and writing of shards.
2. The engine as on a graphics card, with a network that costs nothing: windows per second by the
   number of reading threads, into memory and onto the disk. No card can make it faster than that.

Needs no card. What is said holds for the cores of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from gpu import section

from napari_damm import api
from napari_damm.engine.blending import ShardBlender
from napari_damm.engine.device_sampler import DeviceSampler
from napari_damm.engine.drawn import Drawn
from napari_damm.engine.job import survey
from napari_damm.engine.sampler import Yielded
from napari_damm.engine.setup import Sampling, Setup
from napari_damm.engine.windows import WindowInput, cut
from napari_damm.events import Finished, Planned
from napari_damm.model.damm import DAMM
from napari_damm.sampling import SamplerStep
from napari_damm.slide import Slide
from napari_damm.trust.known import Known
from napari_damm.trust.statistics import window_statistics
from napari_damm.util.tiling import WINDOW

COUNTED = 64
"""Windows of which parts are timed."""
TOKENS = 8


class FreeSampler(DeviceSampler):
    """As on a card, but that nothing is computed: images are packed, and maps come back."""

    def __init__(self, model: DAMM, sampling: Sampling) -> None:
        super().__init__(model, sampling, "cpu")
        self.device = "cuda"  # readers and pools are as many as there
        size = sampling.batch_size
        self._made = np.random.default_rng(0).random((size, WINDOW, WINDOW), np.float32)
        self._cells = self._made[:, :TOKENS, :TOKENS].copy()

    def _seen(
        self, windows: Sequence[WindowInput], plain: Sampling, beside: Sampling | None
    ) -> Generator[Yielded, None, tuple[list[Drawn], list[Drawn]]]:
        filled = self._filled_up(windows)
        self._transfers.send([each.primary for each in filled])
        self._transfers.send([each.secondary for each in filled])
        drawn = yield from self._free(windows, plain)
        spread = (yield from self._free(windows, beside)) if beside else []
        return drawn, spread

    def _free(
        self, windows: Sequence[WindowInput], sampling: Sampling
    ) -> Generator[Yielded, None, list[Drawn]]:
        sampled = [each for each in windows for _ in range(sampling.samples)]
        found = []
        for start in range(0, len(sampled), sampling.batch_size):
            some = sampled[start : start + sampling.batch_size]
            for k in range(sampling.steps):
                yield SamplerStep(k, sampling.steps, 0, torch.zeros(len(some)))
            found.append(self.drawn(some))
        return found

    def drawn(self, windows: Sequence[WindowInput]) -> Drawn:
        """Return what a card would have made of windows."""
        count = len(windows)
        return Drawn(
            windows,
            lambda: self._made[:count].copy(),
            lambda: self._cells[:count].copy(),
            lambda: self._cells[:count] > 1 / 2,
        )


def milliseconds(count: int, work: Callable[[], object]) -> float:
    """Return the time of this thread's core for each of `count` things; the best of three."""
    work()
    spent = []
    for _ in range(3):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return 1000 * min(spent) / count


def parts(slide: Slide, batch: int) -> dict[str, float]:
    """Time the host's share of a window, part by part."""
    model = api.load_model(None, "cpu")
    planned, setup = survey(slide, model, api.PredictConfig(device="cpu", batch_size=batch))
    some = planned.windows[:COUNTED]
    known = Known.of_card(model.card)
    assert known is not None
    pool = [cut(slide, planned, each) for each in some]
    rows = [window_statistics(each.primary, each.secondary) for each in pool]
    sampler = FreeSampler(model, setup.sampling)
    outputs = sampler.drawn((pool * -(-batch // len(pool)))[:batch]).outputs()
    outputs = sampler.drawn(pool).outputs()
    blender = ShardBlender(planned)
    for each in outputs:
        blender.take(each)
    region = planned.shards[0].region
    ready = {each.window: each for each in outputs}
    return {
        "read and normalise": milliseconds(
            len(some), lambda: [cut(slide, planned, each) for each in some]
        ),
        "statistics": milliseconds(
            len(some), lambda: [window_statistics(each.primary, each.secondary) for each in pool]
        ),
        "familiarity": milliseconds(
            len(some), lambda: [known.windows.familiarity(each) for each in rows]
        ),
        "pack": milliseconds(
            len(some), lambda: sampler._transfers.send([each.primary for each in pool])
        )
        * 2,
        "unpack": milliseconds(len(some), lambda: sampler.drawn(pool).outputs()),
        "tile": milliseconds(len(some), lambda: [blender.tile(each, 0) for each in outputs]),
        "blend": milliseconds(
            len(some),
            lambda: planned.lattice.blend(region, {w: o.np for w, o in ready.items()}),
        ),
    }


def engine(
    slide: Slide, batch: int, readers: int, on_disk: bool, **settings: Any
) -> dict[str, Any]:
    """Predict with a network that costs nothing; return windows per second, and by part."""

    def free(model: DAMM, setup: Setup) -> DeviceSampler:
        return FreeSampler(model, setup.sampling)

    replaced = {
        "napari_damm.engine.device_sampler.sampler_of": free,
        "napari_damm.engine.timing.window_seconds": lambda *_: 0.001,
        "napari_damm.engine.pipeline.default_readers": lambda _: readers,
        # of processors, not by the clock: other programs may want the cores too
        "napari_damm.engine.pipeline.time": SimpleNamespace(perf_counter=time.thread_time),
    }
    config = api.PredictConfig(device="cpu", batch_size=batch, lanes=2, **settings)
    with ExitStack() as stack:
        for name, other in replaced.items():
            stack.enter_context(patch(name, other))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        store = Path(folder) / "result.ome.zarr" if on_disk else None
        for event in api.predict(slide, None, config, store):
            if isinstance(event, Planned):
                began, used, mine = time.perf_counter(), time.process_time(), time.thread_time()
            elif isinstance(event, Finished):
                seconds = time.perf_counter() - began
                used, mine = time.process_time() - used, time.thread_time() - mine
                count = event.result.record["windows"]
                timings = event.result.record["timings"]
    spent = {part: 1000 * each / count for part, each in timings.items()}
    threads = {
        "that gathers events, blends and commits": 1000 * mine / count,
        "that writes": spent["write"],
        "of each reader": (spent["read"] + spent.get("familiarity", 0.0)) / readers,
        "of each sampler": spent["network"] / 2,
    }
    return {
        "windows/s": count / seconds,
        "ms of processors, per window": 1000 * used / count,
        "processors used": used / seconds,
        "ms of each thread, per window": threads,
        "windows/s, if each thread had a core": 1000 / max(threads.values()),
        "ms by part, per window": spent,
    }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure all, print, and write JSON; return what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--modes", nargs="+", default=["expected", "fast"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    slide = section(args.size)
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "size": args.size}
    found["ms of a core, per window"] = parts(slide, args.batch)
    print(json.dumps(found, indent=1), flush=True)
    for mode in args.modes:
        for readers in args.readers:
            for place in (False, True):
                name = f"{mode}, {readers} readers, {'on disk' if place else 'in memory'}"
                found[name] = engine(slide, args.batch, readers, place, mode=mode)
                print(name, json.dumps(found[name], indent=1), flush=True)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()

"""How fast the sampler is on windows that lie in memory, and what compiling its step changes.

For `gpu.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from gpu_right import GREY, section

from napari_damm import api
from napari_damm.engine.compiling import torch_compiler
from napari_damm.engine.device_sampler import DeviceSampler
from napari_damm.engine.job import survey
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.step_graph import CudaRecorder
from napari_damm.engine.windows import WindowInput

LONG_S = 2.0


def windows_in_memory(sampler: WindowSampler, count: int) -> list[WindowInput]:
    """Return windows of noise: what they show does not matter for the time."""
    side = 256
    rng = np.random.default_rng(0)
    pair = rng.uniform(-1, 1, (2, side, side)).astype(np.float32)
    return [WindowInput((0, k), (0, side * k), *pair) for k in range(count)]


def per_second(count: int, work: Callable[[], object], rounds: int = 3) -> float:
    """Return how many of `count` things a second; the first time is not counted.

    Rounds end where they have taken `LONG_S`: a slow card is measured once.
    """
    work()
    wait_for_card()
    seconds: list[float] = []
    while len(seconds) < rounds and sum(seconds) < LONG_S:
        began = time.perf_counter()
        work()
        wait_for_card()
        seconds.append(time.perf_counter() - began)
    return count / statistics.median(seconds)


def used_up(sampler: WindowSampler, windows: list[WindowInput]) -> None:
    """Sample windows, and forget them."""
    list(sampler.run(windows))


def compiled(device: str, batch: int) -> dict[str, Any]:
    """Compare a step that `torch.compile` made with one as it is: what it takes, gains and changes.

    Without a card nothing is generated: that would take minutes.
    """
    card = device == "cuda"
    model = api.load_model(None, device)
    config = api.PredictConfig(mode="fast", device=device, batch_size=batch)
    _, setup = survey(section(320), model, config)
    compilers = None, torch_compiler if card else partial(torch.compile, backend="aot_eager")
    samplers = [
        DeviceSampler(model, setup.sampling, device, CudaRecorder() if card else None, compiler)
        for compiler in compilers
    ]
    windows = windows_in_memory(samplers[0], batch)
    known = list(samplers[0].run(windows))[-1]
    began = time.perf_counter()
    found = list(samplers[1].run(windows))[-1]
    took = time.perf_counter() - began
    off = max(float(np.abs(a.np - b.np).max()) for a, b in zip(known, found, strict=True))
    plain, fast = (per_second(batch, partial(used_up, each, windows)) for each in samplers)
    return {
        "trouble": "; ".join(each.message for each in samplers[1]._remarks()) or "none",
        "first pool, s": took,
        "grey levels off, most": GREY * off,
        "sampler in memory, windows/s": plain,
        "sampler in memory, compiled, windows/s": fast,
    }


def wait_for_card() -> None:
    """Wait until the card has done all that was started."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()

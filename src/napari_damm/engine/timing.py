"""How long a window takes: a blank one is timed, on this thread, before a job begins.

One step of one full batch stands for all, so this takes a fraction of a second.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch

from napari_damm.engine.device_sampler import sampler_of
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Setup
from napari_damm.engine.windows import WindowInput
from napari_damm.model.damm import DAMM
from napari_damm.util.devices import backend


@torch.inference_mode()
def window_seconds(model: DAMM, setup: Setup, side: int) -> float:
    """Time a blank window of `side` px: both encoders, all steps, decoder."""
    sampling = replace(setup.sampling, compiled=False)  # that would take longer than all else
    sampler = sampler_of(model, replace(setup, sampling=sampling))
    threads = torch.get_num_threads()
    if setup.device == "cpu":
        torch.set_num_threads(1)
    try:
        encoders, decoder, step = _parts(sampler, side)
    finally:
        torch.set_num_threads(threads)
    return encoders * sampling.views + decoder * sampling.images + step * sampling.window_steps


def _parts(sampler: WindowSampler, side: int) -> tuple[float, float, float]:
    """Return the seconds of a window's encoders, of its decoder, and of one step."""
    alone, size, device = sampler.first_stage_batch, sampler.sampling.batch_size, sampler.device
    blank = np.zeros((side, side), np.float32)
    blanks = [WindowInput((0, 0), (0, 0), blank, blank)] * alone
    everywhere = torch.ones((alone, 1, 1), dtype=torch.bool, device=device)
    if device != "cpu":  # a card's libraries set themselves up for seconds
        given = sampler.encode(blanks)
        sampler.decode(given.primary, given, everywhere)
        _since(0.0, device)
    start = time.perf_counter()
    given = sampler.encode(blanks)
    encoders = _since(start, device) / alone
    start = time.perf_counter()
    sampler.decode(given.primary, given, everywhere)
    decoder = _since(start, device) / alone
    batch = [z[:1].expand(size, -1, -1, -1) for z in (given.primary, given.secondary)]
    denoiser = sampler.denoiser(*batch)
    t = torch.full((size,), 500, device=device)
    denoiser.denoise(batch[0], t)  # the first use of anything is slower
    start = time.perf_counter()
    denoiser.denoise(batch[0], t)
    return encoders, decoder, _since(start, device) / size


def _since(start: float, device: str) -> float:
    module = backend(device)
    if module is not None:
        module.synchronize()
    return time.perf_counter() - start

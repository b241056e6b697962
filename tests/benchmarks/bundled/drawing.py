"""The last part of the bundled model's training: a detail learns to draw without the camera.

1. Sections of training seeds are drawn, and the expected maps of their windows without the detail.
2. A new detail, as large as fine-tuning gives one, learns what the particles are without the
   camera's noise and without what shines into their channel from others, which the simulator knows,
   in the intensities of the image as taken. Else it draws, where tissue is dark, the noise of the
   images that it sees.
3. Of one window in eight the target's own latent is drawn instead: samples are drawn so.
4. Squared and absolute errors, and one minus SSIM, which sees small structure in the dark.

Autoencoders and noise estimator stay as they are. On two cores a pool of 1,350 windows takes two
minutes.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm import api
from napari_damm.model.damm import DAMM
from napari_damm.model.gate import where_multi
from napari_damm.simulate import SimulatedSlide, simulate_slide
from napari_damm.train.autoencoder.image_losses import ssim_map
from napari_damm.train.expected import DETAIL_NAMES, pixel_error, with_detail
from napari_damm.train.settling import statistics_anew
from napari_damm.util.tiling import STRIDE, WINDOW

from .judging import expected_latent
from .sections import INTERNAL_SHARE, SIZE, normalised

OWN_EVERY = 8
CROP, BATCH, RATE, BETAS = 128, 16, 1e-3, (0.9, 0.99)
SSIM_WEIGHT = 0.1
DECAY, WARM_UP, STATISTICS_BATCHES, TOLD_EVERY = 0.99, 50, 60, 100
PROCESSES = 2
Pool = NDArray[np.float16]
"""(n, 4, 256, 256): the map as drawn, both images as the detail sees them, and the truth."""


def pool(model: Path, sections: int, first_seed: int) -> Pool:
    """Draw the windows of so many sections."""
    seeds = range(first_seed, first_seed + sections)
    parts = [(model, seeds[k::PROCESSES]) for k in range(PROCESSES)]
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as processes:
        return np.concatenate([each for part in processes.map(_part, parts) for each in part])


def _part(asked: tuple[Path, range]) -> list[Pool]:
    path, seeds = asked
    torch.set_num_threads(1)
    model = api.load_model(path, "cpu").eval()
    made = []
    for seed in seeds:
        preset = "internal" if np.random.default_rng(seed).random() < INTERNAL_SHARE else "varied"
        made.append(windows(model, simulate_slide(SIZE, seed, preset), seed))
    return made


@torch.no_grad()
def windows(model: DAMM, drawn: SimulatedSlide, number: int) -> Pool:
    """Return all windows of a section."""
    primary, secondary, taken = normalised(drawn)
    true = drawn.nanoparticles_true.astype(np.float64)
    gain, offset = np.polyfit(true.ravel(), taken.ravel(), 1)
    places = [
        (y, x)
        for y in range(0, SIZE - WINDOW + 1, STRIDE)
        for x in range(0, SIZE - WINDOW + 1, STRIDE)
    ]

    def cut(image: NDArray[Any]) -> Tensor:
        stacked = np.stack([image[y : y + WINDOW, x : x + WINDOW] for y, x in places])
        return torch.from_numpy(stacked.astype(np.float32)[:, None])

    first, second, target = cut(primary), cut(secondary), cut(taken)
    found = expected_latent(model, first, second)
    own = [k for k in range(len(places)) if (number + k) % OWN_EVERY == 0]
    latent = found.latent
    latent[own] = model.encode(target[own], "target")
    shown = where_multi(second, found.multi)
    maps = model.draw(latent, found.features)
    return torch.cat([maps, first, shown, cut(gain * true + offset)], dim=1).half().numpy()


def crops(windows: Pool, rng: np.random.Generator) -> Tensor:
    """Return crops of windows drawn at random, turned at random."""
    made = []
    for k in rng.integers(len(windows), size=BATCH):
        y, x = rng.integers(WINDOW - CROP + 1, size=2)
        cut = torch.from_numpy(windows[k, :, y : y + CROP, x : x + CROP]).float()
        cut = torch.rot90(cut, int(rng.integers(4)), (1, 2))
        made.append(cut.flip(2) if rng.integers(2) else cut)
    return torch.stack(made)


def with_new_detail(model: DAMM, seed: int) -> DAMM:
    """Return the model with a detail that adds nothing yet, as large as fine-tuning gives one."""
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith(DETAIL_NAMES)}
    bare = DAMM(replace(model.config, detail=()), model.card)
    bare.load_state_dict(kept)
    return with_detail(bare, seed)


def learn(model: DAMM, windows: Pool, minutes: float, seed: int = 0) -> int:
    """Let the detail learn for so long; return the steps made."""
    detail = model.detail
    assert detail is not None
    model.requires_grad_(False)
    detail.requires_grad_(True).train()
    parameters = list(detail.parameters())
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.AdamW(parameters, RATE, betas=BETAS)
    rng = np.random.default_rng(seed)
    start, step, seconds, sums = time.monotonic(), 0, 60 * minutes, np.zeros(2)
    while (now := time.monotonic() - start) < seconds:
        drawn, first, second, target = crops(windows, rng).split(1, dim=1)
        made = detail(drawn, first, second)
        error, alike = pixel_error(made, target), ssim_map((made + 1) / 2, (target + 1) / 2).mean()
        for group in optimiser.param_groups:
            fallen = 0.5 * (1 + math.cos(math.pi * now / seconds))
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * fallen
        optimiser.zero_grad(set_to_none=True)
        (error + SSIM_WEIGHT * (1 - alike)).backward()
        optimiser.step()
        step += 1
        with torch.no_grad():
            for kept, now_is in zip(average, parameters, strict=True):
                kept.lerp_(now_is, 1 - min(DECAY, step / (step + WARM_UP)))
        sums += float(error.detach()), float(alike.detach())
        if step % TOLD_EVERY == 0:
            error_mean, ssim_mean = sums / TOLD_EVERY
            print(
                f"{now:.0f} s, step {step}: error {error_mean:.4f}, SSIM {ssim_mean:.4f}",
                flush=True,
            )
            sums[:] = 0
    with torch.no_grad():
        for kept, now_is in zip(average, parameters, strict=True):
            now_is.copy_(kept)
    with torch.no_grad(), statistics_anew(detail):
        for _ in range(STATISTICS_BATCHES):
            detail(*crops(windows, rng)[:, :3].split(1, dim=1))
    model.eval().requires_grad_(False)
    return step

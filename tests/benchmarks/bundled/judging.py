"""A first judgement of a model's expected map, window by window, on sections that it never saw.

What is published comes from `results.py`: this tells in seconds whether a training was worth it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from section_metrics import affine_fit
from skimage.measure import block_reduce
from skimage.metrics import structural_similarity
from torch import Tensor

from napari_damm.model.damm import DAMM
from napari_damm.model.gate import GAMMA, choose_multi, mix_branches, where_multi
from napari_damm.schedule import TIMESTEPS
from napari_damm.simulate import SimulatedSlide, simulate_slide
from napari_damm.train.expected import clean
from napari_damm.util.metrics import pearson_r
from napari_damm.util.tiling import CELL, STRIDE, WINDOW

from .sections import normalised

PRESETS = ("internal", "external")
FIRST_SEED, SIZE = 9100, STRIDE + WINDOW
"""Sections of two by two windows, of training seeds that the bundled model never learns from."""
Numbers = dict[str, float]


def judged(model: DAMM, count: int, first_seed: int = FIRST_SEED) -> dict[str, Numbers]:
    """Return means of scores over so many sections of each preset."""
    found = {}
    for preset in PRESETS:
        rows = [
            scores(model, simulate_slide(SIZE, seed, preset))
            for seed in range(first_seed, first_seed + count)
        ]
        found[preset] = {name: float(np.nanmean([row[name] for row in rows])) for name in rows[0]}
    return found


def scores(model: DAMM, drawn: SimulatedSlide) -> Numbers:
    """Compare the expected map of a section's windows with what was taken, and what is true."""
    vessels, nuclei, taken = normalised(drawn)
    device = next(model.parameters()).device
    secondary = _cut(nuclei, device)
    found = expected_latent(model, _cut(vessels, device), secondary)
    shown = where_multi(secondary, found.multi)
    with torch.no_grad():
        made = model.decode(found.latent, primary=found.features, secondary=shown)
    image = made.float().cpu().numpy()
    wanted = _cut(taken, "cpu").numpy()
    true = _cut(drawn.nanoparticles_true, "cpu").numpy()
    cells = (1, 1, CELL, CELL)
    misleads = block_reduce(_cut(drawn.divergence, "cpu").numpy(), cells, np.mean).ravel()
    doubt = 1 - found.confidence.float().cpu().numpy().ravel()
    return {
        "r, noise-free": pearson_r(image.ravel(), true.ravel()),
        "r, as taken": pearson_r(image.ravel(), wanted.ravel()),
        "PSNR, as taken": float(10 * np.log10(4 / ((image - wanted) ** 2).mean())),
        "SSIM, noise-free": ssim_of(image, true),
        "std ratio": float(image.std() / wanted.std()),
        "r of doubt": pearson_r(doubt, misleads) if misleads.std() else float("nan"),
    }


class Expected(NamedTuple):
    """Of windows: the latent of their expected map, where it is multi-modal, what helps to draw."""

    latent: Tensor
    multi: Tensor
    features: list[Tensor]
    confidence: Tensor


def ssim_of(image: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """Return the mean SSIM of windows (n, 1, h, w), fitted to the noise-free field, with it.

    The map is fitted to the truth, never the truth to the map: else a dark one would be best.
    """
    field = true.astype(np.float64) / true.max()
    slope, offset = affine_fit(field, image.astype(np.float64))
    pairs = zip(slope * image[:, 0] + offset, field[:, 0], strict=True)
    return float(np.mean([structural_similarity(a, b, data_range=1.0) for a, b in pairs]))


@torch.no_grad()
def expected_latent(model: DAMM, primary: Tensor, secondary: Tensor) -> Expected:
    """Return the expected maps' latents of windows (n, 1, 256, 256) in [-1, 1], as predicted."""
    latent, features = model.encode_primary(primary)
    x_t = torch.zeros_like(latent)
    if model.config.expected_from == "noise":
        x_t = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0)).to(latent)
    t = torch.full((len(latent),), TIMESTEPS - 1, device=latent.device)
    between = model.unet.encode(x_t, t, latent, model.encode(secondary, "secondary"))
    multi = choose_multi(between.confidence, GAMMA, model.config.gate)
    velocity = mix_branches(
        multi,
        lambda rows: model.unet.decode_multi(between.select(rows)),
        lambda rows: model.unet.decode_uni(between.select(rows)),
        x_t,
        model.config.uni_share,
    )
    return Expected(clean(velocity, x_t), multi, features, between.confidence)


def _cut(image: NDArray[np.generic], device: torch.device | str) -> Tensor:
    places: Sequence[tuple[int, int]] = [(y, x) for y in (0, STRIDE) for x in (0, STRIDE)]
    windows = [image[y : y + WINDOW, x : x + WINDOW] for y, x in places]
    return torch.from_numpy(np.stack(windows).astype(np.float32)[:, None]).to(device)

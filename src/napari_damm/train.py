"""Training of the noise estimator in the paper's two phases, on latents made beforehand.

1. `encode_windows` turns windows of the three modalities into latents, with frozen first stages.
2. Joint phase: both branches learn, with plain cross-attention.
3. Gated phase: the confidence damps the attention and is taught which branch is better.

`train_noise_estimator` yields after every step; a `TrainState` saved in between resumes it.
Source: DAMM-Diffusion (arXiv 2503.09491), section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from napari_damm.losses import CONFIDENCE_WEIGHT, branch_errors, gated_loss, joint_loss
from napari_damm.model.damm import DAMM, GAMMA, ROLES
from napari_damm.schedule import TIMESTEPS, NoiseSchedule
from napari_damm.train_state import TrainState


@dataclass(frozen=True)
class TrainConfig:
    """How the noise estimator is trained.

    `crop` is the side of the latent crop that a sample uses (0: the whole window), `gated_from`
    the step at which the gated phase starts (the paper: 40 % of the way).

    `weight_limit`: the paper weighs all timesteps alike (0), and a short training then learns the
    fine noise first and the coarse picture last. A positive limit weighs each sample by the error
    of x_0 that its error of eps means, sqrt((1 - abar) / abar), at most the limit.
    """

    steps: int = 4000
    gated_from: int = 1600
    batch_size: int = 16
    crop: int = 0
    learning_rate: float = 1e-4
    average: float = 0.999
    gamma: float = GAMMA
    confidence_weight: float = CONFIDENCE_WEIGHT
    weight_limit: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers that would fail late."""
        if self.steps < 1 or not 0 <= self.gated_from <= self.steps:
            raise ValueError(f"gated_from must be in 0..{self.steps}, got {self.gated_from}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {self.batch_size}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")


class Latents(NamedTuple):
    """Latents (n, c, h, w) of n windows in the three roles."""

    primary: Tensor
    secondary: Tensor
    target: Tensor


@dataclass(frozen=True)
class TrainStep:
    """One training step: its losses, and the mean confidence."""

    step: int
    steps: int
    phase: str
    loss: float
    loss_uni: float
    loss_multi: float
    confidence: float


@torch.no_grad()
def encode_windows(model: DAMM, windows: Tensor) -> Latents:
    """Latents of windows (n, 3, h, w) in [-1, 1]: primary, secondary, target, one at a time."""
    encoded = [
        torch.cat([model.encode(window[None, k : k + 1], role) for window in windows])
        for k, role in enumerate(ROLES)
    ]
    return Latents(*encoded)


def draw_batch(latents: Latents, config: TrainConfig, step: int) -> Latents:
    """Draw the batch of a step: random windows and crops, a function of seed and step only."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    n, _, height, width = latents.primary.shape
    pick = torch.randint(n, (config.batch_size,), generator=generator)
    crop = config.crop or height
    y = int(torch.randint(height - crop + 1, (), generator=generator))
    x = int(torch.randint(width - crop + 1, (), generator=generator))
    return Latents(*(z[pick, :, y : y + crop, x : x + crop] for z in latents))


def timestep_weights(schedule: NoiseSchedule, limit: float) -> Tensor:
    """Weight of every timestep (1000,), mean 1: sqrt((1 - abar) / abar) up to `limit`; 0 = none."""
    if limit <= 0:
        return torch.ones(TIMESTEPS)
    abar = schedule.alphas_cumprod
    weight = ((1 - abar) / abar).sqrt().clamp_max(limit)
    return (weight / weight.mean()).float()


def train_noise_estimator(
    model: DAMM, latents: Latents, config: TrainConfig, state: TrainState
) -> Iterator[TrainStep]:
    """Train `model.unet` in place from `state.step` on; yields one TrainStep per step."""
    schedule = NoiseSchedule()
    model.unet.train()
    device = next(model.unet.parameters()).device
    weights = timestep_weights(schedule, config.weight_limit).to(device)
    while state.step < config.steps:
        step = state.step
        batch = Latents(*(z.to(device) for z in draw_batch(latents, config, step)))
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step + 500_000_000)
        t = torch.randint(TIMESTEPS, (config.batch_size,), generator=generator).to(device)
        eps = torch.randn(batch.target.shape, generator=generator).to(device)
        x_t = schedule.add_noise(batch.target, eps, t)
        gated = step >= config.gated_from
        outputs = model.predict_noise(x_t, t, batch.primary, batch.secondary, gated)
        loss = (
            gated_loss(outputs, eps, config.gamma, config.confidence_weight, weights[t]).total
            if gated
            else joint_loss(outputs, eps, weights[t])
        )
        state.descend(loss, state.cosine_rate(config.learning_rate, config.steps))
        with torch.no_grad():
            uni, multi = branch_errors(outputs, eps)
        yield TrainStep(
            step,
            config.steps,
            "gated" if gated else "joint",
            float(loss.detach()),
            float(uni.mean()),
            float(multi.mean()),
            float(outputs.confidence.detach().mean()),
        )
    model.unet.eval()

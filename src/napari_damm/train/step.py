"""One step of the noise estimator.

1. Times and noise are drawn by seed and step; x_t is made from the target's latent.
2. joint: both branches learn, with plain cross-attention. gated: the confidence damps the
   attention, is taught which branch is better, and decides whose error counts.
   Where divergence was planted, in either phase, what is known of it decides instead.
3. Where memory runs out the batch is cut into parts whose gradients are added.

Source: DAMM-Diffusion (arXiv 2503.09491), section 3.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from napari_damm.model.unet import BranchOutputs, UNetConfig
from napari_damm.schedule import TIMESTEPS, NoiseSchedule
from napari_damm.train.batches import Batch
from napari_damm.train.config import TrainConfig
from napari_damm.train.losses import branch_errors, gated_loss, joint_loss, planted_loss, sound
from napari_damm.train.recorded_step import Piece
from napari_damm.train.state import TrainState
from napari_damm.util.sending import sent

JOINT, GATED = "joint", "gated"
DIVERGENCE_WEIGHT = 0.1
_MIX = 1_000_003


@dataclass(frozen=True)
class StepLosses:
    """What a step cost: the loss that was minimised, L1 of both branches, mean confidence.

    The last three are those of the noise, and no numbers (nan) in a step that leaves it out.
    """

    loss: float = 0.0
    uni: float = math.nan
    multi: float = math.nan
    confidence: float = math.nan


def timestep_weights(schedule: NoiseSchedule, limit: float) -> Tensor:
    """Weight of every timestep (1000,), mean 1: sqrt((1 - abar) / abar) up to `limit`; 0 = none."""
    if limit <= 0:
        return torch.ones(TIMESTEPS)
    abar = schedule.alphas_cumprod
    weight = ((1 - abar) / abar).sqrt().clamp_max(limit)
    return (weight / weight.mean()).float()


def velocity_weights(schedule: NoiseSchedule, squared: bool) -> Tensor:
    """Return the weights (1000,) that make an error of the noise one of the velocity.

    eps = sqrt(abar) v + ..., so |v error| = |eps error| / sqrt(abar).
    """
    abar = schedule.alphas_cumprod
    return (1 / abar if squared else abar.rsqrt()).float()


def uses_squares(unet: UNetConfig, config: TrainConfig) -> bool:
    """Return whether errors are squared: as set, else where the network predicts velocity."""
    return config.loss == "l2" or (config.loss == "auto" and unet.predicts == "velocity")


def divergence_weight(unet: UNetConfig, config: TrainConfig) -> float:
    """Return the weight of planted divergence: as set, else only where it can be seen."""
    if config.divergence_weight is not None:
        return config.divergence_weight
    return DIVERGENCE_WEIGHT if unet.confidence_from == "both" else 0.0


def phase_at(progress: float, config: TrainConfig) -> str:
    """Return the phase at a progress of 0..1."""
    return GATED if progress >= config.gated_from else JOINT


class NoiseStep:
    """Computes the gradients of a step; `network` is the U-Net, or Fabric's wrapping of it."""

    def __init__(
        self, network: Any, state: TrainState, config: TrainConfig, unet: UNetConfig
    ) -> None:
        self.network, self.state, self.config = network, state, config
        self.schedule = NoiseSchedule()
        self.squared = uses_squares(unet, config)
        self.planted_weight = divergence_weight(unet, config)
        if unet.predicts == "velocity":
            self.weights = velocity_weights(self.schedule, self.squared)
        else:
            self.weights = timestep_weights(self.schedule, config.weight_limit)

    def backward(self, batch: Batch, step: int, phase: str, parts: int, rank: int) -> StepLosses:
        """Add the gradients of a batch, computed in so many parts, to the parameters'."""
        count = len(batch.target)
        t, eps = self._drawn(batch.target.shape, step, rank, "cpu")
        done = [
            self._part(Batch(*(z[part] for z in batch)), t[part], eps[part], phase, count)
            for part in torch.arange(count).tensor_split(min(parts, count))
        ]
        sums = torch.tensor(done, dtype=torch.float64).sum(0).tolist()
        return StepLosses(*sums)

    def piece(self, batch: Batch, step: int, phase: str) -> Piece:
        """Return the same as a piece of a step that is recorded; drawn on the batch's device."""
        t, eps = self._drawn(batch.target.shape, step, 0, batch.target.device)
        self.weights = sent(self.weights, t.device)
        x_t = self.schedule.add_noise(batch.target, eps, t)
        given = (x_t, t, batch.primary, batch.secondary, eps, batch.planted, self.weights[t])
        return Piece(("noise", phase), given, partial(self._gradients, phase == GATED))

    def _drawn(
        self, shape: torch.Size, step: int, rank: int, device: torch.device | str
    ) -> tuple[Tensor, Tensor]:
        """Draw times (n,) and noise of a shape (n, c, h, w)."""
        generator = torch.Generator(device).manual_seed(
            ((self.config.seed * _MIX + step) * 64 + rank + 500_000_000) % 2**63
        )
        t = torch.randint(TIMESTEPS, (shape[0],), generator=generator, device=device)
        return t, torch.randn(shape, generator=generator, device=device)

    def _gradients(self, gated: bool, *given: Tensor) -> tuple[Tensor, ...]:
        """Add the gradients of a batch; return its losses as they lie on the device."""
        x_t, t, primary, secondary, eps, planted, weight = given
        made = [z.float() for z in self.network(x_t, t, primary, secondary, gated)]
        outputs = BranchOutputs(made[0], made[1], sound(made[2]))
        loss = self._loss(outputs, eps, planted, gated, weight, finite=True)
        loss = loss + 0 * made[2].detach().sum()
        self.state.backward(loss)
        return self._means(loss, outputs, eps)

    def _part(
        self, batch: Batch, t: Tensor, eps: Tensor, phase: str, count: int
    ) -> tuple[float, ...]:
        device = batch.target.device
        weight = self.weights[t].to(device)
        t, eps = t.to(device), eps.to(device)
        x_t = self.schedule.add_noise(batch.target, eps, t)
        gated = phase == GATED
        outputs = BranchOutputs(
            *(z.float() for z in self.network(x_t, t, batch.primary, batch.secondary, gated))
        )
        # of a confidence that is no number there is no loss; the other loss is no number then too
        finite = bool(torch.isfinite(outputs.confidence).all())
        loss = self._loss(outputs, eps, batch.planted, gated, weight, finite)
        share = len(t) / count
        self.state.backward(loss, share)
        # read all at once: a card is waited for each time
        means = torch.stack(self._means(loss, outputs, eps)).tolist()
        return tuple(share * value for value in means)

    @torch.no_grad()
    def _means(self, loss: Tensor, outputs: BranchOutputs, eps: Tensor) -> tuple[Tensor, ...]:
        uni, multi = branch_errors(outputs, eps)
        confidence = outputs.confidence.flatten(1).mean(dim=1)
        return tuple(value.mean() for value in (loss.detach(), uni, multi, confidence))

    def _loss(
        self, outputs: BranchOutputs, eps: Tensor, planted: Tensor, gated: bool, weight: Tensor,
        finite: bool,
    ) -> Tensor:  # fmt: skip
        if self.planted_weight and finite:
            known = self.planted_weight
            return planted_loss(outputs, eps, planted, known, weight, self.squared).total
        if gated and finite:
            gamma, confidence_weight = self.config.gamma, self.config.confidence_weight
            return gated_loss(outputs, eps, gamma, confidence_weight, weight, self.squared).total
        return joint_loss(outputs, eps, weight, self.squared)

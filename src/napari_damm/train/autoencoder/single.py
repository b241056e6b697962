"""The training of one autoencoder.

1. Warm up without the codebook: a plain autoencoder learns its latents.
2. Scale the latents to zero mean and unit spread, and place the codebook by k-means on them.
3. Go on with the codebook: quantised reconstruction, codebook loss, unused entries replanted.

Adapting a trained stage is step 3 alone, at a low rate, with a term that holds the latents at zero
mean and unit spread: the noise estimator was trained on such.

A stage without codebook is trained with that term from the start, and sees its latents with a
little noise, so that the decoder forgives what the noise estimator gets slightly wrong.

Loss, of a VQGAN: 2/3 (L1 + 1 - SSIM) at full and 1/3 at half resolution + codebook loss; of an
`Autoencoder`: `faithful_loss`. The paper adds LPIPS and, late, a discriminator; here both are left
to be asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from napari_damm.model.damm import FirstStage
from napari_damm.model.vqgan import VQGAN
from napari_damm.train.autoencoder.adversary import Adversary
from napari_damm.train.autoencoder.codebook import (
    latent_drift,
    place_codebook,
    replant,
    standardise_latents,
)
from napari_damm.train.autoencoder.image_losses import (
    Perceptual,
    faithful_loss,
    load_lpips,
    reconstruction_loss,
)
from napari_damm.train.rates import cosine_rate, warmup_steps
from napari_damm.train.state import (
    NotFinite,
    TrainState,
    load_states,
    save_states,
)

CODEBOOK_BATCHES, REPLANT_BATCHES = 8, 20
REPLANT_UNTIL = 0.7
"""Share of the steps after which no entry is moved, so that every one settles."""
LATENT_NOISE, FAITHFUL_NOISE = 0.1, 0.05
DRIFT_WEIGHT = 1.0
"""Measured: latents of spread 2 are at 1.0 after 100 steps, and R2 is 0.006 below that without."""


@dataclass(frozen=True)
class AutoencoderTraining:
    """How an autoencoder is trained.

    `steps` includes the `warmup_steps` without codebook. `adapt` continues a trained stage: its
    latents and codebook are not made anew. From step `discriminator_from` on, if it is given, a
    discriminator joins. `half`: in bfloat16, without a codebook only (its distances need float32).
    `ema_decay`: of the moving average that the weights become in the end; 0 for none.
    """

    steps: int = 2000
    warmup_steps: int = 800
    learning_rate: float = 5e-4
    codebook_weight: float = 1e-6
    replant_every: int = 100
    adapt: bool = False
    lpips: bool = False
    discriminator_from: int | None = None
    half: bool = False
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers that would fail late."""
        if not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(f"warmup_steps must be in 0..{self.steps}, got {self.warmup_steps}")
        if self.adapt and self.warmup_steps:
            raise ValueError(f"adapt needs no warmup_steps: 0, got {self.warmup_steps}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate}")
        if self.replant_every < 1:
            raise ValueError(f"replant_every must be 1 or more, got {self.replant_every}")
        if self.discriminator_from is not None and self.discriminator_from < 0:
            raise ValueError(f"discriminator_from must be 0 or more, got {self.discriminator_from}")


@dataclass(frozen=True)
class AutoencoderStep:
    """Losses of one step, the `step`-th (from 1); how many codebook entries were `replanted`."""

    step: int
    steps: int
    loss: float
    l1: float
    replanted: int


class AutoencoderState:
    """All that an autoencoder's training is resumed from: the stage, and its adversary if any."""

    def __init__(self, stage: FirstStage, config: AutoencoderTraining) -> None:
        self.stage = TrainState(stage, config.learning_rate, ema_decay=config.ema_decay)
        self.adversary: Adversary | None = None
        if config.discriminator_from is not None:
            device = next(stage.parameters()).device
            self.adversary = Adversary(stage.config.image_channels, config.learning_rate, device)

    @property
    def step(self) -> int:
        """Steps that were taken."""
        return self.stage.step

    def save(self, path: Path, extra: Mapping[str, str] | None = None) -> None:
        """Write a checkpoint; see `train_state.save_states`."""
        save_states(path, self._states, extra)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint; see `train_state.load_states`."""
        load_states(path, self._states)

    @property
    def _states(self) -> dict[str, TrainState]:
        both = {"stage": self.stage}
        return both if self.adversary is None else {**both, "discriminator": self.adversary.state}


def train_autoencoder(
    stage: FirstStage,
    batch: Callable[[int], Tensor],
    config: AutoencoderTraining,
    state: AutoencoderState | None = None,
) -> Iterator[AutoencoderStep]:
    """Train `stage` in place on `batch(step)` (b, c, h, w) in [-1, 1].

    `batch` must depend on the step alone: then a training resumed from `state` equals an
    uninterrupted one. Yields after every step; between yields `state` may be saved.

    Raises
    ------
    ValueError
        If LPIPS is asked for and cannot be had.
    NotFinite
        If the loss or its gradients become infinite or not a number; the stage is that of the step
        before (a discriminator's statistics may not be: go back to a checkpoint).
    """
    state = state or AutoencoderState(stage, config)
    device = next(stage.parameters()).device
    perceptual = load_lpips(stage.config.image_channels, device) if config.lpips else None
    stage.train()
    while state.step < config.steps:
        step = state.step
        image = batch(step)
        coded = stage if isinstance(stage, VQGAN) and stage.quantizer is not None else None
        if step == config.warmup_steps and not config.adapt and coded is not None:
            standardise_latents(coded, image)
            place_codebook(coded, [batch(step + k) for k in range(CODEBOOK_BATCHES)])
            assert coded.quantizer is not None
            state.stage.forget(coded.quantizer.codebook)
        loss, l1 = _learn(state, image, config, perceptual)
        moved = 0
        if coded is not None and _replants(config, step):
            recent = range(max(0, step + 1 - REPLANT_BATCHES), step + 1)
            moved = replant(coded, [batch(k) for k in recent], step)
        yield AutoencoderStep(state.step, config.steps, loss, l1, moved)
    if config.ema_decay:
        stage.load_state_dict({**stage.state_dict(), **state.stage.ema})
    stage.eval()


def _replants(config: AutoencoderTraining, step: int) -> bool:
    due = (step + 1) % config.replant_every == 0
    return due and config.warmup_steps <= step < REPLANT_UNTIL * config.steps


def _learn(
    state: AutoencoderState,
    image: Tensor,
    config: AutoencoderTraining,
    perceptual: Perceptual | None,
) -> tuple[float, float]:
    """Take one step of the stage, and of its adversary; return the reconstruction's loss and L1."""
    step, adversary = state.step, state.adversary
    stage = state.stage.module
    assert isinstance(stage, FirstStage)
    rate = config.learning_rate * cosine_rate(step / config.steps, step, warmup_steps(config.steps))
    with torch.autocast(image.device.type, torch.bfloat16, enabled=config.half):
        z = stage.encode(image)
        if isinstance(stage, VQGAN):
            given = z if stage.quantizer is not None else _with_noise(z, step, LATENT_NOISE)
            out = stage.reconstruct(given, quantize=step >= config.warmup_steps)
            made, half, codebook_loss = (each.float() for each in out)
        else:
            made = stage.decode(_with_noise(z, step, FAITHFUL_NOISE)).float()
            codebook_loss = z.new_zeros(())
    if isinstance(stage, VQGAN):
        loss = reconstruction_loss(image, made, half, perceptual)
    else:
        loss = faithful_loss(made, image, perceptual)
    if not bool(torch.isfinite(loss)):
        raise NotFinite(f"the loss is not finite at step {step + 1}")
    total = loss + config.codebook_weight * codebook_loss
    if config.adapt or not isinstance(stage, VQGAN) or stage.quantizer is None:
        total = total + DRIFT_WEIGHT * latent_drift(z.float())
    joined = adversary is not None and step >= (config.discriminator_from or 0)
    if adversary is not None and joined:
        total = total + adversary.reward(loss, made, stage.output.weight)
    state.stage.descend(total, rate)
    if adversary is not None and joined:
        adversary.learn(image, made, rate)
    return float(loss.detach()), float((made.detach() - image).abs().mean())


def _with_noise(z: Tensor, step: int, strength: float) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    return z + strength * noise

"""One step of an autoencoder: started operation by operation, or recorded and replayed.

1. The image is encoded and made anew: quantised, or, of latents that are not, with a little noise.
2. Loss of the reconstruction, of the codebook, and of where the latents lie; the adversary's reward
   once it has joined.
3. A step down the gradients; the adversary's own.

On a graphics card all this is recorded once for each kind of step (`train.recorded_step`). Noise is
drawn there, by the number of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from napari_damm.engine.step_graph import Recorder
from napari_damm.model.damm import FirstStage
from napari_damm.model.vqgan import VQGAN
from napari_damm.train.autoencoder.adversary import Adversary, WithAdversary
from napari_damm.train.autoencoder.codebook import latent_drift
from napari_damm.train.autoencoder.image_losses import (
    Perceptual,
    faithful_loss,
    reconstruction_loss,
)
from napari_damm.train.autoencoder.training_state import AutoencoderState, AutoencoderTraining
from napari_damm.train.rates import cosine_rate, warmup_steps
from napari_damm.train.recorded_step import Piece, RecordedSteps
from napari_damm.train.state import MAX_GRADIENT_NORM, NotFinite

LATENT_NOISE, FAITHFUL_NOISE = 0.1, 0.05
DRIFT_WEIGHT = 1.0
"""Measured: latents of spread 2 are at 1.0 after 100 steps, and R2 is 0.006 below that without."""

Losses = Callable[[], tuple[float, float]]
"""Waits for the losses of a step: of the reconstruction, and its L1."""


def _rate(config: AutoencoderTraining, step: int) -> float:
    return config.learning_rate * cosine_rate(step / config.steps, step, warmup_steps(config.steps))


def _joined(state: AutoencoderState, config: AutoencoderTraining) -> Adversary | None:
    """Return the adversary of the next step, if it has one."""
    return state.adversary if state.step >= (config.discriminator_from or 0) else None


class _Reproduced(NamedTuple):
    """An image as it is made, the loss of its reconstruction, and what is minimised."""

    made: Tensor
    loss: Tensor
    total: Tensor


def _reproduced(
    stage: FirstStage,
    image: Tensor,
    disturbed: Callable[[Tensor], Tensor],
    config: AutoencoderTraining,
    quantize: bool,
    perceptual: Perceptual | None,
) -> _Reproduced:
    """Encode an image and make it anew, of latents that are `disturbed`."""
    coded = isinstance(stage, VQGAN) and stage.quantizer is not None
    half = None
    with torch.autocast(image.device.type, torch.bfloat16, enabled=config.half and not coded):
        z = stage.encode(image)
        given = disturbed(z)
        if isinstance(stage, VQGAN):
            out = stage.reconstruct(given, quantize=quantize)
            made, half, codebook_loss = (each.float() for each in out)
        else:
            made = stage.decode(given).float()
            codebook_loss = z.new_zeros(())
    if half is not None:
        loss = reconstruction_loss(image, made, half, perceptual)
    else:
        loss = faithful_loss(made, image, perceptual)
    total = loss + config.codebook_weight * codebook_loss
    if config.adapt or not coded:
        total = total + DRIFT_WEIGHT * latent_drift(z.float())
    return _Reproduced(made, loss, total)


def learn(
    state: AutoencoderState,
    image: Tensor,
    config: AutoencoderTraining,
    perceptual: Perceptual | None,
) -> Losses:
    """Take one step of the stage, and of its adversary.

    Raises
    ------
    NotFinite
        If the loss or its gradients are no numbers; nothing was learnt of them then.
    """
    step, adversary = state.step, _joined(state, config)
    stage = state.stage.module
    assert isinstance(stage, FirstStage)
    strength = _noise_strength(stage)
    disturbed = partial(_with_noise, step=step, strength=strength) if strength else _undisturbed
    quantize = step >= config.warmup_steps
    made, loss, total = _reproduced(stage, image, disturbed, config, quantize, perceptual)
    if not bool(torch.isfinite(loss)):
        raise NotFinite(f"the loss is not finite at step {step + 1}")
    rate = _rate(config, step)
    if adversary is not None:
        total = total + adversary.reward(loss, made, stage.output.weight)
    state.stage.descend(total, rate)
    if adversary is not None:
        adversary.learn(image, made, rate)
    found = float(loss.detach()), _l1(made, image).item()
    return lambda: found


class RecordedLearning:
    """Takes the same steps as pieces that are recorded; noise is drawn on the device."""

    def __init__(
        self,
        state: AutoencoderState,
        config: AutoencoderTraining,
        perceptual: Perceptual | None,
        recorder: Recorder,
    ) -> None:
        self._state, self._config, self._perceptual = state, config, perceptual
        self._alone = RecordedSteps(state.stage, MAX_GRADIENT_NORM, recorder)
        self._together = self._alone
        if state.adversary is not None:
            both = WithAdversary(state.stage, state.adversary.state)
            self._together = RecordedSteps(both, MAX_GRADIENT_NORM, recorder)

    def learn(self, image: Tensor) -> Losses:
        """Take one step of the stage, and of its adversary."""
        state, config, step = self._state, self._config, self._state.step
        stage, joined = state.stage.module, _joined(state, config) is not None
        assert isinstance(stage, FirstStage)
        quantize = step >= config.warmup_steps
        given = [image]
        if _noise_strength(stage):
            given.append(_drawn_noise(stage, image, step))
        piece = Piece((quantize, joined), tuple(given), partial(self._gradients, quantize, joined))
        steps = self._together if joined else self._alone
        coming = steps.take([piece], _rate(config, step))

        def losses() -> tuple[float, float]:
            loss, l1 = coming()
            return loss, l1

        return losses

    def said(self) -> str:
        """Say, once, if steps cannot be recorded."""
        notices = [*self._alone.notices(), *self._together.notices()]
        return notices[0].message if notices else ""

    def _gradients(
        self, quantize: bool, joined: bool, image: Tensor, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        stage, adversary = self._state.stage.module, self._state.adversary
        assert isinstance(stage, FirstStage)
        disturbed = _undisturbed if noise is None else partial(torch.add, other=noise)
        made, loss, total = _reproduced(
            stage, image, disturbed, self._config, quantize, self._perceptual
        )
        if joined and adversary is not None:
            total = total + adversary.reward(loss, made, stage.output.weight)
        self._state.stage.backward(total)
        if joined and adversary is not None:
            adversary.gradients(image, made)
        return loss.detach(), _l1(made, image)


def _noise_strength(stage: FirstStage) -> float:
    """Return how strong the noise is in what a decoder learns from; 0 where it is quantised."""
    if not isinstance(stage, VQGAN):
        return FAITHFUL_NOISE
    return LATENT_NOISE if stage.quantizer is None else 0.0


def _l1(made: Tensor, image: Tensor) -> Tensor:
    return (made.detach() - image).abs().mean()


def _undisturbed(z: Tensor) -> Tensor:
    return z


def _with_noise(z: Tensor, step: int, strength: float) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    return z + strength * noise


def _drawn_noise(stage: FirstStage, image: Tensor, step: int) -> Tensor:
    """Draw the same noise where the image is, which is other noise on a card."""
    count, _, height, width = image.shape
    factor, channels = stage.config.factor, stage.config.latent_channels
    generator = torch.Generator(image.device).manual_seed(step)
    shape = (count, channels, height // factor, width // factor)
    drawn = torch.randn(shape, generator=generator, device=image.device)
    return _noise_strength(stage) * drawn

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

On a graphics card a step is recorded once, and replayed (`train.recorded_step`); its losses are
read while the next one is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from napari_damm.engine.step_graph import Recorder
from napari_damm.model.damm import FirstStage
from napari_damm.model.vqgan import VQGAN
from napari_damm.train.autoencoder.codebook import place_codebook, replant, standardise_latents
from napari_damm.train.autoencoder.image_losses import load_lpips
from napari_damm.train.autoencoder.learning import Losses, RecordedLearning, learn
from napari_damm.train.autoencoder.training_state import (
    AutoencoderState,
    AutoencoderStep,
    AutoencoderTraining,
)
from napari_damm.train.underway import LATE

CODEBOOK_BATCHES, REPLANT_BATCHES = 8, 20
REPLANT_UNTIL = 0.7
"""Share of the steps after which no entry is moved, so that every one settles."""


def train_autoencoder(
    stage: FirstStage,
    batch: Callable[[int], Tensor],
    config: AutoencoderTraining,
    state: AutoencoderState | None = None,
    recorder: Recorder | None = None,
) -> Iterator[AutoencoderStep]:
    """Train `stage` in place on `batch(step)` (b, c, h, w) in [-1, 1].

    `batch` must depend on the step alone: then a training resumed from `state` equals an
    uninterrupted one. Yields after every step; between yields `state` may be saved. What a
    `recorder` records is one step ahead of what is yielded.

    Raises
    ------
    ValueError
        If LPIPS is asked for and cannot be had.
    NotFinite
        If the loss or its gradients become infinite or not a number; the stage is that of the step
        before (a discriminator's statistics may not be, nor what is recorded: go back to a
        checkpoint).
    """
    state = state or AutoencoderState(stage, config)
    device = next(stage.parameters()).device
    perceptual = load_lpips(stage.config.image_channels, device) if config.lpips else None
    recorded = None if recorder is None else RecordedLearning(state, config, perceptual, recorder)
    stage.train()
    while state.step < config.steps:
        step = state.step
        image = batch(step)
        coded = stage if isinstance(stage, VQGAN) and stage.quantizer is not None else None
        if step == config.warmup_steps and not config.adapt and coded is not None:
            state.settle()
            standardise_latents(coded, image)
            place_codebook(coded, [batch(step + k) for k in range(CODEBOOK_BATCHES)])
            assert coded.quantizer is not None
            state.stage.forget(coded.quantizer.codebook)
        if recorded is None:
            losses = learn(state, image, config, perceptual)
        else:
            losses = recorded.learn(image)
        moved = 0
        if coded is not None and _replants(config, step):
            recent = range(max(0, step + 1 - REPLANT_BATCHES), step + 1)
            moved = replant(coded, [batch(k) for k in recent], step)
        said = "" if recorded is None else recorded.said()
        state.add(partial(_told, state.step, config.steps, losses, moved, said))
        yield from state.arrived(late=0 if recorded is None else LATE)
    yield from state.arrived()
    if config.ema_decay:
        stage.load_state_dict({**stage.state_dict(), **state.stage.ema})
    stage.eval()


def _told(step: int, steps: int, losses: Losses, moved: int, said: str) -> AutoencoderStep:
    return AutoencoderStep(step, steps, *losses(), moved, said)


def _replants(config: AutoencoderTraining, step: int) -> bool:
    due = (step + 1) % config.replant_every == 0
    return due and config.warmup_steps <= step < REPLANT_UNTIL * config.steps

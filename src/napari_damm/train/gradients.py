"""The gradients of a training step: of the noise, of the expected map, or of the detail alone.

1. `backward` computes them one after the other, in parts where memory is short.
2. `pieces` gives the same as what can be recorded on a graphics card (`recorded_step`).

Which of them a step has is a function of its number, and of the phase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from napari_damm.engine.transfers import Transfers
from napari_damm.train.batches import Batch, Batches, Crops
from napari_damm.train.detail_phase import DETAIL, DetailPhase
from napari_damm.train.expected import (
    DrawnCrops,
    Needs,
    detail_error,
    encode_crops,
    expected_errors,
    latents_of,
    learning_mode,
    learns_part,
    leaves_secondary_out,
    needs,
    noise_every,
    reproduces,
    reproduction_error,
    says_alone,
)
from napari_damm.train.parts import TrainingParts
from napari_damm.train.recorded_step import Piece
from napari_damm.train.state import TrainState
from napari_damm.train.step import NoiseStep, StepLosses
from napari_damm.util.tiling import WINDOW

EXPECTED_PX, WINDOW_PX, SETTLING = 128, WINDOW, 4
"""Sides of the crops of the expected map and of what stands for a prediction's windows, and batches
of these that averaged weights are settled on.
"""
MAP_JITTER = 0.5
"""Share, of that in batches of the noise, in which the secondary image of these crops misleads."""


class Gradients:
    """Computes the gradients of what `state` learns; `learns_map`: the expected map too."""

    def __init__(self, parts: TrainingParts, batches: Batches, state: TrainState) -> None:
        self.batches, self.state = batches, state
        self.config, self.machine, self.model = parts.config, parts.machine, parts.model
        self.learns_map = state.module is self.model  # its decoder too: see expected.py
        self.learns_encoders = self.learns_map and learns_part(self.model, "primary")
        self.noise_every = noise_every(self.config)
        self._detail_phase: DetailPhase | None = None
        self._transfers = Transfers(self.machine.kind)
        self._ahead: dict[int, tuple[Crops, Callable[[], Needs]]] = {}
        network = self.machine.wrap(self.model.unet)
        self.noise = NoiseStep(network, state, self.config, self.model.config.unet)

    def backward(self, step: int, progress: float, phase: str, parts: int) -> StepLosses:
        """Add the gradients of a step, whose batches are computed in so many parts."""
        if phase == DETAIL:
            return StepLosses(self.detail.backward(step, self.config.expected_weight))
        if self.learns_map:
            learning_mode(self.model)
            return self._of_map(step, progress, phase, parts)
        self.model.unet.train()
        rank = self.machine.rank
        batch = self.batches.batch(step, progress, rank, self.machine.world)
        return self.noise.backward(batch, step, phase, parts, rank)

    def pieces(self, step: int, progress: float, phase: str) -> list[Piece]:
        """Return the same step as pieces; of one process."""
        if phase == DETAIL:
            seen = self.detail.batch(step)
            learning_mode(self.model)
            return [Piece(DETAIL, tuple(seen), self._detail_gradients)]
        if not self.learns_map:
            self.model.unet.train()
            return [self.noise.piece(self.batches.batch(step, progress), step, phase)]
        learning_mode(self.model)
        found = []
        if step % self.noise_every == 0:
            found.append(self.noise.piece(self._noise_batch(step, progress), step, phase))
        return [*found, self._map_piece(step)]

    @property
    def detail(self) -> DetailPhase:
        """The last part of learning the map; begins when it is first asked for."""
        if self._detail_phase is None:
            jitter = MAP_JITTER * self.config.jitter
            self._detail_phase = DetailPhase(
                self.model,
                self.state,
                lambda number: self.batches.crops(number, 1, WINDOW_PX, jitter),
                self.usual(),
                EXPECTED_PX,
                self.config.seed,
                self.machine.arithmetic,
            )
        return self._detail_phase

    def go_back(self) -> None:
        """Let all learn again that did before the detail learnt alone."""
        if self._detail_phase is not None:
            self._detail_phase.end()
            self._detail_phase = None  # its maps were drawn by other weights

    def usual(self) -> Iterator[Crops]:
        """Yield windows that do not mislead, several at a time: statistics are settled on them."""
        count = self.config.expected_crops
        return (self.batches.crops(k, count, WINDOW_PX, 0.0) for k in range(SETTLING))

    def _of_map(self, step: int, progress: float, phase: str, parts: int) -> StepLosses:
        """Add the gradients of the expected map, and of the noise when it is its turn."""
        losses = StepLosses()
        if step % self.noise_every == 0:
            batch = self._noise_batch(step, progress)
            losses = self.noise.backward(batch, step, phase, parts, 0)
        crops = self._crops(step, MAP_JITTER * self.config.jitter)
        count, loss = len(crops.images), losses.loss
        for part in torch.arange(count).tensor_split(min(parts, count)):
            error = self._map_error(Crops(*(x[part] for x in crops)), step)
            self.state.backward(error, len(part) / count)
            loss += len(part) / count * float(error.detach())
        return replace(losses, loss=loss)

    def _map_error(self, crops: Crops, step: int, known: Needs | None = None) -> Tensor:
        """Return the error of the expected map, or of what is drawn in its place."""
        if reproduces(step):
            arithmetic = self.machine.arithmetic
            error = reproduction_error(self.model, crops, step, arithmetic)
            return self.config.expected_weight * error
        with torch.set_grad_enabled(self.learns_encoders):
            encoded = encode_crops(self.model, crops)
        arithmetic = self.machine.arithmetic
        found = expected_errors(self.model, crops, encoded, step, known, arithmetic)
        return self.config.expected_weight * found.pixels + self.noise.planted_weight * found.gate

    def _map_piece(self, step: int) -> Piece:
        crops, needed = self._crops_and_needs(step)
        if reproduces(step):
            kind: tuple[object, ...] = ("reproduction", says_alone(self.model, step))
            return Piece(kind, tuple(crops), partial(self._map_gradients, step, None))
        known = needed()
        kind = ("map", leaves_secondary_out(step), *known)
        return Piece(kind, tuple(crops), partial(self._map_gradients, step, known))

    def _crops_and_needs(self, step: int) -> tuple[Crops, Callable[[], Needs]]:
        """Return the crops of a step, and what waits for what they need.

        Those of the step after it are made along: what these need is on the host by then, while
        the card computes this step.
        """
        for each in (step, step + 1):
            if each not in self._ahead:
                crops = self._crops(each, MAP_JITTER * self.config.jitter)
                needed = needs(self.model, crops, each, self._transfers.fetch)
                self._ahead[each] = crops, needed
        self._ahead = {each: self._ahead[each] for each in (step, step + 1)}
        return self._ahead.pop(step)

    def _map_gradients(
        self, step: int, known: Needs | None, images: Tensor, planted: Tensor
    ) -> tuple[Tensor]:
        error = self._map_error(Crops(images, planted), step, known)
        self.state.backward(error)
        return (error.detach(),)

    def _detail_gradients(self, *drawn: Tensor) -> tuple[Tensor]:
        error = detail_error(self.model, DrawnCrops(*drawn), self.machine.arithmetic)
        error = self.config.expected_weight * error
        self.state.backward(error)
        return (error.detach(),)

    def _noise_batch(self, step: int, progress: float) -> Batch:
        """Return what the noise is learnt from: small and new where it is needed seldom.

        Kept latents are no longer true where encoders learn.
        """
        if self.learns_encoders or self.noise_every > 1:
            return latents_of(self.model, self._crops(step, self.config.jitter))
        return self.batches.batch(step, progress)

    def _crops(self, step: int, jitter: float) -> Crops:
        """Return the images of an expected map: of several places, as statistics are of a batch."""
        return self.batches.crops(step, self.config.expected_crops, EXPECTED_PX, jitter)


def losses_of(found: list[float]) -> StepLosses:
    """Return what the pieces of a step cost: four numbers of the noise, one of all else."""
    noise = StepLosses(*found[:4]) if len(found) >= 4 else StepLosses()
    rest = found[4:] if len(found) >= 4 else found
    return replace(noise, loss=noise.loss + sum(rest))

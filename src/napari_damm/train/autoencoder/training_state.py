"""What the training of an autoencoder is told, tells, and is resumed from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from napari_damm.model.damm import FirstStage
from napari_damm.train.autoencoder.adversary import Adversary
from napari_damm.train.state import TrainState, load_states, save_states


@dataclass(frozen=True)
class AutoencoderTraining:
    """How an autoencoder is trained.

    `steps` includes the `warmup_steps` without codebook. `adapt` continues a trained stage: its
    latents and codebook are not made anew. From step `discriminator_from` on, if it is given, a
    discriminator joins. `half`: in bfloat16, but with a codebook (its distances need float32).
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
    """Losses of one step, the `step`-th (from 1); how many codebook entries were `replanted`.

    `said`: what there is to be told of how steps are taken.
    """

    step: int
    steps: int
    loss: float
    l1: float
    replanted: int
    said: str = ""


class AutoencoderState:
    """All that an autoencoder's training is resumed from: the stage, and its adversary if any."""

    def __init__(self, stage: FirstStage, config: AutoencoderTraining) -> None:
        self.stage = TrainState(stage, config.learning_rate, ema_decay=config.ema_decay)
        self.adversary: Adversary | None = None
        if config.discriminator_from is not None:
            device = next(stage.parameters()).device
            self.adversary = Adversary(stage.config.image_channels, config.learning_rate, device)
        self._coming: deque[Callable[[], AutoencoderStep]] = deque()

    @property
    def step(self) -> int:
        """Steps that were taken."""
        return self.stage.step

    def save(self, path: Path, extra: Mapping[str, str] | None = None) -> None:
        """Write a checkpoint; see `train_state.save_states`.

        Raises
        ------
        NotFinite
            If what was learnt since is no number; the checkpoint that was there stays.
        """
        self.settle()
        save_states(path, self._states, extra)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint; see `train_state.load_states`."""
        load_states(path, self._states)

    def add(self, told: Callable[[], AutoencoderStep]) -> None:
        """Take note of a step that was taken; `told` waits for its losses."""
        self._coming.append(told)

    def arrived(self, late: int = 0) -> Iterator[AutoencoderStep]:
        """Yield the steps taken but for so many, the oldest first."""
        while len(self._coming) > late:
            yield self._coming.popleft()()

    def settle(self) -> None:
        """Wait for the losses of all steps that were taken.

        Raises
        ------
        NotFinite
            If there is none of one.
        """
        found = [told() for told in self._coming]
        self._coming = deque(partial(_itself, step) for step in found)

    @property
    def _states(self) -> dict[str, TrainState]:
        both = {"stage": self.stage}
        return both if self.adversary is None else {**both, "discriminator": self.adversary.state}


def _itself(step: AutoencoderStep) -> AutoencoderStep:
    return step

"""The autoencoders of a model: trained from scratch or adapted, resumable from a folder.

1. From scratch, one autoencoder learns the images of all modalities: the shared start.
2. Each role's own goes on from there, on its images alone; then its latents get unit spread.
3. Adapting continues the model's own stages, those that are asked for, and does the same in the
   end.

Each training keeps a checkpoint in the folder, `shared.ckpt` and one per role. It is saved every
so often, at its end, and when the generator is closed.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from napari_damm.engine.step_graph import Recorder
from napari_damm.model.autoencoder import AutoencoderConfig
from napari_damm.model.damm import DAMM, ROLES, FirstStage
from napari_damm.model.damm import FirstStageConfig as StageSizes
from napari_damm.train.autoencoder.codebook import scale_to_unit_spread
from napari_damm.train.autoencoder.single import train_autoencoder
from napari_damm.train.autoencoder.training_state import (
    AutoencoderState,
    AutoencoderStep,
    AutoencoderTraining,
)
from napari_damm.train.state import NotFinite, read_extra

SHARED = "shared"
SHARED_RATE, EACH_RATE, ADAPT_RATE = 1e-3, 5e-4, 2e-4
WARMUP_SHARE = 0.45
"""Share of a training from scratch that goes without codebook."""
LONGEST_REPLANT = 100
SPREAD_BATCHES, SPREAD_FROM = 8, 10**6
_FINISHED = "finished"

NewRecorder = Callable[[], Recorder | None]
"""Makes what records the steps of a training, where there is such."""
RoleBatch = Callable[[str | None, int], Tensor]
"""(role, or None for all mixed; step) -> images (b, c, h, w) in [-1, 1], by these alone."""


@dataclass(frozen=True)
class AutoencodersTraining:
    """How the autoencoders of a model are trained.

    Parameters
    ----------
    roles
        Which, in this order.
    adapt
        Continue them as they are, on other images.
    shared_steps
        Steps of the shared start (0: none; when adapting there is none).
    steps
        Steps of each.
    learning_rate
        Highest rate; None: 1e-3 for the shared start and stages without one, 5e-4 for stages
        that go on from it, 2e-4 for adapting.
    lpips
        Add the perceptual term.
    discriminator_from
        Step of each training from which a patch discriminator joins; None: never.
    codebook_weight
        Weight of the codebook's loss. The paper's 1e-6 moves it too slowly for short trainings.
    checkpoint_seconds
        How often a checkpoint is saved.
    half
        Compute in bfloat16 what has no codebook.
    """

    roles: tuple[str, ...] = ROLES
    adapt: bool = False
    shared_steps: int = 400
    steps: int = 180
    learning_rate: float | None = None
    lpips: bool = False
    discriminator_from: int | None = None
    codebook_weight: float = 0.25
    checkpoint_seconds: float = 60.0
    half: bool = False

    def __post_init__(self) -> None:
        """Check the numbers that would fail late."""
        if not self.roles or any(role not in ROLES for role in self.roles):
            raise ValueError(f"roles must be one or more of {ROLES}, got {self.roles!r}")
        if self.shared_steps < 0 or self.steps < 1:
            raise ValueError(
                "steps must be 1 or more, and shared_steps 0 or more, "
                f"got {self.steps} and {self.shared_steps}"
            )


@dataclass(frozen=True)
class RoleStep:
    """Step `step` (from 1) of `steps` of a role's training, None being the shared start.

    `progress` (0..1) is that of all trainings together; `said` what there is to be told.
    """

    role: str | None
    step: int
    steps: int
    loss: float
    l1: float
    progress: float
    said: str = ""


def training_plan(config: AutoencodersTraining) -> list[tuple[str | None, AutoencoderTraining]]:
    """Return the trainings to be made, in order: the role (None: shared start) and its settings."""
    shared = 0 if config.adapt else config.shared_steps
    plan: list[tuple[str | None, AutoencoderTraining]] = []
    if shared:
        plan.append((None, _one(config, shared, SHARED_RATE, WARMUP_SHARE)))
    rate = ADAPT_RATE if config.adapt else EACH_RATE if shared else SHARED_RATE
    warmup = 0.0 if config.adapt or shared else WARMUP_SHARE
    each = _one(config, config.steps, rate, warmup)
    return plan + [(role, each) for role in config.roles]


def train_autoencoders(
    model: DAMM,
    batch: RoleBatch,
    config: AutoencodersTraining,
    folder: Path,
    recorder: NewRecorder = lambda: None,
) -> Generator[RoleStep, None, None]:
    """Train autoencoders of `model` in place, going on from the checkpoints in `folder`.

    `batch(role, step)` must depend on these alone: then a resumed training equals an uninterrupted
    one. What `folder` holds must come from a training with the same config. Closing the generator
    saves a checkpoint first; in the end the autoencoders are in eval mode.

    Raises
    ------
    OSError
        If a checkpoint cannot be written; the one before is kept.
    ValueError
        If LPIPS is asked for and cannot be had, the sizes of the stages differ and so have no
        shared start, or a checkpoint is damaged or of another architecture.
    NotFinite
        If the loss becomes infinite or not a number; the last checkpoint is kept.
    """
    plan = training_plan(config)
    if plan[0][0] is None and len(set(map(_unguided, model.config.first_stages))) > 1:
        raise ValueError("a shared start needs autoencoders of one size: set shared_steps to 0")
    folder.mkdir(parents=True, exist_ok=True)
    # a copy, so that a stop during the shared start leaves the model as it was
    shared = copy.deepcopy(model.first_stage(ROLES[0]))
    total, before = sum(each.steps for _, each in plan), 0
    for role, each in plan:
        stage = shared if role is None else model.first_stage(role)
        if role is not None and plan[0][0] is None:
            # what guides a decoder is its own: the shared start has none
            stage.load_state_dict({**stage.state_dict(), **shared.state_dict()})
        checkpoint = _Checkpoint(folder, role, config.checkpoint_seconds)
        with closing(_train(stage, partial(batch, role), each, checkpoint, recorder())) as steps:
            for step in steps:
                progress = (before + step.step) / total
                yield RoleStep(role, step.step, step.steps, step.loss, step.l1, progress, step.said)
        before += each.steps


def _unguided(config: StageSizes) -> StageSizes:
    return replace(config, guided=False) if isinstance(config, AutoencoderConfig) else config


@dataclass(frozen=True)
class _Checkpoint:
    """Where a role's training is kept, and how often it is saved."""

    folder: Path
    role: str | None
    seconds: float

    @property
    def path(self) -> Path:
        return self.folder / f"{self.role or SHARED}.ckpt"


def _train(
    stage: FirstStage,
    batch: Callable[[int], Tensor],
    config: AutoencoderTraining,
    checkpoint: _Checkpoint,
    recorder: Recorder | None,
) -> Generator[AutoencoderStep, None, None]:
    """Train one stage from its checkpoint on, if there is one, and leave it in eval mode."""
    state, path = AutoencoderState(stage, config), checkpoint.path
    if path.exists():
        state.load(path)
    if not path.exists() or _FINISHED not in read_extra(path):
        saved = time.monotonic()
        try:
            for step in train_autoencoder(stage, batch, config, state, recorder):
                if time.monotonic() - saved >= checkpoint.seconds:
                    state.save(path)
                    saved = time.monotonic()
                yield step
        except GeneratorExit:
            stage.eval()
            with suppress(NotFinite):  # of a step whose loss was underway: the one before is kept
                state.save(path)
            raise
        except NotFinite as error:
            whose = "all images" if checkpoint.role is None else f"the {checkpoint.role} images"
            raise NotFinite(f"training the autoencoder of {whose} failed: {error}") from None
        if checkpoint.role is not None:
            _give_unit_spread(stage, batch)
        state.save(path, {_FINISHED: "yes"})
    stage.eval()


@torch.no_grad()
def _give_unit_spread(stage: FirstStage, batch: Callable[[int], Tensor]) -> None:
    """Scale the latents of some batches that no step saw to unit spread, exactly."""
    latents = [stage.encode(batch(SPREAD_FROM + k)) for k in range(SPREAD_BATCHES)]
    scale_to_unit_spread(stage, float(torch.cat(latents).std()))


def _one(
    config: AutoencodersTraining, steps: int, learning_rate: float, warmup_share: float
) -> AutoencoderTraining:
    """Return the settings of one training; it looks for unused entries a few times."""
    return AutoencoderTraining(
        steps=steps,
        warmup_steps=round(warmup_share * steps),
        learning_rate=config.learning_rate or learning_rate,
        codebook_weight=config.codebook_weight,
        replant_every=min(LONGEST_REPLANT, max(10, steps // 4)),
        adapt=config.adapt,
        lpips=config.lpips,
        discriminator_from=config.discriminator_from,
        half=config.half,
    )

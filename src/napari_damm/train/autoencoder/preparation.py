"""The autoencoders made ready for a training: measured on its images, then left alone or trained.

1. Each autoencoder of the base model reproduces some training windows. Where that is poor the
   noise estimator cannot make up for it: it is said, with the way out.
2. With `adapt_first_stages` those that are poor go on learning, on crops of the training windows.
   From scratch all three are trained.
3. What they are then is measured again; the latents depend on it, and so does their cache.

On a graphics card crops are cut there, together (`train.device_views`), and steps are recorded.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.dataset.patches import Patch
from napari_damm.dataset.views import View, draw_view, plain_view, read_view
from napari_damm.events import Event, Notice, Preparing, TrainStep
from napari_damm.model.damm import ROLES
from napari_damm.train.autoencoder import (
    POOR_R2,
    AutoencodersTraining,
    RoleStep,
    poor_reconstruction,
    reconstruction_scores,
    train_autoencoders,
)
from napari_damm.train.data_time import DataTime
from napari_damm.train.device_views import SectionsOnDevice
from napari_damm.train.parts import TrainingParts
from napari_damm.train.recorded_step import recorder_for
from napari_damm.train.run_folder import AUTOENCODERS
from napari_damm.train.state import NotFinite
from napari_damm.train.validation import evenly
from napari_damm.util.advice import Advice
from napari_damm.util.errors import JobFault
from napari_damm.util.sending import sent
from napari_damm.util.tiling import WINDOW

MEASURED = 8
CROPS = {"tiny": (4, 64)}
USUAL_CROPS = (12, 96)
SHARE = 0.3
"""Share of the progress bar that training the autoencoders takes."""
ADAPT_STEPS, SCRATCH_STEPS, TINY_STEPS = 300, 2000, 60


@dataclass(frozen=True)
class _Crop:
    """Where a crop is cut: view `variant` of patch `index`, corner (y, x), image of which role."""

    index: int
    variant: int
    y: int
    x: int
    role: int


class AutoencoderPreparation:
    """Measures and trains the autoencoders of a training's model, in place.

    `sections` are those on the device, if any. `scores` are those by modality; `share` that of the
    progress bar which their training took.
    """

    def __init__(self, parts: TrainingParts, sections: SectionsOnDevice | None = None) -> None:
        self.sections = sections
        self.data_time = DataTime(parts.machine.kind)
        self.model, self.data, self.config = parts.model, parts.data, parts.config
        self.machine, self.unreadable = parts.machine, parts.unreadable
        self.new = parts.new_autoencoders
        self.variants = parts.schedule.variants
        self.folder = parts.checkpoints.folder.path / AUTOENCODERS
        self.names = dict(zip(ROLES, self.model.card["modalities"], strict=True))
        self.scores: dict[str, dict[str, float]] = {}
        self.share = 0.0

    def events(self) -> Iterator[Event]:
        """Measure, then train what has to be trained."""
        scratch = self.new
        roles = list(ROLES)
        if not scratch:
            yield from self._measure()
            roles = [r for r in ROLES if self.scores[self.names[r]]["r2"] < POOR_R2]
            if not self.config.adapt_first_stages:
                for role in roles:
                    name = self.names[role]
                    yield Notice(poor_reconstruction(name, self.scores[name]), "warning")
                return
            if not roles:
                yield Notice("the autoencoders reproduce these images well: they stay as they are")
                return
        self.share = SHARE
        yield from self._train(tuple(roles), scratch)
        yield from self._measure(() if scratch else roles)

    @property
    def fingerprint(self) -> str:
        """Return a hash of all that latents depend on: weights, images, and how views are drawn."""
        digest = hashlib.sha256()
        for name, tensor in self.model.first_stages.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        views = (self.config.seed, self.variants, self.config.jitter, self.data.fingerprint)
        digest.update(repr(views).encode())
        return digest.hexdigest()

    def _measure(self, adapted: Sequence[str] = ()) -> Iterator[Preparing]:
        """Score the reconstructions of some training windows, by modality."""
        patches = evenly(self.data.split.train, min(MEASURED, len(self.data.split.train)))
        read = [self._read(patch, plain_view(patch)) for patch in patches]
        windows = [window for window in read if window is not None]
        if not windows:
            raise OSError(f"no training window can be read: {self.unreadable.last}")
        for k, role in enumerate(ROLES):
            images = torch.from_numpy(np.stack([window[k : k + 1] for window in windows]))
            stage = self.model.first_stage(role)
            found = reconstruction_scores(stage, self._expand(images, role))
            self.scores[self.names[role]] = found
            if role in adapted:
                found["adapted"] = 1.0
            yield Preparing("measuring the autoencoders on these images", k + 1, len(ROLES))

    def _train(self, roles: tuple[str, ...], scratch: bool) -> Iterator[Event]:
        steps = self.config.first_stage_steps
        if steps is None:
            steps = SCRATCH_STEPS if scratch else ADAPT_STEPS
            steps = TINY_STEPS if self.config.preset == "tiny" else steps
        if steps == 0:
            return
        config = AutoencodersTraining(
            roles=roles,
            adapt=not scratch,
            shared_steps=steps if scratch else 0,
            steps=max(1, steps // 2) if scratch else steps,
            lpips=self.config.lpips,
            discriminator_from=self.config.discriminator_from,
            checkpoint_seconds=60 * self.config.checkpoint_minutes,
            # on a processor they were always trained in single precision
            half=self.machine.precision == "bf16-mixed" and self.machine.kind == "cuda",
        )
        if not self.machine.first:
            self.machine.agree(True)  # the first process trains; afterwards it is read from there
        recorder = partial(recorder_for, self.machine.kind, self.machine.world)
        stages = train_autoencoders(self.model, self._batch, config, self.folder, recorder)
        try:
            yield from self._steps(stages)
        except NotFinite as error:
            raise JobFault(
                Advice(
                    f"the autoencoders cannot be trained ({error})",
                    "choose a lower {learning_rate} or look for odd images",
                )
            ) from None
        if self.machine.first:
            self.machine.agree(True)

    def _steps(self, stages: Generator[RoleStep, None, None]) -> Iterator[TrainStep | Notice]:
        with closing(stages):
            self.data_time.taken()
            before = time.perf_counter()
            for each in stages:
                now = time.perf_counter()
                spent, before = max(now - before, 1e-9), now
                name = "all images" if each.role is None else self.names[each.role]
                if each.said:
                    yield Notice(each.said, "warning")
                yield TrainStep(
                    step=each.step,
                    epoch=0,
                    phase=f"autoencoder of {name}",
                    progress=SHARE * each.progress,
                    loss=each.loss,
                    samples_per_s=self._crops_per_step[0] / spent,
                    waiting=min(1.0, self.data_time.taken()() / spent),
                )

    @property
    def _crops_per_step(self) -> tuple[int, int]:
        """Number of crops that a step sees, and their side."""
        return CROPS.get(self.config.preset or "", USUAL_CROPS)

    def _batch(self, role: str | None, step: int) -> Tensor:
        """Return crops (n, channels, px, px) of a role's training images, of all for None."""
        with self.data_time.spent():
            drawn = self._drawn(role, step)
            if self.sections is None:
                images = self._cut(drawn)
            else:
                images = self._cut_on_device(drawn, self.sections)
                if self.sections.in_blocks:
                    self.sections.ask(*self._views(self._drawn(role, step + 1)))
            return self._expand(images, role or "target")

    def _drawn(self, role: str | None, step: int) -> list[_Crop]:
        """Draw the crops of a step."""
        rng = np.random.default_rng((self.config.seed, step, len(role or ""), 4))
        count, side = self._crops_per_step
        drawn = []
        for k in range(count):
            index = int(rng.integers(len(self.data.split.train)))
            variant = int(rng.integers(2**31))
            y, x = (int(place) for place in rng.integers(0, WINDOW - side + 1, 2))
            which = k % len(ROLES) if role is None else ROLES.index(role)
            drawn.append(_Crop(index, variant, y, x, which))
        return drawn

    def _cut(self, drawn: Sequence[_Crop]) -> Tensor:
        """Return crops (n, 1, px, px), read one after the other."""
        side = self._crops_per_step[1]
        crops = []
        for each in drawn:
            window = self._window(each.index, each.variant)
            crops.append(window[each.role, each.y : each.y + side, each.x : each.x + side])
        return torch.from_numpy(np.stack(crops)[:, None])

    def _cut_on_device(self, drawn: Sequence[_Crop], sections: SectionsOnDevice) -> Tensor:
        """Return the same, cut together on the device."""
        side, cell = self._crops_per_step[1], self.model.config.latent_factor

        def otherwise(place: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            window = self._window(drawn[place].index, drawn[place].variant)
            return window, np.zeros((WINDOW // cell,) * 2, np.float32)

        images, _ = sections.read(*self._views(drawn), cell, otherwise)
        crops = [
            image[each.role : each.role + 1, each.y : each.y + side, each.x : each.x + side]
            for image, each in zip(images, drawn, strict=True)
        ]
        return torch.stack(crops)

    def _views(self, drawn: Sequence[_Crop]) -> tuple[list[int], list[View]]:
        """Return the numbers of the sections, and the views that crops are cut from."""
        split = self.data.split
        numbers = [split.train[each.index].field for each in drawn]
        views = [draw_view(split, e.index, e.variant, 0.0, self.config.seed) for e in drawn]
        return numbers, views

    def _window(self, index: int, variant: int) -> NDArray[np.float32]:
        """Read a view of a training patch, or of the next one that can be read."""
        split = self.data.split
        for k in range(len(split.train)):
            chosen = (index + k) % len(split.train)
            view = draw_view(split, chosen, variant, 0.0, self.config.seed)
            window = self._read(split.train[chosen], view)
            if window is not None:
                return window
        raise OSError(f"no training window can be read: {self.unreadable.last}")

    def _read(self, patch: Patch, view: View) -> NDArray[np.float32] | None:
        """Read a view; None where it cannot be read."""
        return self.unreadable.read(patch, lambda: read_view(self.data.fields, patch, view))

    def _expand(self, images: Tensor, role: str) -> Tensor:
        channels = self.model.first_stage(role).config.image_channels
        device = next(self.model.parameters()).device
        return sent(images, device).expand(-1, channels, -1, -1)

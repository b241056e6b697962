"""What comes before the first step of the noise estimator, event by event.

1. The model goes onto its device, and the validation windows are read.
2. A linear model and the base model predict them, for comparison.
3. The autoencoders are measured, and trained where that was asked.
4. What latents depend on is settled then: they get their file, and the loop can be made, from the
   last checkpoint or anew.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import torch

from napari_damm.evaluation.registration import said_of_predicted
from napari_damm.events import Event, Notice, TrainPlanned, Validated
from napari_damm.model.layers import memory_format
from napari_damm.model_file import LEAST_R
from napari_damm.train.autoencoder.preparation import AutoencoderPreparation
from napari_damm.train.batches import Batches, Schedule
from napari_damm.train.checkpointing import Checkpointer
from napari_damm.train.config import TrainConfig
from napari_damm.train.device_batches import BANK_SHARE, DeviceBatches, sections_on_card
from napari_damm.train.device_views import SectionsOnDevice
from napari_damm.train.expected import DETAIL_NAMES, choose_parameters, learns_expected_map
from napari_damm.train.fabric import Machine
from napari_damm.train.latent_cache import LatentFile, latent_shape
from napari_damm.train.linear import linear_scores
from napari_damm.train.loop import TrainingLoop
from napari_damm.train.parts import TrainingParts
from napari_damm.train.progress import TrainingProgress, highest_rate
from napari_damm.train.run_folder import LATENTS, RunFolder
from napari_damm.train.setup import Base, Data
from napari_damm.train.state import TrainState
from napari_damm.train.unreadable import UnreadablePatches
from napari_damm.train.validation import Validator


class TrainingStart:
    """Makes the loop of a training; `parts` is there from the beginning."""

    def __init__(
        self,
        folder: RunFolder,
        base: Base,
        data: Data,
        config: TrainConfig,
        machine: Machine,
        record: dict[str, Any],
    ) -> None:
        """Move the model to its device, and read the validation windows.

        Raises
        ------
        OSError
            If no validation window can be read.
        """
        self._base_from = base.expected_from
        model = base.model.to(  # type: ignore[call-overload]
            device=machine.device, memory_format=memory_format(machine.kind)
        )
        unreadable = UnreadablePatches(data.fields)
        validator = Validator(model, data.fields, data.split, config, unreadable)
        record |= {
            "validation_windows": len(validator.patches),
            "validation_mode": validator.sampler.sampling.mode,
        }
        self.parts = TrainingParts(
            config=config,
            machine=machine,
            data=data,
            model=model,
            from_scratch=base.name is None,
            new_autoencoders=base.new_autoencoders,
            schedule=Schedule.of(data.split, config),
            validator=validator,
            checkpoints=Checkpointer(folder, base, config.name, record, machine.first),
            unreadable=unreadable,
        )

    def events(self) -> Generator[Event, None, TrainingLoop]:
        """Do all that comes first; return the loop, ready to run."""
        parts, checkpoints = self.parts, self.parts.checkpoints
        begun = parts.machine.agree(checkpoints.begun)
        if begun:
            checkpoints.resume()
        elif parts.machine.first:
            checkpoints.begin()
        if parts.machine.first:
            linear = yield from linear_scores(parts)
            checkpoints.describe(linear_scores=linear)
            yield from _said_of_unrelated(linear, checkpoints.record["modalities"])
        yield self._planned()
        validation_s = 0.0
        if not parts.from_scratch and parts.machine.first:
            start = time.monotonic()
            yield from self._try_base()
            validation_s = time.monotonic() - start
        machine = parts.machine
        on_card = (
            sections_on_card(parts.data.fields, machine.device) if machine.world == 1 else None
        )
        autoencoders = AutoencoderPreparation(parts, on_card)
        yield from autoencoders.events()
        checkpoints.describe(first_stages=autoencoders.scores)
        batches = self._batches(autoencoders.fingerprint, on_card)
        yield from parts.unreadable.untold()
        yield from batches.warnings()
        state = self._state()
        if begun:
            checkpoints.go_back(state)
        steps, spent_s = parts.schedule.steps, checkpoints.trainer.seconds
        progress = TrainingProgress(parts.config, steps, spent_s, validation_s)
        if begun:
            # given more epochs than before, it is less far than it was
            due = progress.validations_due(progress.at(state.step))
            trainer = checkpoints.trainer
            trainer.validations = min(trainer.validations, due)
        return TrainingLoop(parts, batches, state, progress, autoencoders.share)

    def _try_base(self) -> Generator[Event, None, None]:
        """Let the base model predict the validation windows."""
        validator = self.parts.validator
        predicted = yield from validator.predict(self._base_from)
        scores = validator.scores(predicted)
        pairs, data = list(zip(predicted, validator.truths, strict=True)), self.parts.data
        target = str(self.parts.model.card["modalities"][2])
        said = said_of_predicted(pairs, target, "the validation windows", data.pixel_size_um)
        if said:
            yield Notice(said, "warning")
        self.parts.checkpoints.compare_with(scores)
        validator.compare_with(predicted)
        yield Validated(0, 0.0, scores, scores, False, validator.tiles(predicted))

    def _batches(self, fingerprint: str, on_card: SectionsOnDevice | None) -> Batches:
        """Return the batches, with the latents that are on disk for these autoencoders."""
        parts, data, schedule = self.parts, self.parts.data, self.parts.schedule
        device = parts.machine.device
        if on_card is not None:
            bank = int(BANK_SHARE * torch.cuda.mem_get_info(device)[0])
            return DeviceBatches(
                parts.model, data.fields, data.split, parts.config, parts.unreadable, on_card, bank
            )
        path = parts.checkpoints.folder.path / LATENTS / f"{fingerprint[:16]}.bin"
        cache = LatentFile(path, latent_shape(parts.model), schedule.patches * schedule.variants)
        return Batches(parts.model, data.fields, data.split, parts.config, parts.unreadable, cache)

    def _state(self) -> TrainState:
        """Return what learns: the noise estimator, and what draws an expected map."""
        parts = self.parts
        learns_map = parts.machine.world == 1 and learns_expected_map(
            parts.model, parts.config.expected_weight
        )
        if learns_map:
            fine_tunes = parts.config.preset is None
            choose_parameters(
                parts.model,
                decoder=not fine_tunes,
                encoders=fine_tunes and parts.config.adapt_encoders,
            )
        return TrainState(
            parts.model if learns_map else parts.model.unet,
            highest_rate(parts.config, learns_map),
            faster=DETAIL_NAMES if learns_map else (),
            ema_decay=parts.config.ema_decay,
            weight_decay=parts.config.weight_decay,
            backward=parts.machine.backward,
        )

    def _planned(self) -> TrainPlanned:
        parts, checkpoints = self.parts, self.parts.checkpoints
        primary, secondary, target = checkpoints.record["modalities"]
        timed = parts.config.minutes is not None
        return TrainPlanned(
            sections=len(parts.data.fields),
            train_patches=len(parts.data.split.train),
            validation_patches=len(parts.data.split.validation),
            modalities=(primary, secondary, target),
            pixel_size_um=parts.data.pixel_size_um,
            folder=checkpoints.folder.path,
            record=checkpoints.record,
            steps=None if timed else parts.schedule.steps,
            minutes=parts.config.minutes,
            steps_done=checkpoints.step,
            validation_corners_um=parts.validator.corners_um,
        )


def _said_of_unrelated(linear: Mapping[str, float], names: Sequence[str]) -> Iterator[Notice]:
    """Say that both inputs together tell next to nothing of the target, before hours are spent."""
    if linear.get("r", LEAST_R) < LEAST_R:
        primary, secondary, target = names
        yield Notice(
            f"a linear model of {primary} and {secondary} finds next to nothing of the {target} "
            f"(r {linear['r']:.2f}, 1 is perfect, 0 is chance): do all three images show the same "
            "place, the same way up?",
            "warning",
        )

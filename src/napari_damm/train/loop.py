"""One training: first stages, then the noise estimator, step by step.

1. The base model predicts the validation windows, for comparison; then the first stages are
   measured, and trained where that was asked (autoencoders.py).
2. Steps go on until epochs or minutes are over. When a validation is due the averaged weights are
   tried; if they are the best so far, the model is written.
3. Every few minutes, and whenever the training ends early, a checkpoint is saved.
4. Where memory runs out the batch is halved, with its gradients added up. Where the loss is no
   number, the last checkpoint is taken up again at half the learning rate.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from typing import Any

import torch

from napari_damm.events import Event, FailedItem, Notice, TrainPlanned, TrainStep, Validated
from napari_damm.train.autoencoders import Autoencoders
from napari_damm.train.batches import Batches
from napari_damm.train.checkpointing import Keeper, Standing
from napari_damm.train.config import TrainConfig
from napari_damm.train.expected import choose_parameters, expected_error, learns_expected_map
from napari_damm.train.fabric import Machine
from napari_damm.train.folder import RunFolder
from napari_damm.train.latent_cache import LatentFile, latent_shape
from napari_damm.train.progress import Pace, learning_rate
from napari_damm.train.run_folder import LATENTS, TrainedModel
from napari_damm.train.setup import Base, Data
from napari_damm.train.state import NotFinite, TrainState
from napari_damm.train.step import NoiseStep, StepLosses, phase_at
from napari_damm.train.validation import Validator
from napari_damm.util.advice import Advice
from napari_damm.util.errors import JobFault, is_out_of_memory

MOST_ROLLBACKS = 5
EXPECTED_PX, LATE_PX, LATE_FROM = 128, 256, 0.7
"""Side of the crops of the expected map, and towards the end, when they are whole windows."""


class Training:
    """The state of a running training; `events` runs it."""

    def __init__(
        self,
        folder: RunFolder,
        base: Base,
        data: Data,
        config: TrainConfig,
        machine: Machine,
        record: dict[str, Any],
    ) -> None:
        self.config, self.machine, self.data = config, machine, data
        self.scratch = base.name is None
        # channels_last: a fifth faster on a CPU
        self.model = base.model.to(  # type: ignore[call-overload]
            device=machine.device, memory_format=torch.channels_last
        )
        self.batches = Batches(self.model, data.fields, data.split, config)
        self.validator = Validator(self.model, data.fields, data.split, config)
        record = {**record, "validation_windows": len(self.validator.patches)}
        self.keep = Keeper(folder, base, config.name, record, machine.first)
        self.autoencoders = Autoencoders(self.model, data, config, folder.path, machine)
        self.schedule = self.batches.schedule
        self.autoencoders.variants = self.schedule.variants
        self.validation_s = 0.0
        self.learns_map = False
        self._failed: dict[str, str] = {}

    def result(self) -> TrainedModel:
        """Return the model that the training ended with."""
        return self.keep.result()

    @property
    def failed(self) -> tuple[str, ...]:
        """The patches that could not be read, each once."""
        return tuple(f"{item}: {message}" for item, message in self._failed.items())

    def events(self) -> Generator[Event, None, None]:
        """Run the training to its end."""
        keep, begun = self.keep, self.keep.begun
        begun = self.machine.agree(begun)
        if begun:
            keep.take_up()
        elif self.machine.first:
            keep.begin()
        yield self._planned()
        if not self.scratch and self.machine.first:
            yield from self._try_base()
        yield from self.autoencoders.events()
        keep.record["first_stages"] = self.autoencoders.scores
        self._keep_latents()
        yield from self._notes()
        self.learns_map = self.machine.world == 1 and learns_expected_map(
            self.model, self.config.expected_weight
        )
        if self.learns_map:
            choose_parameters(self.model)
        self.state = TrainState(
            self.model if self.learns_map else self.model.unet,
            self.config.learning_rate,
            ema_decay=self.config.ema_decay,
            weight_decay=self.config.weight_decay,
            backward=self.machine.backward,
        )
        self.step = NoiseStep(
            self.machine.wrap(self.model.unet), self.state, self.config, self.model.config.unet
        )
        if begun:
            keep.go_back(self.state)
        self.pace = Pace(self.config, self.schedule.steps, keep.standing.seconds, self.validation_s)
        if begun:
            # given more epochs than before, it is less far than it was
            due = self.pace.validations_due(self.pace.progress(self.state.step))
            keep.standing.validations = min(keep.standing.validations, due)
        else:
            self._save()
        try:
            yield from self._steps()
        except KeyboardInterrupt:
            raise  # maybe in the middle of a step: the last checkpoint is whole, this state is not
        except BaseException:
            try:
                self._save()
            finally:
                self._finish_model()
            raise
        finally:
            self.batches.close()
        self._save()
        self._finish_model()
        if self.machine.first:
            keep.finished = True
            keep.begin()

    def _steps(self) -> Iterator[Event]:
        config, saved = self.config, time.monotonic()
        while True:
            step = self.state.step
            progress = self.machine.agree(self.pace.progress(step))
            if self.pace.validations_due(progress) > self.keep.standing.validations:
                yield from self._validate(step, progress)
                if 0 < config.patience <= self.keep.standing.since_best:
                    yield Notice(
                        f"no better for {config.patience} validations: stopped at step {step}"
                    )
                    return
            if progress >= 1:
                return
            try:
                event = self._learn(step, progress)
            except NotFinite:
                self.state.discard()
                yield self._roll_back(step)
                continue
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                yield self._halve(error)
                continue
            yield from self._notes()
            yield event
            if self.machine.first and time.monotonic() - saved > 60 * config.checkpoint_minutes:
                saved = time.monotonic()
                self._update()
                yield self.keep.save_patiently(self.state)

    def _learn(self, step: int, progress: float) -> TrainStep:
        """Make one step."""
        machine, config = self.machine, self.config
        start, waited = time.perf_counter(), self.batches.waited_s
        phase = phase_at(progress, config)
        batch = self.batches.batch(step, progress, machine.rank, machine.world)
        self.model.unet.train()
        losses = self.step.backward(batch, step, phase, self.keep.standing.parts, machine.rank)
        if self.learns_map:
            images = self._images(step, progress)
            error = expected_error(self.model, images, step, config.seed)
            self.state.backward(error, config.expected_weight)
        rate = learning_rate(config, step, self.schedule.steps, progress) * self.keep.standing.rate
        self.state.apply(rate, config.gradient_clip)
        epoch = self.schedule.epoch(step)
        if machine.first:
            where = {"step": step + 1, "epoch": epoch, "phase": phase, "learning_rate": rate}
            self.keep.note_losses(where, losses)
        spent = max(time.perf_counter() - start, 1e-9)
        return TrainStep(
            step=step + 1,
            epoch=epoch,
            phase=phase,
            progress=self._overall(progress),
            **_as_event(losses),
            learning_rate=rate,
            samples_per_s=config.batch_size / spent,
            waiting=min(1.0, (self.batches.waited_s - waited) / spent),
            seconds_left=self.pace.seconds_left(progress),
        )

    def _images(self, step: int, progress: float) -> torch.Tensor:
        """Return the images of an expected map; towards the end fewer, but whole windows."""
        crops = self.config.expected_crops
        if progress < LATE_FROM:
            return self.batches.images(step, crops, EXPECTED_PX)
        whole = max(1, crops * EXPECTED_PX**2 // LATE_PX**2)
        return self.batches.images(step, whole, LATE_PX)

    def _roll_back(self, step: int) -> Notice:
        """Take the last checkpoint up again, at half the rate."""
        rate, rollbacks = self.keep.standing.rate / 2, self.keep.standing.rollbacks + 1
        self.keep.go_back(self.state)
        if rollbacks > MOST_ROLLBACKS:
            raise JobFault(
                Advice(
                    f"the loss became NaN {rollbacks} times, at last at step {step} with a "
                    f"learning rate of {2 * rate * self.config.learning_rate:.2g}",
                    "choose a lower {learning_rate}",
                )
            )
        self.keep.standing.rate, self.keep.standing.rollbacks = rate, rollbacks
        self._save()
        return Notice(
            f"the loss became NaN at step {step}: back to step {self.state.step}, with half the "
            "learning rate",
            "warning",
        )

    def _halve(self, error: Exception) -> Notice:
        """Compute batches in twice as many parts from now on."""
        parts = 2 * self.keep.standing.parts
        if parts > self.config.batch_size or self.machine.world > 1:
            raise MemoryError(
                Advice(
                    "out of memory even with "
                    f"{max(1, self.config.batch_size * 2 // parts)} samples at a time",
                    "choose a smaller {batch_size}, or cpu as {device}",
                )
            ) from error
        self.keep.standing.parts = parts
        self.state.discard()
        if self.machine.kind == "cuda":
            torch.cuda.empty_cache()
        return Notice(
            f"out of memory: batches of {self.config.batch_size} are computed in {parts} parts "
            "from now on",
            "warning",
        )

    def _try_base(self) -> Iterator[Event]:
        """Let the base model predict the validation windows."""
        start = time.monotonic()
        predicted = yield from self.validator.predict()
        self.validation_s = time.monotonic() - start
        scores = self.validator.scores(predicted)
        self.keep.base_scores, self.validator.before = scores, predicted
        yield Validated(0, 0.0, scores, scores, False, self.validator.tiles(predicted))

    def _validate(self, step: int, progress: float) -> Iterator[Event]:
        """Try the averaged weights; the first process does, the others wait for its verdict."""
        keep, due = self.keep, self.pace.validations_due(progress)
        if self.machine.first:
            prefix = "" if self.learns_map else "unet."
            averaged = {f"{prefix}{name}": value for name, value in self.state.ema.items()}
            self.validator.load(self.model, averaged)
            predicted = yield from self.validator.predict()
            scores = self.validator.scores(predicted)
            best = keep.judge(step, scores)
            keep.standing.validations = due
            keep.note({"step": step, "epoch": self.schedule.epoch(step), **scores})
            if best:
                self._update()
                yield from keep.write_model(self.validator.model, step)
                yield keep.save_patiently(self.state)  # so that model and checkpoint agree
            tiles = self.validator.tiles(predicted)
            yield Validated(step, self._overall(progress), scores, keep.base_scores, best, tiles)
        keep.standing = Standing(**self.machine.agree(asdict(keep.standing)))
        keep.standing.validations = due

    def _save(self) -> None:
        if self.machine.first:
            self._update()
            self.keep.save(self.state)

    def _finish_model(self) -> None:
        if self.machine.first:
            self._update()
            self.keep.finish_model()

    def _update(self) -> None:
        """Tell the keeper how far the training is."""
        self.keep.step = self.state.step
        self.keep.standing.seconds = self.pace.seconds
        self.keep.progress = self._overall(self.pace.progress(self.state.step))

    def _overall(self, progress: float) -> float:
        """Return the progress of the whole training, first stages included."""
        share = self.autoencoders.share
        return share + (1 - share) * progress

    def _planned(self) -> TrainPlanned:
        primary, secondary, target = self.keep.record["modalities"]
        timed = self.config.minutes is not None
        return TrainPlanned(
            sections=len(self.data.fields),
            train_patches=len(self.data.split.train),
            validation_patches=len(self.data.split.validation),
            modalities=(primary, secondary, target),
            pixel_size_um=self.data.pixel_size_um,
            folder=self.keep.folder.path,
            record=self.keep.record,
            steps=None if timed else self.schedule.steps,
            minutes=self.config.minutes,
            steps_done=self.keep.step,
        )

    def _keep_latents(self) -> None:
        path = self.keep.folder.path / LATENTS / f"{self.autoencoders.fingerprint[:16]}.bin"
        records = self.schedule.patches * self.schedule.variants
        self.batches.kept = LatentFile(path, latent_shape(self.model), records)

    def _notes(self) -> Iterator[Notice | FailedItem]:
        """Tell what reading the batches met."""
        for untold in (self.batches.untold, self.validator.untold, self.autoencoders.untold):
            for failed in untold:
                if self._failed.setdefault(failed.item, failed.message) is failed.message:
                    yield failed
            untold.clear()
        kept = self.batches.kept
        if kept is not None and kept.trouble:
            trouble, kept.trouble = kept.trouble, ""
            yield Notice(trouble, "warning")


def _as_event(losses: StepLosses) -> dict[str, float]:
    return {
        "loss": losses.loss,
        "loss_uni": losses.uni,
        "loss_multi": losses.multi,
        "confidence": losses.confidence,
    }

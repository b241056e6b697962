"""The training of the noise estimator, step by step.

1. Steps go on until epochs or minutes are over. When a validation is due the averaged weights are
   tried; if they are the best so far, the model is written.
2. Every few minutes, and whenever the training ends early, a checkpoint is saved.
3. Where memory runs out the batch is halved, with its gradients added up. Where the loss is no
   number, it goes back to the last checkpoint, at half the learning rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from functools import partial

import torch

from napari_damm.events import Event, FailedItem, Notice, TrainStep, Validated
from napari_damm.train.batches import Batches
from napari_damm.train.checkpointing import TrainerState
from napari_damm.train.detail_phase import DETAIL
from napari_damm.train.gradients import Gradients, losses_of
from napari_damm.train.parts import TrainingParts
from napari_damm.train.progress import (
    TrainingProgress,
    detail_from,
    highest_rate,
    learning_rate,
    part_of,
)
from napari_damm.train.recorded_step import RecordedSteps, recorder_for
from napari_damm.train.settling import settle_statistics
from napari_damm.train.state import NotFinite, TrainState
from napari_damm.train.step import StepLosses, phase_at
from napari_damm.train.threads import ThreadChoice
from napari_damm.train.underway import LATE, Underway
from napari_damm.train.window_intervals import window_intervals
from napari_damm.util.advice import Advice
from napari_damm.util.devices import backend
from napari_damm.util.errors import JobFault, is_out_of_memory

MOST_ROLLBACKS = 5
SSIM, CORRELATION = "ssim", "r"
"""By what the best model is chosen: texture counts in sampled maps, where there is more and where
less in an expected one. How bright a window is hangs on its section's own limits.
"""


class TrainingLoop:
    """Trains from where `state` is to the end; made by `start.TrainingStart`.

    `share_before` is the share of the whole training that lies behind it: the autoencoders'.
    """

    def __init__(
        self,
        parts: TrainingParts,
        batches: Batches,
        state: TrainState,
        progress: TrainingProgress,
        share_before: float = 0.0,
    ) -> None:
        self.parts, self.batches, self.state, self.progress = parts, batches, state, progress
        self.config, self.machine, self.model = parts.config, parts.machine, parts.model
        self.checkpoints, self.validator = parts.checkpoints, parts.validator
        self.share_before = share_before
        self.gradients = Gradients(parts, batches, state)
        self.learns_map = self.gradients.learns_map
        self.detail_from = detail_from(self.config) if self.learns_map else 1.0
        self.rate = highest_rate(self.config, self.learns_map)
        self.threads = self._thread_choice()
        self.underway = Underway()
        recorder = recorder_for(self.machine.kind, self.machine.world)
        self.recorded: RecordedSteps | None = None
        if recorder is not None:
            self.recorded = RecordedSteps(state, self.config.gradient_clip, recorder)

    def events(self) -> Generator[Event, None, None]:
        """Run the training to its end."""
        if self.state.step == 0:
            self._save()
        try:
            yield from self._steps()
        except KeyboardInterrupt:
            raise  # maybe in the middle of a step: the last checkpoint is whole, this state is not
        except BaseException:
            try:
                if self._is_sound():
                    self._save()
            finally:
                self._finish_model()
            raise
        finally:
            self.batches.close()
        self._save()
        self._finish_model()
        if self.machine.first:
            self.checkpoints.finish()

    def _steps(self) -> Iterator[Event]:
        saved, saved_at = time.monotonic(), self.state.step
        while True:
            step = self.state.step
            progress = self.machine.agree(self.progress.at(step))
            validate = (
                self.progress.validations_due(progress) > self.checkpoints.trainer.validations
            )
            save = self.machine.first and step != saved_at and self._save_due(saved)
            if validate or save or progress >= 1:
                went_well, told = self._tried(self.underway.arrived)
                yield from told
                if not went_well:
                    continue
            if save:
                saved, saved_at = time.monotonic(), step
                self._update()
                yield self.checkpoints.save_if_room(self.state)
            if validate:
                yield from self._validate(step, progress)
                patience = self.config.patience
                if 0 < patience <= self.checkpoints.trainer.since_best:
                    yield Notice(f"no better for {patience} validations: stopped at step {step}")
                    return
            if progress >= 1:
                return
            went_well, told = self._tried(partial(self._learn, step, progress))
            if went_well:
                yield from self._warnings()
            yield from told

    def _tried(self, work: Callable[[], list[TrainStep]]) -> tuple[bool, list[TrainStep | Notice]]:
        """Return whether it went well, and what is to be told of it."""
        try:
            return True, [*work()]
        except NotFinite:
            self.state.discard()
            return False, [self._roll_back(self.underway.oldest(self.state.step))]
        except Exception as error:  # torch has many ways to say it
            if not is_out_of_memory(error):
                raise
            return False, [self._halve(error)]

    def _learn(self, step: int, progress: float) -> list[TrainStep]:
        """Make one step; return what is told by then."""
        machine, config, trainer = self.machine, self.config, self.checkpoints.trainer
        if self.threads is not None:
            self.threads.apply()
        start = time.perf_counter()
        self.batches.data_time.taken()  # what a validation took is none of it
        detail_alone, within = part_of(progress, self.detail_from)
        phase = DETAIL if detail_alone else phase_at(within, config)
        rate = learning_rate(self.rate, step, self.parts.schedule.steps, within) * trainer.rate
        recorded = self.recorded if trainer.parts == 1 else None
        if recorded is not None:
            coming = recorded.take(self.gradients.pieces(step, progress, phase), rate)
        else:
            losses = self.gradients.backward(step, progress, phase, trainer.parts)
            self.state.apply(rate, config.gradient_clip)
        on_data = self.batches.data_time.taken()
        if self.threads is not None:
            self.threads.took(max(time.perf_counter() - start, 1e-9))
        epoch = self.parts.schedule.epoch(step)
        overall, left = self._overall(progress), self.progress.seconds_left(progress)

        def told(spent: float) -> TrainStep:
            found = losses if recorded is None else losses_of(coming())
            if machine.first:
                where = {"step": step + 1, "epoch": epoch, "phase": phase, "learning_rate": rate}
                self.checkpoints.note_losses(where, found)
            return TrainStep(
                step=step + 1,
                epoch=epoch,
                phase=phase,
                progress=overall,
                **_as_event(found),
                learning_rate=rate,
                samples_per_s=config.batch_size / spent,
                waiting=min(1.0, on_data() / spent),
                seconds_left=left,
            )

        self.underway.add(step, start, told)
        return self.underway.arrived(late=0 if recorded is None else LATE)

    def _save_due(self, saved: float) -> bool:
        return time.monotonic() - saved > 60 * self.config.checkpoint_minutes

    def _thread_choice(self) -> ThreadChoice | None:
        """Return what chooses the threads; None where the bits must not hang on them."""
        if self.machine.kind != "cpu" or self.machine.world > 1 or self.config.minutes is None:
            return None
        return ThreadChoice(torch.get_num_threads())

    def _roll_back(self, step: int) -> Notice:
        """Go on from the last checkpoint, at half the rate."""
        before = self.checkpoints.trainer
        rate, rollbacks = before.rate / 2, before.rollbacks + 1
        self.checkpoints.go_back(self.state)
        self.gradients.go_back()
        if self.recorded is not None:
            self.recorded.forget()
        if rollbacks > MOST_ROLLBACKS:
            raise JobFault(
                Advice(
                    f"the loss became NaN {rollbacks} times, at last at step {step} with a "
                    f"learning rate of {2 * rate * self.rate:.2g}",
                    "choose a lower {learning_rate}",
                )
            )
        self.underway.forget()
        trainer = self.checkpoints.trainer
        trainer.rate, trainer.rollbacks = rate, rollbacks
        self._save()
        return Notice(
            f"the loss became NaN at step {step}: back to step {self.state.step}, with half the "
            "learning rate",
            "warning",
        )

    def _halve(self, error: Exception) -> Notice:
        """Compute batches in twice as many parts from now on."""
        parts = 2 * self.checkpoints.trainer.parts
        most = max(self.config.batch_size, self.config.expected_crops if self.learns_map else 1)
        if parts > most or self.machine.world > 1:
            raise MemoryError(
                Advice(
                    f"out of memory even with {max(1, most * 2 // parts)} samples at a time",
                    "choose a smaller {batch_size}, or cpu as {device}",
                )
            ) from error
        self.checkpoints.trainer.parts = parts
        self.state.discard()
        if self.recorded is not None:
            self.recorded.forget()
        module = backend(self.machine.kind)
        if module is not None:
            module.empty_cache()
        return Notice(
            f"out of memory: batches of {self.config.batch_size} are computed in {parts} parts "
            "from now on",
            "warning",
        )

    def _validate(self, step: int, progress: float) -> Iterator[Event]:
        """Try the averaged weights; the first process does, the others wait for its verdict."""
        checkpoints, due = self.checkpoints, self.progress.validations_due(progress)
        if self.machine.first:
            prefix = "" if self.learns_map else "unet."
            averaged = {f"{prefix}{name}": value for name, value in self.state.ema.items()}
            self.validator.load(self.model, averaged)
            if self.learns_map:
                settle_statistics(self.validator.model, self.gradients.usual())
            predicted = yield from self.validator.predict()
            scores = self.validator.scores(predicted)
            best = checkpoints.judge(step, scores, CORRELATION if self.learns_map else SSIM)
            checkpoints.trainer.validations = due
            checkpoints.note({"step": step, "epoch": self.parts.schedule.epoch(step), **scores})
            if best:
                checkpoints.describe(**window_intervals(self.validator, predicted))
                self._update()
                yield from checkpoints.write_model(self.validator.model)
                # so that model and checkpoint agree
                yield checkpoints.save_if_room(self.state)
            tiles = self.validator.tiles(predicted)
            overall = self._overall(progress)
            yield Validated(step, overall, scores, checkpoints.base_scores, best, tiles)
        verdict = self.machine.agree(asdict(checkpoints.trainer))
        checkpoints.trainer = TrainerState(**{**verdict, "validations": due})

    def _is_sound(self) -> bool:
        """Wait for what is underway; tell whether the state is worth keeping."""
        try:
            self.underway.arrived()
        except NotFinite:
            return False
        return True

    def _save(self) -> None:
        if self.machine.first:
            self._update()
            self.checkpoints.save(self.state)

    def _finish_model(self) -> None:
        if self.machine.first:
            self._update()
            self.checkpoints.finish_model()

    def _update(self) -> None:
        """Say how far the training is, before that is written."""
        step = self.state.step
        overall = self._overall(self.progress.at(step))
        self.checkpoints.reached(step, overall, self.progress.seconds)

    def _overall(self, progress: float) -> float:
        """Return the progress of the whole training, the autoencoders' included."""
        return self.share_before + (1 - self.share_before) * progress

    def _warnings(self) -> Iterator[Notice | FailedItem]:
        """Yield what reading the batches met."""
        yield from self.parts.unreadable.untold()
        yield from self.batches.warnings()
        if self.recorded is not None:
            yield from self.recorded.notices()


def _as_event(losses: StepLosses) -> dict[str, float]:
    return {
        "loss": losses.loss,
        "loss_uni": losses.uni,
        "loss_multi": losses.multi,
        "confidence": losses.confidence,
    }

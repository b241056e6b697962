"""What a training saves: checkpoints, curves, and the best model with its card.

1. A checkpoint is the tensors of a `TrainState` and the `TrainerState` beside them. Together they
   decide how the training goes on.
2. `run.json` and the model's card are made from one set of plain values.
3. A full disk in the middle of a training is a warning: what was saved before stays, and the next
   time it is tried again. At the end it is an error.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.events import Event, Notice, Saved
from napari_damm.model.damm import DAMM
from napari_damm.model_file import load_model, read_card, save_model
from napari_damm.train.card import OF_ERRORS, finite, make_card
from napari_damm.train.curves import CURVE_STEPS, append_row, cut_rows, read_rows
from napari_damm.train.run_folder import RunFolder, TrainedModel, read_training
from napari_damm.train.setup import Base
from napari_damm.train.state import TrainState, read_extra
from napari_damm.train.step import StepLosses
from napari_damm.util.bounded_json import parse_json
from napari_damm.util.errors import JobFault, is_disk_full, one_line

TRAINER = "standing"
"""Name of the `TrainerState` in a checkpoint's header: of the file format."""
LONGEST_TRAINER = 4096
MOST_PARTS = 2**16
Scores = dict[str, float]


@dataclass
class TrainerState:
    """What a checkpoint holds beside tensors: all that decides how the training goes on.

    Parameters
    ----------
    seconds
        Time spent on the noise estimator so far.
    rate
        Factor on the learning rate: halved whenever the loss was no number.
    parts
        In how many parts a batch is computed: doubled whenever memory ran out.
    validations, since_best
        How many were made, and how many in a row without a better one.
    best, best_step
        The best score so far, SSIM or r as the loop judges, and the step it is of.
    rollbacks
        How often the loss was no number.
    """

    seconds: float = 0.0
    rate: float = 1.0
    parts: int = 1
    validations: int = 0
    since_best: int = 0
    best: float = float("-inf")
    best_step: int = 0
    rollbacks: int = 0

    @classmethod
    def read(cls, checkpoint: Path) -> TrainerState:
        """Read it from a checkpoint.

        Raises
        ------
        OSError, ValueError
            If there is none, or it is damaged.
        """
        # JSON has no infinity, which stands there while nothing was validated
        text = read_extra(checkpoint).get(TRAINER, "").replace("-Infinity", "null")
        try:
            values = parse_json(text, LONGEST_TRAINER)
            found = cls(**{name: value for name, value in values.items() if value is not None})
            found.check()
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"{checkpoint} is not a checkpoint of this training") from None
        return found

    def check(self) -> None:
        """Refuse what no training comes to.

        Raises
        ------
        TypeError, ValueError
            If a value is no number, or out of its range.
        """
        counts = (self.validations, self.since_best, self.best_step, self.rollbacks)
        if not all(isinstance(count, int) and count >= 0 for count in counts):
            raise ValueError("a count is none")
        if not (self.seconds >= 0 and 0 < self.rate <= 1 and self.parts in range(1, MOST_PARTS)):
            raise ValueError("a number is out of its range")
        float(self.best)


class Checkpointer:
    """Writes the folder of one training; `record` is what does not change.

    Of several processes one `writes`; the others only read.
    """

    def __init__(
        self,
        folder: RunFolder,
        base: Base,
        name: str,
        record: Mapping[str, Any],
        writes: bool = True,
    ) -> None:
        self.folder, self.base, self.name, self.writes = folder, base, name, writes
        self.record = dict(record)
        self.trainer = TrainerState()
        self.scores: Scores = {}
        self.base_scores: Scores = {}
        self.step = 0
        self._progress, self._finished = 0.0, False
        self._recent: list[StepLosses] = []
        self._unwritten: DAMM | None = None  # the best model, where the disk was full

    @property
    def model_path(self) -> Path:
        """Where the model goes."""
        return self.folder.model_path(self.name)

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.folder.last.exists()

    def describe(self, **facts: Any) -> None:
        """Add to the record what is found out on the way."""
        self.record.update(facts)

    def compare_with(self, base_scores: Scores) -> None:
        """Take note of how the base model scores."""
        self.base_scores = base_scores

    def reached(self, step: int, progress: float, seconds: float) -> None:
        """Take note of how far the training is: what is saved next says so."""
        self.step, self._progress, self.trainer.seconds = step, progress, seconds

    def begin(self) -> None:
        """Write `run.json` before anything is learnt."""
        self._write_values()

    def finish(self) -> None:
        """Write `run.json` when all is done."""
        self._finished = True
        self._write_values()

    def resume(self) -> None:
        """Go on from what the checkpoint and `run.json` say.

        Raises
        ------
        OSError, ValueError
            If the checkpoint is missing or damaged.
        """
        self.trainer = TrainerState.read(self.folder.last)
        state = read_training(self.folder.path)
        if state is not None:
            self.scores, self.step = dict(state.scores), state.step
            self.describe(**{name: state.record.get(name) for name in OF_ERRORS})
            if state.finished:  # and it is to go on: patience begins anew
                self.trainer.since_best = 0

    def go_back(self, state: TrainState) -> None:
        """Load the checkpoint into the training; the curves end there too.

        What is known of the best model stays: its file is later than the checkpoint, maybe.
        """
        before, scores = self.trainer, self.scores
        self.resume()
        if before.best > self.trainer.best:
            self.trainer.best, self.trainer.best_step = before.best, before.best_step
            self.scores = scores
        state.load(self.folder.last)
        if self.writes:
            cut_rows(self.folder.path, state.step)
        self._recent.clear()

    def save(self, state: TrainState) -> Saved:
        """Save a checkpoint, and say so in `run.json`.

        Raises
        ------
        OSError
            If it cannot be written; the one before stays.
        """
        state.save(self.folder.last, {TRAINER: json.dumps(asdict(self.trainer))})
        self.step = state.step
        self._write_values()
        return Saved(self.folder.last, state.step)

    def save_if_room(self, state: TrainState) -> Event:
        """Save a checkpoint; a full disk is a warning only."""
        try:
            return self.save(state)
        except OSError as error:
            if not is_disk_full(error):
                raise
            return Notice(
                "the disk is full, so the checkpoint is not saved (the one before is kept, and it "
                "will be tried again): free some space",
                "warning",
            )

    def note_losses(self, where: Mapping[str, Any], losses: StepLosses) -> None:
        """Take note of a step; every tenth time a line of means goes into the curves."""
        self._recent.append(losses)
        if len(self._recent) < CURVE_STEPS:
            return
        rows = np.array([tuple(asdict(each).values()) for each in self._recent])
        names = ("loss", "loss_uni", "loss_multi", "confidence")
        # the noise is not learnt in every step
        known = {n: column[np.isfinite(column)] for n, column in zip(names, rows.T, strict=True)}
        self.note({**where, **{n: float(found.mean()) for n, found in known.items() if len(found)}})
        self._recent.clear()

    def note(self, row: Mapping[str, Any]) -> None:
        """Add a line to the curves; on a full disk, or while somebody reads them, it is lost."""
        with suppress(OSError):
            append_row(self.folder.path, row)

    def judge(self, step: int, scores: Scores, by: str) -> bool:
        """Note the scores of a validation; tell whether they are the best so far, by that score."""
        trainer = self.trainer
        if scores[by] > trainer.best:
            trainer.best, trainer.best_step, trainer.since_best = scores[by], step, 0
            self.scores = scores
            return True
        trainer.since_best += 1
        return False

    def write_model(self, model: DAMM) -> Iterator[Notice]:
        """Write the best model; a full disk is a warning, and it is tried again at the end."""
        try:
            self._save_model(model)
            self._unwritten = None
        except OSError as error:
            self._unwritten = copy.deepcopy(model)  # this one is used again
            yield Notice(f"the model cannot be saved now: {one_line(error)}", "warning")

    def finish_model(self) -> None:
        """Put the whole curves on the card of the best model, if there is one.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        if self._unwritten is not None:
            self._save_model(self._unwritten)
        elif self.scores and self.model_path.is_file():
            self._save_model(load_model(self.model_path, "cpu"))

    def _save_model(self, model: DAMM) -> None:
        """Write a model; of its base's card nothing is left but what this training says."""
        held, model.card = model.card, {}
        try:
            save_model(model, self.model_path, self._card())
        finally:
            model.card = held

    def result(self) -> TrainedModel:
        """Return the model that the training ended with.

        Raises
        ------
        JobFault
            If there is none.
        """
        if not self.model_path.is_file():
            raise JobFault(
                f"the training ended without a model in {self.model_path}: no validation gave "
                "numbers"
            )
        return TrainedModel(
            self.model_path,
            self.name,
            read_card(self.model_path),
            dict(self.scores),
            dict(self.base_scores),
            self.folder.path,
        )

    def _card(self) -> dict[str, Any]:
        return make_card(self.base, self._values(), read_rows(self.folder.path))

    def _write_values(self) -> None:
        self.folder.write_state(finite(self._values()))

    def _values(self) -> dict[str, Any]:
        return {
            **self.record,
            "step": self.step,
            "progress": 1.0 if self._finished else self._progress,
            "finished": self._finished,
            "seconds": self.trainer.seconds,
            "model": self.model_path.name if self.scores else None,
            "best_step": self.trainer.best_step,
            "scores": self.scores,
            "base_scores": self.base_scores,
        }

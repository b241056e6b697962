"""What has happened so far in a training, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from napari_damm.events import (
    GAIN,
    Event,
    FailedItem,
    Finished,
    Preparing,
    TrainPlanned,
    TrainStep,
    Validated,
)
from napari_damm.model_file import LEAST_R
from napari_damm.train.compared import Compared
from napari_damm.widgets.run.eta import duration
from napari_damm.widgets.run.run_summary import RunSummary
from napari_damm.widgets.train.request import Kept

PHASES = {
    "joint": "learning the map",
    "gated": "learning what to trust",
    "detail": "learning fine detail",
}


@dataclass
class TrainingSummary(RunSummary):
    """Counts the events of one training of a model called `name`."""

    name: str
    validation_windows: int
    planned: TrainPlanned | None = None
    step: TrainStep | None = None
    validated: Validated | None = None
    preparing: Preparing | None = None

    def count(self, event: Event) -> None:
        """Take note of one event."""
        super().count(event)
        if isinstance(event, TrainStep | Validated | Finished):
            self.preparing = None
        match event:
            case FailedItem():
                self.warn(f"{event.item} could not be read")
            case TrainPlanned():
                self.planned = event
                self.validation_windows = min(self.validation_windows, event.validation_patches)
            case Preparing():
                self.preparing = event
            case TrainStep():
                self.step = event
            case Validated():
                self.validated = event

    @property
    def fraction(self) -> float:
        """Share of the training that is done, 0..1; before it begins, of what is prepared."""
        if self.finished is not None:
            return 1.0
        if self.step is not None:
            return self.step.progress
        if self.preparing is not None and self.preparing.total:
            return self.preparing.done / self.preparing.total
        return 0.0

    def text(self) -> str:
        """Return the state in words, such as "learning what to trust · epoch 12 · 3:20 left"."""
        if self.preparing is not None:
            what, done, total = self.preparing.what, self.preparing.done, self.preparing.total
            return f"{what} · {done} of {total}" if total else what
        if self.step is None:
            return ""
        words = [PHASES.get(self.step.phase, self.step.phase)]
        if self.step.phase in PHASES:
            words.append(f"epoch {self.step.epoch}")
        if self.step.seconds_left is not None:
            words.append(f"{duration(self.step.seconds_left)} left")
        return " · ".join(words)

    def state(self) -> str:
        """Say what is going on: what is trained on, and how the last validation went."""
        if self.validated is not None:
            return self.sentence(self._last_validation(self.validated))
        if self.planned is None:
            return self.sentence()
        plan = self.planned
        are = "is" if plan.validation_patches == 1 else "are"
        return self.sentence(
            f"Training '{self.name}' on {_count(plan.train_patches, 'patch')} of "
            f"{_count(plan.sections, 'section')}; {_count(plan.validation_patches, 'patch')} "
            f"elsewhere in the tissue {are} kept for validation"
        )

    def done(self, finished: Finished, kept: Kept) -> str:
        """Say how a finished training went."""
        result = finished.result
        ready = f"'{kept.model}' is ready in Predict" if kept.model else ""
        told = self._verdict(result.scores, result.base_scores)
        verdict = f"Done in {duration(finished.seconds)}: {told}"
        longer = "to train it longer, enter its name and click Resume" if kept.model else ""
        return self.sentence(verdict, ready, longer, kept.problem)

    def stopped(self, kept: Kept, why: str = "Stopped") -> str:
        """Say what is left of a training that was stopped, or ended by what `why` says."""
        words = [why]
        if kept.state is not None and self.planned is not None:
            words = [f"{why} at {100 * kept.state.progress:.0f} %" if why == "Stopped" else why]
            if kept.model:
                verdict = self._verdict(kept.state.scores, kept.state.base_scores)
                words.append(f"the best model so far is ready in Predict as '{kept.model}'")
                words[-1] += f" ({verdict})" if verdict else ""
            words.append("Resume continues" if kept.resumable else "nothing to resume was saved")
        return self.sentence(*words, kept.problem)

    def _last_validation(self, validated: Validated) -> str:
        scores, base = validated.scores, validated.base_scores
        if validated.step == 0:
            known = base or scores
            beside = _beside(known, {}, self._linear)
            return f"The base model has {_pair('SSIM', 'ssim', known, {})}{beside}"
        return f"Step {validated.step}: {self._verdict(scores, base)} so far"

    @property
    def _linear(self) -> Mapping[str, float]:
        """How a linear model of the same images scores."""
        record = {} if self.planned is None else self.planned.record
        found: Mapping[str, float] = record.get("linear_scores", {})
        return found

    def _verdict(self, scores: Mapping[str, float], base: Mapping[str, float]) -> str:
        """Compare the new model with the base model, and with a linear one."""
        if "ssim" not in scores:
            return ""
        told = [_pair("SSIM", "ssim", scores, base)]
        if "psnr" in scores:
            told.append(f"{_pair('PSNR', 'psnr', scores, base, 1)} dB")
        numbers = f"{', '.join(told)} on {_count(self.validation_windows, 'validation window')}"
        numbers += _beside(scores, base, self._linear)
        compared, linear = Compared.of(scores, base), self._linear.get("r")
        worse = ["the base model"] if compared.in_nothing else []
        if linear is not None and scores.get("r", linear + 1) <= linear:
            worse.append("a linear model")
        if compared.said_of_some:
            numbers += f"; better than the base model {compared.said_of_some}"
        if linear is not None and scores.get("r", LEAST_R) < LEAST_R:
            return f"hardly better than chance, {numbers}"
        if worse:
            return f"not better than {' and '.join(worse)}, {numbers}"
        return f"{numbers}{'' if compared.said_of_some else _gain(scores)}"


def _gain(scores: Mapping[str, float]) -> str:
    """Say between what the gain in SSIM lies, and whether it may be chance."""
    low, high = (scores.get(name) for name in GAIN)
    if low is None or high is None:
        return ""
    if low > 0:
        return f"; the gain in SSIM is {low:+.3f} to {high:+.3f}"
    return f"; the gain may be chance ({low:+.3f} to {high:+.3f} SSIM)"


def _beside(
    scores: Mapping[str, float], base: Mapping[str, float], linear: Mapping[str, float]
) -> str:
    """Set the correlation with the truth beside that of the base and of a linear model."""
    if "r" not in scores or "r" not in linear:
        return ""
    return f", {_pair('r', 'r', scores, base, 2)} (a linear model {linear['r']:.2f})"


def _pair(
    label: str, key: str, scores: Mapping[str, float], base: Mapping[str, float], digits: int = 3
) -> str:
    now = f"{scores[key]:.{digits}f}"
    return f"{label} {base[key]:.{digits}f} → {now}" if key in base else f"{label} {now}"


def _count(number: int, thing: str) -> str:
    plural = thing + ("es" if thing.endswith("ch") else "s")
    return f"{number} {thing if number == 1 else plural}"

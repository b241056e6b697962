"""Evaluating a model over sections it never saw.

1. Open everything (`opening`): bad input ends here.
2. Measure tissue and intensity limits of each section, as a training does.
3. Predict each section with the primary image only (a gate that never opens), with both (one that
   is never shut), and gated; compare each with the target image, on the same pixels (`scores`).
   So are a linear model and a blur, fitted to the very section (`trivial`).
4. Average over sections (`summary`), and write the report into a new folder (`writing`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.dataset import Field, Section, Source
from napari_damm.engine.intervals import half_width
from napari_damm.evaluation.config import EvaluateConfig
from napari_damm.evaluation.learnt import Learnt
from napari_damm.evaluation.opening import as_sources, open_all, survey_all
from napari_damm.evaluation.predicting import on_ground, predict_section, told_if_large
from napari_damm.evaluation.registration import Placed
from napari_damm.evaluation.repeated import Repeated
from napari_damm.evaluation.report import (
    BRANCHES,
    NO_MODEL,
    Example,
    Report,
    Row,
    SectionFacts,
)
from napari_damm.evaluation.scores import (
    Floats,
    Ground,
    ground_of,
    profile,
    residual_width,
    score,
    score_interval,
)
from napari_damm.evaluation.summary import paired_differences, summarise
from napari_damm.evaluation.trivial import trivial_maps
from napari_damm.evaluation.writing import write
from napari_damm.events import Event, FailedItem, Finished, Notice, Preparing
from napari_damm.model_file import load_model, model_name, summary
from napari_damm.store import Result
from napari_damm.util.errors import is_disk_full, one_line
from napari_damm.util.files import check_new
from napari_damm.util.given import check_path, settings_or_default
from napari_damm.util.tiling import CELL

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

GATES = {"uni-modal": 1.0, "multi-modal": 0.0}
"""Thresholds at which the gate never opens, and never shuts; "gated" takes the settings' own."""
SHOWN_PX = 1000


def evaluate(
    data: Source | Sequence[Source],
    model: DAMM | str | Path | None = None,
    config: EvaluateConfig | None = None,
    out: str | Path | None = None,
) -> Iterator[Event]:
    """Compare a model's predictions with the target images of sections.

    Parameters
    ----------
    data
        Where the sections come from; simulated ones have reserved seeds (10,000 and up).
    model
        A loaded model, a name, a path, or None for the bundled one.
    config
        Settings; all have defaults.
    out
        New folder for `report.json`, `sections.csv`, `summary.csv` and `figure.png`; None writes
        nothing.

    Yields
    ------
    `Preparing` while it works, `FailedItem` for a section that cannot be evaluated where others
    can, `Finished(Report)` last. Closing the generator cancels.

    Raises
    ------
    ValueError, OSError
        For bad input, as far as that shows before the first event; or where no section can be
        evaluated. Nothing is left behind.
    """
    started = time.monotonic()
    config = settings_or_default(config, EvaluateConfig)
    check_path(out, "out")
    folder = None if out is None else check_new(Path(out))
    sources = as_sources(data)
    judged = _Judged(_load(model, config), config)
    groups, total = open_all(sources)
    yield from judged.over(groups, total)
    report = judged.report()
    if folder is not None:
        yield Preparing("writing the report", 0, 1)
        report = write(report, folder)
    yield Finished(report, time.monotonic() - started, report.failed)


@dataclass
class _Judged:
    """The models by name, and what has been found of them so far."""

    models: dict[str, DAMM]
    config: EvaluateConfig
    facts: list[SectionFacts] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    example: Example | None = None
    warned: set[str] = field(default_factory=set)
    cautions: list[str] = field(default_factory=list)
    learnt_by: dict[str, tuple[str, ...]] = field(default_factory=dict)
    repeated: Repeated = field(default_factory=Repeated)
    placed: Placed = field(default_factory=Placed)

    def over(self, groups: Iterable[list[Section]], total: int) -> Iterator[Event]:
        """Evaluate groups of sections; one that fails is reported and left out."""
        number = 0
        for sections in groups:
            yield Preparing("measuring sections", number, total)
            yield from self._tell_of_learnt(sections)
            yield from self._caution(self.repeated.said_of(sections))
            for name, surveyed in survey_all(sections, _pixel_um(self.models)):
                number += 1
                try:
                    if isinstance(surveyed, Exception):
                        raise surveyed
                    yield from self._evaluate(surveyed, f"section {number} of {total}")
                except (ValueError, OSError) as error:
                    # Where there is nothing else to evaluate, it is the answer.
                    if is_disk_full(error) or (number == total and not self.rows):
                        raise
                    self.failed.append(f"{name}: {one_line(error)}")
                    yield FailedItem(name, one_line(error))

    def _evaluate(self, surveyed: Field, place: str) -> Iterator[Event]:
        """Evaluate one section, with all models and branches."""
        name = surveyed.section.name
        ground = ground_of(surveyed)
        yield from told_if_large(ground, name)
        yield from self._caution(surveyed.said_of_fill("target"))
        for sentence in self.placed.said_of(surveyed, next(iter(self.models.values())).card):
            yield from self._caution(sentence)
        rows, example = [], None
        for called, model in self.models.items():
            for branch in BRANCHES:
                compared = [called] if len(self.models) > 1 else []
                what = ", ".join([place, *compared, branch])
                gamma = GATES.get(branch, self.config.gamma)
                config = on_ground(self.config.prediction(gamma=gamma), surveyed, ground)
                result = yield from predict_section(surveyed, model, config, what, self.warned)
                prediction = np.asarray(result.np, np.float32)
                scores, found = score(ground, prediction)
                scores |= _of_maps(result, ground)
                half = half_width(result)
                if half is not None:
                    scores |= score_interval(ground, prediction, np.asarray(half))
                signal = () if found is None else tuple(found.signal.tolist())
                rows.append(Row(name, called, branch, scores, signal))
                if branch == BRANCHES[-1]:
                    for said in self.placed.said_beside(surveyed, ground, prediction, model.card):
                        yield from self._caution(said)
                if branch == "uni-modal" and scores["multi_modal_share"]:
                    secondary = model.card["modalities"][1]
                    yield Notice(
                        f"{called} is so sure of {name} that its gate cannot be kept shut: "
                        f"the numbers without {secondary} are in part with {secondary}",
                        "warning",
                    )
            example = example or _example(name, ground, prediction, result)
        yield Preparing(f"{place}, trivial methods", 0, 1)
        rows += _trivial_rows(surveyed, ground)
        self.rows += rows
        self.facts.append(replace(_facts(name, ground), learnt_by=self.learnt_by.get(name, ())))
        self.example = self.example or example

    def _tell_of_learnt(self, sections: Sequence[Section]) -> Iterator[Event]:
        """Say which sections a model learnt from, or where its card leaves that open."""
        for name, model in self.models.items():
            learnt = Learnt.of_card(name, model.card)
            known = [section for section in sections if learnt.knows(section)]
            for section in known:
                self.learnt_by[section.name] = (*self.learnt_by.get(section.name, ()), name)
            others = [s for s in sections if s not in known and s.planted is None]
            said = [learnt.said_of(known)] if known else []
            said += [learnt.said_of_unlisted] if learnt.unlisted and others else []
            for sentence in said:
                yield from self._caution(sentence)

    def _caution(self, sentence: str) -> Iterator[Event]:
        """Say what the numbers are to be read with, now and in the report; "" is nothing."""
        if sentence and sentence not in self.cautions:
            self.cautions.append(sentence)
            yield Notice(sentence, "warning")

    def report(self) -> Report:
        """Put together what was found."""
        names = list(self.models)
        compared = len(names) > 1
        return Report(
            models=tuple(_card(name, model) for name, model in self.models.items()),
            settings=self.config.to_dict(),
            sections=tuple(self.facts),
            rows=tuple(self.rows),
            summary=tuple(summarise(self.rows, self.config)),
            differences=tuple(
                paired_differences(self.rows, names[0], names[1], self.config) if compared else ()
            ),
            failed=tuple(self.failed),
            cautions=tuple(self.cautions),
            example=self.example,
        )


def _load(model: DAMM | str | Path | None, config: EvaluateConfig) -> dict[str, DAMM]:
    """Load the model, and the one it is compared with, by names that differ."""
    loaded = load_model(model, config.device)
    name = model_name(loaded)
    if config.compare is None:
        return {name: loaded}
    other = load_model(config.compare, config.device)
    for entry in ("modalities", "pixel_size_um"):
        mine, theirs = (m.card.get(entry) for m in (loaded, other))
        if mine != theirs:
            raise ValueError(
                f"models that are compared must have the same {entry.replace('_', ' ')}, "
                f"got {mine} and {theirs}"
            )
    other_name = model_name(other)
    return {name: loaded, other_name if other_name != name else f"{name} (compared)": other}


def _card(name: str, model: DAMM) -> dict[str, Any]:
    """Return what the report says of a model."""
    kept = ("modalities", "pixel_size_um", "training_data", "licence", "sha256")
    return {
        "name": name,
        "summary": summary({**model.card, "name": name}),
        **{entry: model.card.get(entry) for entry in kept},
    }


def _pixel_um(models: dict[str, DAMM]) -> float | None:
    size = next(iter(models.values())).card.get("pixel_size_um")
    return float(size) if size else None


def _trivial_rows(surveyed: Field, ground: Ground) -> Iterator[Row]:
    """Score what trivial methods make of a section, each with its own residual as interval."""
    for method, image in trivial_maps(surveyed, ground).items():
        scores, found = score(ground, image)
        scores |= score_interval(ground, image, residual_width(ground, image))
        signal = () if found is None else tuple(found.signal.tolist())
        yield Row(surveyed.section.name, NO_MODEL, method, scores, signal)


def _of_maps(result: Result, ground: Ground) -> dict[str, float | None]:
    """Return the share of windows that went multi-modal, and the mean uncertainty in tissue."""
    cells = ground.inside[::CELL, ::CELL]
    uncertainty = np.asarray(result.uncertainty, np.float64)[cells]
    windows = result.record.get("windows_with_cells", result.record["windows"])
    return {
        "multi_modal_share": result.record["multi_modal_windows"] / windows if windows else None,
        "uncertainty": float(uncertainty.mean()),
    }


def _facts(name: str, ground: Ground) -> SectionFacts:
    true = profile(ground, ground.truth)
    measured = int(ground.inside.sum())
    if true is None:
        return SectionFacts(name, ground.box.shape, ground.pixel_um, measured)
    by_distance = tuple(true.distance_um.tolist()), tuple(true.signal.tolist())
    return SectionFacts(name, ground.box.shape, ground.pixel_um, measured, *by_distance)


def _example(name: str, ground: Ground, prediction: Floats, result: Result) -> Example:
    """Keep a section's pictures, thinned out to what a figure can show."""
    step = max(1, -(-max(ground.box.shape) // SHOWN_PX))
    truth, predicted = (
        np.clip(image[::step, ::step], 0, 1).copy() for image in (ground.truth, prediction)
    )
    uncertainty = np.asarray(result.uncertainty, np.float32)
    return Example(name, truth, predicted, uncertainty, ground.extent_um, CELL * ground.pixel_um)

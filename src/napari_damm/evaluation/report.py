"""What an evaluation found: a value, JSON, and tables.

A number that cannot be had (a correlation of one block, say) is None: `null` in JSON, empty in
CSV, "n/a" for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.util.measure import Measure
from napari_damm.util.tables import csv_text
from napari_damm.util.version import __version__

if TYPE_CHECKING:
    from numpy.typing import NDArray

BRANCHES = ("uni-modal", "multi-modal", "gated")
NO_MODEL = "trivial"
"""In the place of a model's name: trivial methods, fitted to the very section."""

MEASURES = {
    "ssim": Measure("SSIM"),
    "psnr": Measure("PSNR", "dB", 2),
    "mse": Measure("MSE", digits=4),
    "r2": Measure("R2"),
    "pearson_r": Measure("Pearson r"),
    "icc": Measure("ICC(3,1) of 64 px blocks"),
    "area_icc": Measure("ICC(3,1) of bright areas"),
    "std_ratio": Measure("spread, predicted / true"),
    "crps": Measure("CRPS", digits=4),
    "interval_score": Measure("interval score, 90 %"),
    "coverage": Measure("truth in 90 % interval", "%", 1),
    "distance_truth_um": Measure("distance, true", "µm", 1),
    "distance_um": Measure("distance, predicted", "µm", 1),
    "distance_error_um": Measure("error of the distance", "µm", 1),
    "distance_icc": Measure("ICC(3,1) of distances"),
    "multi_modal_share": Measure("windows with both images", digits=2),
    "uncertainty": Measure("uncertainty", digits=2),
}
"""Measures of a section, but for "distance_icc", which is over sections."""
COMPARED = (
    *("ssim", "psnr", "pearson_r", "icc", "area_icc", "std_ratio", "crps", "coverage"),
    *("distance_error_um", "multi_modal_share"),
)
"""Of these two models are shown side by side."""
DIFFERENCES = ("ssim", "pearson_r")
LONGEST_LABEL = 18


@dataclass(frozen=True)
class Row:
    """One prediction of one section: its scores by measure, and its signal by distance.

    Of a trivial method, `model` is `NO_MODEL` and `branch` its name.
    """

    section: str
    model: str
    branch: str
    scores: Mapping[str, float | None]
    profile: tuple[float, ...] = ()


@dataclass(frozen=True)
class SectionFacts:
    """What was evaluated of a section: the pixels that count, and the truth's signal by distance.

    `shape` and `evaluated_px` are in model pixels; `distance_um` and `profile` go together.
    `learnt_by` are the models that learnt from the same picture, themselves or before.
    """

    name: str
    shape: tuple[int, int]
    pixel_size_um: float
    evaluated_px: int
    distance_um: tuple[float, ...] = ()
    profile: tuple[float, ...] = ()
    learnt_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """A measure over sections: its mean, the 95 % interval of that, and of how many sections.

    No interval for fewer than two. In a paired difference, `model` names both.
    """

    model: str
    branch: str
    measure: str
    mean: float | None
    low: float | None
    high: float | None
    sections: int


@dataclass(frozen=True, eq=False)
class Example:
    """One section to look at: images (y, x) of 0..1, and the map of cells `cell_um` wide."""

    name: str
    truth: NDArray[np.float32]
    prediction: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    extent_um: tuple[float, float]
    cell_um: float


@dataclass(frozen=True, eq=False)
class Report:
    """What an evaluation found.

    Parameters
    ----------
    models
        What the cards say of the model and, if there is one, of that which it is compared with.
    settings
        How sections were predicted.
    sections, rows
        What was evaluated, and each prediction's scores.
    summary, differences
        Means over sections; paired differences, model minus compared model.
    failed
        Sections that could not be evaluated, each with the reason.
    cautions
        What the numbers are not to be taken for, in sentences.
    example
        The first section, to look at.
    path
        The folder it was written to.
    """

    models: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]
    sections: tuple[SectionFacts, ...]
    rows: tuple[Row, ...]
    summary: tuple[Summary, ...]
    differences: tuple[Summary, ...] = ()
    failed: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    example: Example | None = field(default=None, repr=False)
    path: Path | None = None

    def at(self, path: Path) -> Report:
        """Return the report with the folder that it was written to."""
        return replace(self, path=path)

    @property
    def modalities(self) -> tuple[str, str, str]:
        """What the primary, secondary and target images are called."""
        primary, secondary, target = self.models[0]["modalities"]
        return primary, secondary, target

    @property
    def branch_labels(self) -> dict[str, str]:
        """What the branches are called, in the words of the card."""
        primary, secondary, _ = self.modalities
        return dict(
            zip(BRANCHES, (f"{primary} only", f"{primary} + {secondary}", "gated"), strict=True)
        )

    @property
    def truth(self) -> str:
        """What predictions were compared with, and where."""
        return (
            f"the {self.modalities[2]} image as taken (noise and all), scaled to 0..1 by its 0.1 "
            "and 99.9 percentiles over tissue; compared in tissue only"
        )

    def to_json(self) -> str:
        """Return all of it (but the example) as JSON."""
        content = {
            "napari_damm": __version__,
            "truth": self.truth,
            "models": list(self.models),
            "settings": dict(self.settings),
            "sections": [asdict(facts) for facts in self.sections],
            "rows": [asdict(row) for row in self.rows],
            "summary": [asdict(line) for line in self.summary],
            "differences": [asdict(line) for line in self.differences],
            "failed": list(self.failed),
            "cautions": list(self.cautions),
        }
        return json.dumps(content, indent=1, allow_nan=False, default=str)

    def sections_csv(self) -> str:
        """Return one line for each section, model and branch; `learnt_from` is "yes" or empty."""
        measures = [name for name in MEASURES if name != "distance_icc"]
        learnt = {(facts.name, model) for facts in self.sections for model in facts.learnt_by}
        lines = (
            [
                *(row.section, row.model, row.branch),
                *(row.scores.get(name) for name in measures),
                "yes" if (row.section, row.model) in learnt else None,
            ]
            for row in self.rows
        )
        return csv_text(["section", "model", "branch", *measures, "learnt_from"], lines)

    def summary_csv(self) -> str:
        """Return one line for each model, branch and measure; then the paired differences."""
        names = ["model", "branch", "measure", "mean", "low", "high", "sections"]
        lines = [*self.summary, *self.differences]
        return csv_text(names, ([getattr(line, name) for name in names] for line in lines))

    def table(self) -> Iterator[str]:
        """Yield the summary as lines of text: a row for each measure, a column for each branch.

        Of two models it is what tells them apart: both as Predict uses them, the trivial methods,
        and the paired differences of a few measures. All the rest is in the files.
        """
        if len(self.models) > 1:
            yield from self._comparison()
            return
        (card,) = self.models
        columns = {
            (line.model, line.branch): self.branch_labels.get(line.branch, line.branch)
            for line in self.summary
        }
        yield from self._block([str(card["summary"])], columns, MEASURES)

    def _comparison(self) -> Iterator[str]:
        names = [str(card["name"]) for card in self.models]
        columns = {(name, "gated"): f"{_short(name)}, gated" for name in names}
        columns |= {(line.model, line.branch): line.branch for line in self.summary
                    if line.model == NO_MODEL}  # fmt: skip
        yield from self._block([str(card["summary"]) for card in self.models], columns, COMPARED)
        yield f"{' minus '.join(names)}, both gated, section by section"
        for line in self.differences:
            shown = line.branch == "gated" and line.measure in DIFFERENCES
            if shown and line.mean is not None:
                measure = MEASURES[line.measure]
                yield f"  {measure.title:25}{_interval(measure, line, True):>27}"

    def _block(
        self, titles: Sequence[str], columns: Mapping[tuple[str, str], str], rows: Iterable[str]
    ) -> Iterator[str]:
        """Yield a table of means: `columns` are labels by model and branch, `rows` measures."""
        cells = {(line.measure, line.model, line.branch): line for line in self.summary}
        yield from titles
        yield f"  {'':25}" + "".join(f"{label:>27}" for label in columns.values())
        for name in rows:
            found = [cells.get((name, *column)) for column in columns]
            if any(line is not None and line.mean is not None for line in found):
                texts = "".join(f"{_interval(MEASURES[name], line):>27}" for line in found)
                yield f"  {MEASURES[name].title:25}{texts}"


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 3]}..."


def _interval(measure: Measure, line: Summary | None, signed: bool = False) -> str:
    if line is None:
        return ""
    mean, low, high = (
        measure.text(value, signed, "n/a") for value in (line.mean, line.low, line.high)
    )
    return mean if line.low is None or line.high is None else f"{mean} ({low} .. {high})"

"""What an evaluation found: a value, JSON, and tables.

A number that cannot be had (a correlation of one block, say) is None: `null` in JSON, empty in
CSV, "n/a" for people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
        """Yield the summary as lines of text: a row for each measure, a column for each branch."""
        for card in self.models:
            chosen = [line for line in self.summary if line.model in (card["name"], NO_MODEL)]
            yield from self._block(str(card["summary"]), chosen)
        if self.differences:
            yield from self._block(self.differences[0].model, self.differences, signed=True)

    def _block(self, title: str, lines: Sequence[Summary], signed: bool = False) -> Iterator[str]:
        cells = {(line.measure, line.branch): line for line in lines}
        columns = list(dict.fromkeys(line.branch for line in lines))
        labels = self.branch_labels
        yield title
        yield f"  {'':25}" + "".join(f"{labels.get(name, name):>27}" for name in columns)
        for name, measure in MEASURES.items():
            found = [cells.get((name, column)) for column in columns]
            if any(line is not None and line.mean is not None for line in found):
                texts = "".join(f"{_interval(measure, line, signed):>27}" for line in found)
                yield f"  {measure.title:25}{texts}"


def _interval(measure: Measure, line: Summary | None, signed: bool) -> str:
    if line is None:
        return ""
    mean, low, high = (
        measure.text(value, signed, "n/a") for value in (line.mean, line.low, line.high)
    )
    return mean if line.low is None or line.high is None else f"{mean} ({low} .. {high})"

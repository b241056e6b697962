"""What an analysis found: a value, JSON, and tidy tables.

A number that cannot be had is None: `null` in JSON, empty in CSV; reasons.csv says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.analysis.cautions import cautions_of
from napari_damm.util.tables import csv_text
from napari_damm.util.version import __version__

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_damm.analysis.agreement import Agreement
    from napari_damm.analysis.groups import Comparison

MEASURE_COLUMNS = (
    "section", "animal", "group", "region", "measure", "value", "unit", "low", "high", "level",
    "n", "trusted_share",
)  # fmt: skip
REASON_COLUMNS = ("section", "region", "measure", "reason")
PROFILE_COLUMNS = ("section", "region", "distance_um", "signal", "low", "high", "pixels")

PITFALLS = (
    "Distances in a section overestimate those in three dimensions: the nearest vessel may lie "
    "above or below (PMC6326380). At the border of the picture, it may lie outside.",
    "Where a profile ends early, its far field is not far: then the half-distance and the "
    "extravasation distance are lower bounds.",
    "Intensity is relative. It is no dose, and never a percentage of the injected dose. That of a "
    "predicted map is on another scale than that of an imaged one: they do not compare.",
    "The dye or label changes the answer: free dye and particle may part (PMC8789216).",
    "Animals are the units of a statistic, not pixels, tiles or sections.",
    "A threshold decides what counts as vessel or as bright: compare groups at the same ones, or "
    "say that each section has its own.",
)
HYPOTHESES = (
    "on other tissue the numbers are hypotheses until they are checked against imaged particles of "
    "the same kind."
)
BUNDLED = "the bundled model is trained on simulated tissue only"
SAID_TO_BE_SIMULATED = ("no real tissue", "simulated tissue only")


@dataclass(frozen=True)
class MeasureRow:
    """One measure of one region of one section; `n` is how many pixels (or `of`) it rests on.

    `trusted_share` is the share of the region's pixels whose prediction is to be trusted; None for
    an imaged map. `reason` says why there is no value, or why it is not to be read.
    """

    section: str
    animal: str
    group: str
    region: str
    measure: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    level: float | None
    n: int
    trusted_share: float | None
    of: str = "pixels"
    reason: str = ""


@dataclass(frozen=True)
class ProfileRow:
    """Mean signal of one shell of distances; `distance_um` is negative inside vessels."""

    section: str
    region: str
    distance_um: float
    signal: float
    low: float | None
    high: float | None
    pixels: int


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A section to look at, thinned out: particles, vessel outlines and tissue (y, x)."""

    particles: NDArray[np.float32]
    vessels: NDArray[np.bool_]
    extent_um: tuple[float, float]


@dataclass(frozen=True, eq=False)
class SectionFacts:
    """How a section was measured.

    `thresholds` by image: value, method, eta. `record` is the job record of a prediction.
    """

    name: str
    shape: tuple[int, int]
    pixel_um: tuple[float, float]
    predicted: bool
    vessels_from: str
    nuclei_from: str
    thresholds: Mapping[str, Mapping[str, Any]]
    about: Mapping[str, Any]
    record: Mapping[str, Any]
    cells_by_distance: Sequence[Mapping[str, float]] = ()
    agreement: Agreement | None = None
    thumbnail: Thumbnail | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, but for the picture."""
        plain = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("thumbnail", "agreement")
        }
        agreement = None if self.agreement is None else self.agreement.to_dict()
        return plain | {"agreement": agreement}


@dataclass(frozen=True, eq=False)
class AnalysisReport:
    """What an analysis found.

    `failed` are sections that could not be measured, each with the reason; `path` is the folder
    that it was written to.
    """

    settings: Mapping[str, Any]
    sections: tuple[SectionFacts, ...]
    rows: tuple[MeasureRow, ...]
    profiles: tuple[ProfileRow, ...]
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    path: Path | None = None

    def at(self, path: Path) -> AnalysisReport:
        """Return the report with the folder that it was written to."""
        return replace(self, path=path)

    @property
    def warning(self) -> str | None:
        """What is to be said of predicted maps: by which models, and on what they were trained."""
        models = {_said_of_model(facts.record): None for facts in self.sections if facts.predicted}
        if not models:
            return None
        by = " and by ".join(models)
        return f"These maps were PREDICTED, not imaged, by {by}: {HYPOTHESES}"

    @property
    def cautions(self) -> tuple[str, ...]:
        """What is to be said before any number: they are among the notes, too."""
        predicted = (facts for facts in self.sections if facts.predicted)
        return tuple(
            said
            for facts in predicted
            for said in cautions_of(facts.name, facts.record, facts.about)
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes that are no cautions."""
        return tuple(note for note in self.notes if note not in self.cautions)

    @property
    def predicted(self) -> bool:
        """Whether a model drew any of the maps."""
        return any(facts.predicted for facts in self.sections)

    def value(self, measure: str, section: str | None = None, region: str = "tissue") -> Any:
        """Return one number (None where it cannot be had); of the first section by default.

        Raises
        ------
        ValueError
            If there is no such row.
        """
        wanted = section or self.sections[0].name
        for row in self.rows:
            if (row.section, row.region, row.measure) == (wanted, region, measure):
                return row.value
        raise ValueError(f"there is no {measure!r} of {region!r} in {wanted!r}")

    def measures_csv(self) -> str:
        """Return one line for each section, region and measure."""
        lines = ([getattr(row, name) for name in MEASURE_COLUMNS] for row in self.rows)
        return csv_text(MEASURE_COLUMNS, lines)

    def reasons_csv(self) -> str:
        """Return why measures have no value, or are not to be read: a line for each of those."""
        lines = ([getattr(row, n) for n in REASON_COLUMNS] for row in self.rows if row.reason)
        return csv_text(REASON_COLUMNS, lines)

    def profile_csv(self) -> str:
        """Return one line for each section, region and shell of distances."""
        lines = ([getattr(row, name) for name in PROFILE_COLUMNS] for row in self.profiles)
        return csv_text(PROFILE_COLUMNS, lines)

    def to_json(self) -> str:
        """Return all of it as JSON."""
        content = {
            "napari_damm": __version__,
            "settings": dict(self.settings),
            "sections": [facts.to_dict() for facts in self.sections],
            "measures": [asdict(row) for row in self.rows],
            "profiles": [asdict(row) for row in self.profiles],
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "notes": list(self.notes),
            "pitfalls": list(PITFALLS),
            "warning": self.warning,
            "cautions": list(self.cautions),
            "failed": list(self.failed),
        }
        return json.dumps(content, indent=1, allow_nan=False, default=str)


def _said_of_model(record: Mapping[str, Any]) -> str:
    """Name the model of a prediction, and say on what it was trained."""
    model = record.get("model") or {}
    training = model.get("training_data") or {}
    what = training.get("description") or "data of which this result says nothing"
    if "training_data" not in model:  # as in every result made before the record had it
        said = f"what it was trained on is not said; {BUNDLED}"
    elif training.get("kind") == "simulated" and not any(w in what for w in SAID_TO_BE_SIMULATED):
        said = f"trained on {what}, simulated tissue only"
    else:
        said = f"trained on {what}"
    return f"the model {model.get('name', 'unnamed')!r} ({said})"

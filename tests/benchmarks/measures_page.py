"""The page that says which measures a prediction gives, from rows of `analyze_evidence`.

1. `summary`: of one kind of section and one measure, how well predicted and true agree.
2. `table`: all measures of one kind. `verdicts`: which a prediction gives, by stated limits.
3. `page`: all of it, in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_damm.analysis.intervals import OF_PARTICLES
from napari_damm.analysis.measures import MEASURES
from napari_damm.util import metrics

TOGETHER = "together"
GOOD, POOR = 0.75, 0.5
GIVES = f"Given (ICC {GOOD} or more)"
ROUGHLY = f"Given roughly, for differences that are large (ICC {POOR} to {GOOD})"
CANNOT = f"Not given (ICC below {POOR}): do not read these from a predicted map"
UNSEEN = "Not measured (simulated sections fill their picture)"
HEAD = "| measure | n | ICC(3,1) | true, mean | predicted, mean | bias ± SD | in 90 % interval |"
RULE = "|---|---|---|---|---|---|---|"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Agreement:
    """Of one measure: (n, 2) true and predicted values; how many of `asked` intervals held."""

    pairs: np.ndarray
    inside: int
    asked: int

    @property
    def icc(self) -> float | None:
        """ICC(3,1); None of fewer than three sections, or where all are alike."""
        if len(self.pairs) < 3:
            return None
        try:
            return float(metrics.icc31(self.pairs))
        except ValueError:
            return None

    @property
    def bias(self) -> float:
        """Predicted minus true, mean."""
        return float((self.pairs[:, 1] - self.pairs[:, 0]).mean())

    @property
    def spread(self) -> float:
        """Predicted minus true, standard deviation."""
        return float((self.pairs[:, 1] - self.pairs[:, 0]).std(ddof=1))


def summary(rows: Iterable[Row], name: str) -> Agreement:
    """Return how well a measure agrees over sections."""
    pairs, held = [], []
    for row in rows:
        true, predicted, low, high = row["measures"][name]
        if true is None or predicted is None:
            continue
        pairs.append((true, predicted))
        if low is not None and high is not None:
            held.append(low <= true <= high)
    return Agreement(np.array(pairs, float).reshape(-1, 2), sum(held), len(held))


def table(rows: Sequence[Row]) -> list[str]:
    """Return a table of all measures."""
    lines = [HEAD, RULE]
    for name in OF_PARTICLES:
        found = summary(rows, name)
        start = f"| {MEASURES[name].title} | {len(found.pairs)} |"
        if len(found.pairs) < 2:
            lines.append(f"{start} – | – | – | – | – |")
            continue
        icc = "–" if found.icc is None else f"{found.icc:.2f}"
        true, predicted = found.pairs.mean(axis=0)
        held = f"{found.inside} of {found.asked}" if found.asked else "none is given"
        lines.append(
            f"{start} {icc} | {true:.3g} | {predicted:.3g} | {found.bias:+.2g} ± "
            f"{found.spread:.2g} | {held} |"
        )
    return lines


def verdicts(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """Say which measures a prediction gives, by the worst ICC of the given sets of sections."""
    words: dict[str, list[str]] = {GIVES: [], ROUGHLY: [], CANNOT: [], UNSEEN: []}
    for name in OF_PARTICLES:
        found = [summary(each, name).icc for each in rows.values()]
        known = [icc for icc in found if icc is not None]
        worst = min(known, default=None)
        if worst is None:
            words[UNSEEN].append(MEASURES[name].label)
        elif worst >= GOOD:
            words[GIVES].append(MEASURES[name].label)
        else:
            words[ROUGHLY if worst >= POOR else CANNOT].append(MEASURES[name].label)
    return [f"- **{said}**: {', '.join(names)}." for said, names in words.items() if names]


def icc_line(name: str, sets: Sequence[Sequence[Row]]) -> str:
    """Return a row of the table of ICCs."""
    found = (summary(rows, name).icc for rows in sets)
    numbers = ("–" if icc is None else f"{icc:.2f}" for icc in found)
    return f"| {MEASURES[name].label} | {' | '.join(numbers)} |"


def page(rows: Sequence[Row]) -> str:
    """Return the page."""
    presets = list(dict.fromkeys(row["preset"] for row in rows))
    plain = {p: [r for r in rows if (r["preset"], r["samples"]) == (p, 1)] for p in presets}
    plain = {preset: mine for preset, mine in plain.items() if mine}
    together = [row for mine in plain.values() for row in mine]
    first = together[0]
    counts = " and ".join(f"{len(mine)} {preset}" for preset, mine in plain.items())
    lines = [
        "# Which measures a prediction gives", "",
        "<!-- Written by tests/benchmarks/analyze_evidence.py; do not edit. -->", "",
        f"The bundled model predicted {counts} reserved sections of simulated tissue "
        f"({first['size']} px at 1 µm, seeds from {min(r['seed'] for r in rows)}, mode "
        f"`{first['mode']}`), which no training uses. [What `analyze` measures](analyze.md) in the "
        "prediction is compared with the same in the noise-free particles, by the same vessels, "
        "each map with its own threshold. Real tissue was not measured: expect less there.", "",
        "```sh",
        "python tests/benchmarks/analyze_evidence.py --rows rows.jsonl --page docs/measures.md",
        "```", "",
        "With `--rows docs/measures.jsonl` it writes the page from what was measured.",
        "",
        "By the worst ICC(3,1), sections being the subjects (1 is perfect), of three: sections of "
        "either preset alone, which are alike, and both together, which says whether a prediction "
        "tells one kind of tissue from the other:", "",
        *verdicts({**plain, TOGETHER: together}), "",
        f"| ICC(3,1) | {' | '.join([*plain, TOGETHER])} |",
        f"|---|{'---|' * (len(plain) + 1)}",
        *(icc_line(name, [*plain.values(), together]) for name in OF_PARTICLES), "",
        "Vessel area, density and diameter, the distance to vessels and the perfused area are "
        "measured in images that were taken: a prediction has no part in them.", "",
    ]  # fmt: skip
    for preset, mine in plain.items():
        lines += [f"## {preset.capitalize()} sections", "", *table(mine), ""]
    lines += [
        "*Bias* is predicted minus true, with its standard deviation over sections. *In 90 % "
        "interval*: how often the truth lay between the `low` and `high` that the report gives; "
        "such intervals were fitted on other sections, of both kinds.", "",
    ]  # fmt: skip
    drawn = {p: [r for r in rows if r["preset"] == p and r["samples"] > 1] for p in presets}
    for preset, mine in drawn.items():
        if mine:
            one = mine[0]
            title = f"## {preset.capitalize()} sections, {one['samples']} samples"
            lines += [
                title, "",
                f"Means over samples, and their spread as it is, not calibrated; {len(mine)} "
                f"sections of {one['size']} px.", "", *table(mine), "",
            ]  # fmt: skip
    return "\n".join(lines)

"""Fit 90 % intervals of measures to sections whose truth is known (`fit_intervals.py` runs it).

Measures are off by more in one kind of tissue than in the other. So an interval is widened until it
holds 90 % of each kind; and its limits may hang on a measure that tells such kinds apart, of those
in `MAY_PART` the one, if any, with which intervals score best on sections left out of the fit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from analyze_evidence import read_rows, weights_of
from interval_scores import FIRST_SEED, KINDS
from measured_sections import measure_section

from napari_damm.analysis.intervals import OF_PARTICLES
from napari_damm.analysis.measures import MEASURES
from napari_damm.model.damm import DAMM
from napari_damm.simulate import simulate_slide
from napari_damm.trust.measure_intervals import DIFFERENCE, RATIO, MeasureInterval, fit_measure
from napari_damm.trust.score_rules import interval_score

SIZES = (448, 640)
"""By turns: intensities are relative to the section, and hang a little on how large it is."""
MAY_PART = ("extravasated_area", "gini", "cell_dose")
"""Beside the measure itself."""
WANTED_HELD, LEVELS = 0.9, tuple(k / 100 for k in range(80, 100))
FOLDS = 5
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sections:
    """A measure of n sections: truth (n,), prediction (n,), what parts them (n,), their kind."""

    true: np.ndarray
    predicted: np.ndarray
    by: np.ndarray
    presets: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Row], name: str, by: str = "") -> Sections:
        """Read them from rows, leaving out those that lack a value."""
        pairs = np.array([row["measures"][name] for row in rows], float).reshape(-1, 2)
        where = np.array([row["measures"][by or name][1] for row in rows], float)
        presets = np.array([row["preset"] for row in rows])
        there = np.isfinite(pairs).all(axis=1) & np.isfinite(where)
        return cls(*pairs[there].T, where[there], presets[there])

    def only(self, chosen: np.ndarray) -> Sections:
        """Return some of them."""
        every = self.true, self.predicted, self.by, self.presets
        return Sections(*(values[chosen] for values in every))

    def inside(self, interval: MeasureInterval) -> np.ndarray:
        """Return (n,) whether their truth lies inside."""
        low, high = interval.around(self.predicted, self.by)
        return (low <= self.true) & (self.true <= high)

    def held(self, interval: MeasureInterval) -> dict[str, float]:
        """Return the share of each kind whose truth lies inside."""
        inside = self.inside(interval)
        of = {preset: inside[self.presets == preset] for preset in KINDS}
        return {preset: float(np.mean(each)) if each.size else 0.0 for preset, each in of.items()}

    def score(self, interval: MeasureInterval) -> float:
        """Return the mean interval score; lower is better."""
        low, high = interval.around(self.predicted, self.by)
        return interval_score(self.true, (low + high) / 2, (high - low) / 2)


def measured_rows(
    model: DAMM, count: int, kept: Path | None, first_seed: int = FIRST_SEED
) -> list[Row]:
    """Return true and predicted measures of so many sections of each kind; kept ones are read."""
    rows = read_rows(kept, weights_of(model))
    done = {(row["preset"], row["seed"]) for row in rows}
    for k, preset in ((k, preset) for k in range(count) for preset in KINDS):
        seed = first_seed + k
        if (preset, seed) in done:
            continue
        found = measure_section(simulate_slide(SIZES[k % len(SIZES)], seed, preset), model)
        pairs = {n: [found.true.value(n), found.predicted.value(n)] for n in OF_PARTICLES}
        known = {"preset": preset, "seed": seed, "weights": weights_of(model)}
        rows.append({**known, "measures": pairs})
        if kept is not None:
            with kept.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    return rows


def fit_measures(rows: Sequence[Row]) -> dict[str, MeasureInterval]:
    """Fit the intervals of measures over all kinds of sections, where they hold on each kind."""
    made = {}
    for name in OF_PARTICLES:
        choices = {}
        for by in dict.fromkeys(("", name, *MAY_PART)):
            sections = Sections.of(rows, name, by)
            interval = fit_wide_enough(sections, name, by)
            if interval is not None:
                choices[by] = score_on_others(sections, name, by), interval, sections
        if not choices:
            continue
        score, made[name], sections = min(choices.values(), key=lambda choice: choice[0])
        held = ", ".join(f"{k} {share:.0%}" for k, share in sections.held(made[name]).items())
        said = f"{name}: by {made[name].by or 'nothing'}, score {score:.4g}"
        if "" in choices:
            said += f" ({choices[''][0]:.4g} by nothing)"
        print(f"{said}; fitted: {held}", flush=True)
    return made


def fit_wide_enough(sections: Sections, name: str, by: str) -> MeasureInterval | None:
    """Return the interval of the lowest level that holds 90 % of each kind; None of none."""
    values = sections.true, sections.predicted, kind(name)
    for level in LEVELS:
        interval = fit_measure(*values, level, (by, sections.by))
        if interval is None:
            return None
        if min(sections.held(interval).values()) >= WANTED_HELD:
            return interval
    return None


def score_on_others(sections: Sections, name: str, by: str) -> float:
    """Return the mean score on sections that an interval was not fitted on, fold by fold."""
    fold = np.arange(sections.true.size) // len(KINDS) % FOLDS
    scores = []
    for k in range(FOLDS):
        interval = fit_wide_enough(sections.only(fold != k), name, by)
        if interval is None:
            return float("inf")
        scores.append(sections.only(fold == k).score(interval))
    return float(np.mean(scores))


def print_held(known: Mapping[str, MeasureInterval], rows: Sequence[Row]) -> None:
    """Print how many sections of each kind the interval of each measure held, and how wide it is.

    Beside it the same of the interval that is the same for all sections, fitted to these very
    sections: no other of one width can be as narrow and hold as many.
    """
    print("| measure | by | " + " | ".join(KINDS) + " | score, of one that is the same for all |")
    print("|---|---|" + "---|" * len(KINDS) + "---|")
    for name, interval in known.items():
        sections = Sections.of(rows, name, interval.by)
        held = sections.held(interval)
        cells = [f"{held[k]:.1%} of {np.sum(sections.presets == k)}" for k in KINDS]
        by = MEASURES[interval.by].title if interval.by else "-"
        same = fit_wide_enough(sections, name, "")
        beside = "-" if same is None else f"{sections.score(same):.3g}"
        said = f"{sections.score(interval):.3g}, {beside}"
        print(f"| {MEASURES[name].title} | {by} | {' | '.join(cells)} | {said} |")


def kind(name: str) -> str:
    """Return how a measure is off: by a factor, or, of shares and other bounded ones, by a sum."""
    return RATIO if MEASURES[name].unit in ("um", "a.u. um", "a.u.") else DIFFERENCE

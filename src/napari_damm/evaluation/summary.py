"""Means over sections, with the 95 % interval in which they lie; paired differences of models.

Intervals are bootstrapped over sections, never over pixels or blocks of one: those of a section
resemble each other. One section has no interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from napari_damm.evaluation.config import EvaluateConfig
from napari_damm.evaluation.report import BRANCHES, MEASURES, Row, Summary
from napari_damm.util import metrics


def summarise(rows: Sequence[Row], config: EvaluateConfig) -> Iterator[Summary]:
    """Yield the mean of every measure, by model and branch, then the ICC of distances."""
    for model, branch in dict.fromkeys((row.model, row.branch) for row in rows):
        chosen = [row for row in rows if (row.model, row.branch) == (model, branch)]
        for measure in MEASURES:
            if measure == "distance_icc":
                yield _distance_icc(model, branch, chosen)
            else:
                values = [row.scores.get(measure) for row in chosen]
                yield _mean(model, branch, measure, values, config)


def paired_differences(
    rows: Sequence[Row], model: str, other: str, config: EvaluateConfig
) -> Iterator[Summary]:
    """Yield the mean difference `model` minus `other` of every measure, section by section."""
    scores = {(row.section, row.model, row.branch): row.scores for row in rows}
    sections = dict.fromkeys(row.section for row in rows)
    for branch in BRANCHES:
        pairs = [(scores[s, model, branch], scores[s, other, branch]) for s in sections]
        for measure in MEASURES:
            if measure in ("distance_icc", "distance_truth_um"):
                continue
            values = [_minus(a.get(measure), b.get(measure)) for a, b in pairs]
            yield _mean(f"{model} minus {other}", branch, measure, values, config)


def _mean(
    model: str,
    branch: str,
    measure: str,
    values: Sequence[float | None],
    config: EvaluateConfig,
) -> Summary:
    """Return the mean and interval of what there is."""
    there = [value for value in values if value is not None]
    if not there:
        return Summary(model, branch, measure, None, None, None, 0)
    interval = metrics.bootstrap_interval(there, config.seed, config.resamples)
    low, high = interval or (None, None)
    return Summary(model, branch, measure, float(np.mean(there)), low, high, len(there))


def _distance_icc(model: str, branch: str, rows: Sequence[Row]) -> Summary:
    """Return the ICC(3,1) of true and predicted distances, sections being the subjects."""
    pairs = [(row.scores.get("distance_truth_um"), row.scores.get("distance_um")) for row in rows]
    there = [(a, b) for a, b in pairs if a is not None and b is not None]
    try:
        value = metrics.icc31(there)
    except ValueError:  # one section, or equal ones
        value = None
    return Summary(model, branch, "distance_icc", value, None, None, len(there))


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b

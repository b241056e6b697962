"""Means over sections with their 95 % interval, paired differences, and what they decide.

A statistic is a plain dict, as it stands in the JSON: mean, low, high (None of a single section)
and n, the number of sections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from section_metrics import paired_difference

from napari_damm.util import metrics

Stat = dict[str, Any]
Number = float | None

RESAMPLES = 2000


@dataclass(frozen=True)
class Claim:
    """Something that was to be shown: what was found, and whether it holds."""

    text: str
    found: str
    holds: str

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return asdict(self)


def mean_of(values: Sequence[Number]) -> Stat:
    """Return the mean of the numbers that there are."""
    there = [value for value in values if value is not None]
    if not there:
        return {"mean": None, "low": None, "high": None, "n": 0}
    low, high = metrics.bootstrap_interval(there, 0, RESAMPLES) or (None, None)
    return {"mean": float(np.mean(there)), "low": low, "high": high, "n": len(there)}


def difference(values: Sequence[Number], others: Sequence[Number]) -> Stat:
    """Return the mean of values - others, section by section."""
    pairs = [(a, b) for a, b in zip(values, others, strict=True) if None not in (a, b)]
    if not pairs:
        return mean_of([])
    a, b = zip(*pairs, strict=True)
    mean, interval = paired_difference(a, b, 0, RESAMPLES)
    low, high = interval or (None, None)
    return {"mean": mean, "low": low, "high": high, "n": len(pairs)}


def over_sections(
    items: Sequence[Any], measure: Callable[[Sequence[Any]], float], resamples: int = 500
) -> Stat:
    """Return a measure of all sections together; its interval redraws whole sections.

    None where it cannot be had, as of one class; no interval of fewer than three sections.
    """
    whole = _had(measure, items)
    if whole is None or len(items) < 3:
        return {"mean": whole, "low": None, "high": None, "n": len(items)}
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(items), (resamples, len(items)))
    found = [_had(measure, [items[k] for k in draw]) for draw in draws]
    there = [value for value in found if value is not None]
    enough = len(there) > resamples // 2
    low, high = np.percentile(there, (2.5, 97.5)).tolist() if enough else (None, None)
    return {"mean": whole, "low": low, "high": high, "n": len(items)}


def above(stat: Stat, limit: float = 0.0) -> str:
    """Say whether a statistic is above a limit: as sure as its interval."""
    if stat["mean"] is None:
        return "not measured"
    if stat["low"] is None:
        return "not decided"
    if stat["low"] > limit:
        return "yes"
    return "no" if stat["high"] < limit else "not decided"


def within(value: Number, low: float, high: float) -> str:
    """Say whether a number lies between two others."""
    return "not measured" if value is None else "yes" if low <= value <= high else "no"


def _had(measure: Callable[[Sequence[Any]], float], items: Sequence[Any]) -> Number:
    try:
        value = measure(items)
    except ValueError:
        return None
    return value if np.isfinite(value) else None

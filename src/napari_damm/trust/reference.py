"""What a model has been trained on, as a distribution of statistics, and how far others lie off.

1. Statistics are measured in standard deviations from their mean.
2. The distance of a group of statistics (one image, both together, all) is Mahalanobis', with
   correlations drawn towards 0: there are few sections. It is stated in units of the distance that
   19 of 20 held-out ones keep.
3. The worst group decides; `familiarity` is the share of held-out ones that lie as far off or
   further, so that 1 in 20 of what the model knows falls below 0.05.
4. Held out means: each fifth of the sections was measured against the other four fifths.

A `Reference` is a few kilobytes of plain JSON: it travels on the model's card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_damm.trust.statistics import GROUPS, NAMES
from napari_damm.trust.verdict import UNKNOWN

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

ALL = "all"
PARTS = {**GROUPS, ALL: slice(0, len(NAMES))}
FOLDS = 5
SHRINKAGE = 0.2
LEAST_SD = 0.02
"""A statistic that hardly varies in training may vary this much before it counts."""
USUAL = 0.95
LEVELS = np.linspace(0.0, 1.0, 101)
TWO_SIDED_95 = 1.96
FEWEST = 20
"""Windows, or sections, from which a distribution can be told."""
FARTHEST = 1e6


@dataclass(frozen=True)
class Reference:
    """A distribution of statistics.

    Attributes
    ----------
    mean, sd
        Of each statistic (len(NAMES),).
    correlation
        Of the statistics (len(NAMES), len(NAMES)), drawn towards 0.
    usual
        By group, the distance that 95 % of held-out ones keep.
    quantiles
        Of the worst group's distance of held-out ones, at `LEVELS`, in units of `usual`.
    low, high
        Of each statistic, the 2.5 and 97.5 percentiles: what the model knows.
    count
        How many sections (or windows) it was fitted on.
    """

    mean: Vector
    sd: Vector
    correlation: Matrix
    usual: Mapping[str, float]
    quantiles: Vector
    low: Vector
    high: Vector
    count: int

    @classmethod
    def fit(cls, rows: ArrayLike, sections: ArrayLike) -> Reference:
        """Fit it to statistics (n, len(NAMES)); `sections` (n,) says of which section each is.

        Raises
        ------
        ValueError
            If there are too few, or a value is not finite.
        """
        rows, sections = np.asarray(rows, np.float64), np.asarray(sections)
        if rows.ndim != 2 or rows.shape[1] != len(NAMES) or not np.isfinite(rows).all():
            raise ValueError(f"statistics must be finite numbers (n, {len(NAMES)})")
        known = np.unique(sections)
        if len(rows) < FEWEST:
            raise ValueError(f"there must be at least {FEWEST} rows of statistics, got {len(rows)}")
        fold = np.searchsorted(known, sections) % min(FOLDS, len(known))
        fewest_left = len(rows) - np.bincount(fold).max()
        if len(known) < 2 or fewest_left < FEWEST:  # too few to fit on without the largest section
            fold = np.arange(len(rows)) * FOLDS // len(rows)
        held_out = np.zeros((len(rows), len(PARTS)))
        for k in np.unique(fold):
            held_out[fold == k] = _Shape.fit(rows[fold != k]).distances(rows[fold == k])
        usual = np.maximum(np.quantile(held_out, USUAL, axis=0), 1e-3)
        worst = (held_out / usual).max(axis=1)
        shape = _Shape.fit(rows)
        low, high = np.quantile(rows, (0.025, 0.975), axis=0)
        return cls(
            shape.mean,
            shape.sd,
            shape.correlation,
            dict(zip(PARTS, usual.tolist(), strict=True)),
            np.quantile(worst, LEVELS),
            low,
            high,
            len(known),
        )

    def distances(self, row: ArrayLike) -> dict[str, float]:
        """Return the distance of one vector of statistics by group; above 1 is unusual."""
        shape = _Shape(self.mean, self.sd, self.correlation)
        found = shape.distances(np.asarray(row, np.float64)[None])[0]
        return {
            part: min(float(distance) / self.usual[part], FARTHEST)
            for part, distance in zip(PARTS, found, strict=True)
        }

    def familiarity(self, row: ArrayLike) -> float:
        """Return the share of held-out ones that lie as far off or further, in 0..1."""
        worst = max(self.distances(row).values())
        if worst >= self.quantiles[-1]:
            # further than any: goes on falling, so that degrees of strangeness stay apart
            return float(UNKNOWN * self.quantiles[-1] / worst * (1 - 1e-9))
        return float(np.clip(1.0 - np.interp(worst, self.quantiles, LEVELS), UNKNOWN, 1.0))

    def widened(self, factor: float | Vector) -> Reference:
        """Return one for which windows must lie so many times further off to be as unusual.

        There may be a factor for each of `LEVELS`.
        """
        return replace(self, quantiles=self.quantiles * factor)

    def about(self, mean: Vector, sd: Vector, count: int) -> Reference:
        """Return one of the same correlations and distances about other means, spread otherwise."""
        low, high = mean - TWO_SIDED_95 * sd, mean + TWO_SIDED_95 * sd
        return replace(self, mean=mean, sd=sd, low=low, high=high, count=count)

    def deviations(self, row: ArrayLike) -> Vector:
        """Return how many standard deviations each statistic lies above its mean."""
        return (np.asarray(row, np.float64) - self.mean) / self.sd

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` restores to within rounding."""
        upper = np.triu_indices(len(NAMES), 1)
        return {
            "statistics": list(NAMES),
            "count": self.count,
            "usual": {part: round(value, 5) for part, value in self.usual.items()},
            **{name: np.round(getattr(self, name), 5).tolist() for name in _VECTORS},
            "correlation": np.round(self.correlation[upper], 4).tolist(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reference:
        """Restore what `to_json` gave.

        Raises
        ------
        ValueError
            If an entry is missing, of another kind or size, or of statistics unknown here.
        """
        try:
            if list(values["statistics"]) != list(NAMES):
                raise ValueError("it is of other statistics")
            sizes = {name: len(NAMES) for name in _VECTORS} | {"quantiles": len(LEVELS)}
            vectors = {name: vector_of(values[name], size) for name, size in sizes.items()}
            upper = np.triu_indices(len(NAMES), 1)
            correlation = np.eye(len(NAMES))
            correlation[upper] = vector_of(values["correlation"], len(upper[0]))
            correlation = correlation + np.triu(correlation, 1).T
            usual = {part: float(values["usual"][part]) for part in PARTS}
            count = int(values["count"])
        except (KeyError, TypeError, OverflowError):
            raise ValueError("it is incomplete, or holds no numbers") from None
        if not (vectors["sd"] > 0).all() or not all(0 < u < FARTHEST for u in usual.values()):
            raise ValueError("its spreads must be above 0")
        rising(vectors["quantiles"])
        if np.linalg.eigvalsh(correlation)[0] <= 0:
            raise ValueError("its correlations are none")
        return cls(correlation=correlation, usual=usual, count=count, **vectors)


_VECTORS = ("mean", "sd", "low", "high", "quantiles")


def vector_of(values: Any, size: int) -> Vector:
    """Return so many finite numbers; ValueError where they are none."""
    found = np.asarray(values, np.float64)
    if found.shape != (size,) or not np.isfinite(found).all():
        raise ValueError(f"it must have {size} finite numbers")
    return found


def rising(quantiles: Vector) -> Vector:
    """Return quantiles of distances; ValueError where they are none."""
    if (np.diff(quantiles) < 0).any() or quantiles[-1] <= 0:
        raise ValueError("its quantiles must rise")
    return quantiles


@dataclass(frozen=True)
class _Shape:
    """Mean, spread and correlations: what distances are measured with."""

    mean: Vector
    sd: Vector
    correlation: Matrix

    @classmethod
    def fit(cls, rows: Matrix) -> _Shape:
        mean, sd = rows.mean(axis=0), np.maximum(rows.std(axis=0), LEAST_SD)
        standard = (rows - mean) / sd
        correlation = standard.T @ standard / len(rows)
        correlation *= 1 - SHRINKAGE
        np.fill_diagonal(correlation, 1.0)
        return cls(mean, sd, correlation)

    def distances(self, rows: Matrix) -> Matrix:
        """Return Mahalanobis' distance of each row by group (n, len(PARTS))."""
        standard = (rows - self.mean) / self.sd
        found = []
        for part in PARTS.values():
            at = standard[:, part]
            solved = np.linalg.solve(self.correlation[part, part], at.T).T
            found.append(np.sqrt(np.maximum((at * solved).sum(axis=1), 0)))
        return np.stack(found, axis=1)

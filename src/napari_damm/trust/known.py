"""What a model file says of the images that the model knows.

It stands under `trust` on the card, a few kilobytes of numbers; a model without it is not assessed,
nor is one that says it of statistics which were taken otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_damm.trust.reference import (
    FEWEST,
    LEAST_SD,
    LEVELS,
    Reference,
    Vector,
    rising,
    vector_of,
)
from napari_damm.trust.statistics import NAMES

KEY = "trust"
VERSION = 2
"""Of the statistics: at first, when no version was said, they were of whole windows."""
LONGEST_TEXT = 200
MOST_ALLOWED = 3.0
BASE_COUNTS_AS, OF_ONE_STUDY = 5, 0.75
"""Of few sections: as so many more counts what the base model knows of how far sections differ.
Those of one study differ by less than all that it was trained on. Chosen among 2 to 8 and 0.5 to 1
on seven real fields and nonsense made of them (`tests/benchmarks/trust_of_few.py`): with one known
field, the largest spread of those tried with which a pixel size off twofold is always flagged."""
INDEPENDENT = 4
"""Windows of a small section that do not overlap: their mean varies by chance."""


@dataclass(frozen=True)
class OfMany:
    """How far sections differ, as a model says that knows many; handed on to all made from it.

    `sd` is that of whole sections (len(NAMES),), `quantiles` are those of windows, of so many
    sections (`count`). What a model of few says itself would drift from training to training.
    """

    sd: Vector
    quantiles: Vector
    count: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the card."""
        rounded = {name: np.round(getattr(self, name), 5).tolist() for name in ("sd", "quantiles")}
        return {**rounded, "count": self.count}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OfMany:
        """Restore what `to_json` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it cannot be used.
        """
        sd = vector_of(values["sd"], len(NAMES))
        quantiles = rising(vector_of(values["quantiles"], len(LEVELS)))
        count = int(values["count"])
        if not (sd > 0).all() or count < FEWEST:
            raise ValueError("what it has of its base is none")
        return cls(sd, quantiles, count)


@dataclass(frozen=True)
class Known:
    """Distributions of statistics of single windows, and of whole sections (means of windows).

    `fitted_on` says in words what they were fitted on; `of_many`, where these are few sections, how
    far others may differ.
    """

    windows: Reference
    sections: Reference
    fitted_on: str
    of_many: OfMany | None = None

    @classmethod
    def fit(cls, sections: Sequence[Vector], fitted_on: str, base: Known | None = None) -> Known:
        """Fit both to the statistics of sections, each (windows, statistics).

        Fewer than `Reference`'s fewest sections do not tell how far others may lie off. Then that
        is taken from the `base` that the model was trained from, about the mean of these few; of a
        base that knew few itself, from what it had of its own. Without that, whole sections are
        taken to spread as their windows do, and windows of others are expected further off than
        those of these few lie from each other.

        Raises
        ------
        ValueError
            If there are too few windows.
        """
        if base is not None and base.tells_of_others and len(sections) < FEWEST:
            return _of_few(sections, fitted_on, base)
        of = np.concatenate([np.full(len(rows), k) for k, rows in enumerate(sections)])
        windows = Reference.fit(np.concatenate(sections), of)
        if len(sections) < FEWEST:
            return cls(windows.widened(_allowance(len(sections))), windows, fitted_on)
        means = np.stack([rows.mean(axis=0) for rows in sections])
        return cls(windows, Reference.fit(means, np.arange(len(means))), fitted_on)

    @property
    def tells_of_others(self) -> bool:
        """Whether it says how far sections differ: few do not, by themselves."""
        return self.of_many is not None or self.sections.count >= FEWEST

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the card."""
        return {
            "version": VERSION,
            "windows": self.windows.to_json(),
            "sections": self.sections.to_json(),
            "fitted_on": self.fitted_on[:LONGEST_TEXT],
            **({} if self.of_many is None else {"of_many": self.of_many.to_json()}),
        }

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Known | None:
        """Return what a card says; None where it says nothing that can be compared.

        Raises
        ------
        ValueError
            If it cannot be used.
        """
        values = card.get(KEY)
        if values is None:
            return None
        try:
            if values.get("version") != VERSION:
                return None
            windows, sections = (
                Reference.from_json(values[name]) for name in ("windows", "sections")
            )
            said = str(values.get("fitted_on", ""))[:LONGEST_TEXT]
            of_many = values.get("of_many")
            return cls(
                windows, sections, said, None if of_many is None else OfMany.from_json(of_many)
            )
        except (AttributeError, KeyError, TypeError):
            said = "it is incomplete"
        except ValueError as error:
            said = str(error)
        raise ValueError(
            f"what the model says of images that it knows is damaged ({said}): get the model again"
        )


def _of_few(sections: Sequence[Vector], fitted_on: str, base: Known) -> Known:
    """Return what is known of few sections: their mean, and a spread that is the base's in part.

    The variance between sections is that of an inverse chi-squared prior with `BASE_COUNTS_AS`
    degrees of freedom, and of one more section than these (Gelman et al., Bayesian Data Analysis,
    section 3.3); within sections it is their own. That variance is uncertain, so that single places
    lie further off than normal ones would, the strangest by most; of whole sections that would miss
    nonsense, and spare no good ones.
    """
    count = len(sections)
    many = base.of_many
    if many is None:
        many = OfMany(base.sections.sd, base.windows.quantiles, base.windows.count)
    means = np.stack([rows.mean(axis=0) for rows in sections])
    mean = means.mean(axis=0)
    variances, windows_of = [rows.var(axis=0) for rows in sections], [*map(len, sections)]
    within = np.average(variances, axis=0, weights=windows_of)
    of_base = (OF_ONE_STUDY * many.sd) ** 2
    seen = ((means - mean) ** 2).sum(axis=0)
    between = (BASE_COUNTS_AS * of_base + seen) / (BASE_COUNTS_AS + count - 1) * (1 + 1 / count)
    windows, whole = (
        like.about(mean, np.maximum(np.sqrt(between + share * within), LEAST_SD), count)
        for like, share in ((base.windows, 1.0), (base.sections, 1 / INDEPENDENT))
    )
    tails = _heavier_tails(BASE_COUNTS_AS + count - 1, many.count)
    windows = replace(windows, quantiles=many.quantiles * tails)
    return Known(windows, whole, fitted_on, many)


def _heavier_tails(freedom: int, known: int) -> Vector:
    """Return by what Student's t is wider than the normal distribution at `LEVELS`.

    At the last, of the furthest of so many `known` sections.
    """
    from scipy import stats

    upper = (1 + LEVELS.clip(LEVELS[1], 1 - 0.5 / known)) / 2
    ratios: Vector = stats.t.ppf(upper, freedom) / stats.norm.ppf(upper)
    return ratios


def _allowance(sections: int) -> float:
    """Return by what a further section may lie off more than the spread of so few says.

    Student's t against the normal distribution, two-sided at 95 %, for one more of them.
    """
    from scipy import stats  # only where a model's images are fitted: it is large

    if sections < 2:
        return MOST_ALLOWED
    usual = stats.t.ppf(0.975, sections - 1) * math.sqrt(1 + 1 / sections)
    return min(float(usual / stats.norm.ppf(0.975)), MOST_ALLOWED)

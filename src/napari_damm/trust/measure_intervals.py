"""How far a measure of a section (how far particles reach, say) may lie from its truth.

What 90 % of sections that nothing was trained on were off by: split conformal, by sections. Those
with many particles may be off by more than those with few, so that the limits may differ by what
was predicted of them: fitted in parts of equally many sections each, and linear between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_damm.trust.widths import LEVEL, within

ENOUGH_TO_CONTROL = 20
PARTS = 3
RATIO, DIFFERENCE = "ratio", "difference"
MOST_OFF = 1e9
LONGEST_NAME = 50
MOST_PARTS = 20
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class MeasureInterval:
    """By what 90 % of sections were off in a measure: true over predicted, or true minus predicted.

    Attributes
    ----------
    low, high
        Of each part of the sections.
    kind
        "ratio" or "difference".
    count
        Number of sections.
    by
        The measure by whose predicted value they were parted; "" is none: there is one part.
    at
        That value in the middle of each part; between them limits are linear, beyond constant.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    kind: str
    count: int
    by: str = ""
    at: tuple[float, ...] = (0.0,)

    def around(self, value: ArrayLike, where: ArrayLike | None = None) -> tuple[Vector, Vector]:
        """Return low and high, in its shape, of what was predicted to be `value`.

        `where` is the value of the measure `by`; where it is not known the widest limits hold.
        """
        predicted = np.asarray(value, np.float64)
        low, high = np.asarray(min(self.low)), np.asarray(max(self.high))
        if where is not None:
            here = np.asarray(where, np.float64)
            low, high = np.interp(here, self.at, self.low), np.interp(here, self.at, self.high)
        if self.kind == RATIO:
            return predicted * low, predicted * high
        return predicted + low, predicted + high

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> MeasureInterval:
        """Read what a card says; one of a model made earlier has numbers in place of lists.

        Raises
        ------
        ValueError, KeyError, TypeError
            If it cannot be used.
        """
        kind, by = values["kind"], str(values.get("by", ""))[:LONGEST_NAME]
        if kind not in (RATIO, DIFFERENCE):
            raise ValueError(f"kind must be {RATIO} or {DIFFERENCE}")
        low, high, at = (
            tuple(within(each, -MOST_OFF, MOST_OFF) for each in _listed(limits))
            for limits in (values["low"], values["high"], values.get("at", 0.0))
        )
        if not 0 < len(low) == len(high) == len(at) <= MOST_PARTS or (np.diff(at) <= 0).any():
            raise ValueError("each part must have low and high, and they must rise")
        if any(least > most for least, most in zip(low, high, strict=True)):
            raise ValueError("low must be at most high")
        if not by and len(at) > 1:
            raise ValueError("parts must be by a measure")
        return cls(low, high, kind, int(values["count"]), by, at)


def fit_measure(
    true: ArrayLike,
    predicted: ArrayLike,
    kind: str,
    level: float = LEVEL,
    by: tuple[str, ArrayLike] = ("", ()),
) -> MeasureInterval | None:
    """Return the interval of a measure from sections whose truth is known; None of too few.

    Of n sections of a part the ceil((n + 1) 0.95)-th largest, and the same from below; the
    predicted value itself is always inside. At another `level` than 90 % it is wider or narrower.

    Parameters
    ----------
    true, predicted
        The measure (n,) of each section; NaN is none.
    kind
        "ratio" or "difference".
    level
        Of the interval, from 0 to 1.
    by
        The name of a measure, and its predicted value in each section (n,), to part them by.
    """
    t, p = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    name, where = by[0], np.asarray(by[1], np.float64) if by[0] else np.zeros(t.size)
    there = np.isfinite(t) & np.isfinite(p) & np.isfinite(where)
    if kind == RATIO:
        there &= (t > 0) & (p > 0)
    t, p, where = t[there], p[there], where[there]
    if t.size < ENOUGH_TO_CONTROL:
        return None
    off = t / p if kind == RATIO else t - p
    same = 1.0 if kind == RATIO else 0.0  # what is predicted lies inside, however biased it is
    at, low, high = [], [], []
    for part in _parts(where):
        each = np.sort(off[part])
        k = min(math.ceil((each.size + 1) * (1 + level) / 2), each.size)
        low.append(float(f"{min(each[-k], same):.5g}"))
        high.append(float(f"{max(each[k - 1], same):.5g}"))
        at.append(float(np.median(where[part])))
    return MeasureInterval(
        tuple(low), tuple(high), kind, int(t.size), name if len(at) > 1 else "", tuple(at)
    )


def fit_factor(off: ArrayLike) -> float | None:
    """Return what intervals are widened by so that 90 % of sections lie within; None of too few.

    `off` is how far each section's truth lies from the middle of its interval, in half widths.
    Split conformal: of n sections the ceil((n + 1) 0.9)-th smallest.
    """
    found = np.asarray(off, np.float64)
    found = np.sort(found[np.isfinite(found)])
    if found.size < ENOUGH_TO_CONTROL:
        return None
    k = min(math.ceil((found.size + 1) * LEVEL), found.size)
    return float(f"{found[k - 1]:.5g}")


def _parts(where: Vector) -> list[NDArray[np.bool_]]:
    """Part values evenly by rank; one part where they are too few, or their middles do not rise."""
    count = min(PARTS, where.size // ENOUGH_TO_CONTROL)
    rank = np.argsort(np.argsort(where, kind="stable"), kind="stable")
    parts = [rank * count // where.size == k for k in range(count)]
    middles = [np.median(where[part]) for part in parts]
    if (np.diff(middles) <= 0).any():
        return [np.ones(where.size, np.bool_)]
    return parts


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]

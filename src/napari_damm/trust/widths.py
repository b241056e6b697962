"""How far a pixel of a map is off, by the intensity that was predicted.

1. Intensities are parted geometrically, since most of a map is dark; parts that few pixels have are
   joined to a neighbour.
2. Half the width of its interval is the 90th percentile of the absolute error; between parts,
   linearly.

No shape is assumed: where maps are bright errors may grow or shrink.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

KEY = "errors"
"""On the card of a model that is not calibrated, and in the records of its jobs."""
LEVEL = 0.9
NORMAL_90 = 1.6448536269514722
"""Half width of the normal distribution's 90 % interval, in standard deviations."""
EDGES = 0.05 * 1.25 ** np.arange(14)
FEWEST_OF = 0.01
"""Share of the pixels that a part must have."""
DARK, BRIGHTEST = 0.05, 1.5
NARROWEST, WIDEST = 1e-3, 10.0
MOST_PARTS = 200
UP_TO, STEPS = 2, 4096
"""Highest intensity that has a width of its own, and how many of them lie between 0 and 1."""
Floats = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Widths:
    """Half widths of the 90 % interval at rising intensities; before and after them, constant."""

    intensities: tuple[float, ...]
    half: tuple[float, ...]

    @classmethod
    def fit(cls, predicted: Vector, error: Vector) -> Widths:
        """Fit them to what pixels (n,) were predicted to be, and what they were off by (n,)."""
        predicted, off = np.clip(predicted, 0, UP_TO), np.abs(error).clip(max=WIDEST)
        part = np.searchsorted(_edges(predicted), predicted)
        of = [part == k for k in np.unique(part)]
        at = [float(np.median(predicted[here])) for here in of]
        return cls(tuple(at), tuple(float(np.quantile(off[here], LEVEL)) for here in of))

    @classmethod
    def of_weights(cls, a: float, b: float, c: float) -> Widths:
        """Return those of a spread of errors log sd = a + b log(x + 0.05) + c x, x up to 1.5."""
        x = np.linspace(0, BRIGHTEST, 151)
        half = NORMAL_90 * np.exp(np.clip(a + b * np.log(x + DARK) + c * x, -20, 20))
        return cls(tuple(x.tolist()), tuple(half.tolist()))

    def at(self, predicted: ArrayLike, factor: float = 1.0) -> Floats:
        """Return how far the interval reaches above and below a map, in its shape."""
        table = np.clip(self._table * np.float32(factor), NARROWEST, WIDEST)
        x = np.minimum(np.asarray(predicted, np.float32), np.float32(UP_TO))
        step = (x * np.float32(STEPS)).astype(np.intp)
        found: Floats = table.take(step, mode="clip")
        return found

    @cached_property
    def _table(self) -> Floats:
        """Half widths at fine steps of intensity: ten times as fast as to interpolate them."""
        middles = (np.arange(UP_TO * STEPS) + 0.5) / STEPS
        return np.interp(middles, self.intensities, self.half).astype(np.float32)

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Widths | None:
        """Return the errors that a card (or a job record) speaks of; None where it does not.

        Raises
        ------
        ValueError
            If it cannot be used.
        """
        if card.get(KEY) is None:
            return None
        try:
            return cls.from_json(card[KEY])
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            raise ValueError(
                "what the model says of its errors is damaged, or of another version: get the "
                "model again"
            ) from None

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the card."""
        return {
            "intensities": list(self.intensities),  # not rounded: two would become one
            "half_widths": [float(f"{value:.5g}") for value in self.half],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Widths:
        """Restore what `to_json` gave, or what earlier versions wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it cannot be used.
        """
        if "weights" in values:
            a, b, c = (within(weight, -20, 20) for weight in values["weights"])
            return cls.of_weights(a, b, c)
        at = tuple(within(value, -WIDEST, WIDEST) for value in values["intensities"])
        half = tuple(within(value, 0, WIDEST) for value in values["half_widths"])
        if not 0 < len(at) == len(half) <= MOST_PARTS or (np.diff(at) <= 0).any():
            raise ValueError("intensities must rise, each with a half width")
        return cls(at, half)


def _edges(predicted: Vector) -> Vector:
    """Return edges between parts of which each has enough of the pixels."""
    edges = list(EDGES)
    while edges:
        counts = np.bincount(np.searchsorted(edges, predicted), minlength=len(edges) + 1)
        least = int(counts.argmin())
        if counts[least] >= FEWEST_OF * predicted.size:
            break
        # joined to the smaller of its neighbours
        below = least > 0 and (least == len(edges) or counts[least - 1] <= counts[least + 1])
        edges.pop(least - 1 if below else least)
    return np.asarray(edges, np.float64)


def within(value: Any, low: float, high: float) -> float:
    """Return a number; ValueError where it is none, or lies outside."""
    found = float(value)
    if not low <= found <= high:
        raise ValueError(f"a number must be in {low:g}..{high:g}, got {found:g}")
    return found

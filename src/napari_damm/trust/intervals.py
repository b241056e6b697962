"""How far the truth may lie from an expected map: intervals that hold on what they were fitted to.

1. The error of a pixel hangs on the intensity that was predicted (`widths`).
2. One factor widens that until 90 % of the truth lies inside, on average over sections (or windows)
   that nothing was trained on: conformal risk control, whose sections and not pixels are the
   subjects (arXiv 2208.02814). From `ENOUGH_TO_CONTROL` sections on it allows for their number.
3. A measure of a section (how far particles reach, say) has an interval of its own: what 90 % of
   such sections were off by.

All of it is a few numbers on the model's card. They say nothing about other tissue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_damm.trust.widths import LEVEL, Floats, Vector, Widths, within

KEY = "intervals"
FEWEST = 8
"""Windows or sections from which intervals can be fitted at all."""
ENOUGH_TO_CONTROL = 20
FITTED_SAMPLES = 8
"""With so many of each section it was fitted what the spread of samples is widened by. Two tell
their spread so poorly that a nominal 90 % interval of theirs would hold 69 % (of normal values, by
Student's t)."""
PIXELS_EACH = 4000
LONGEST_TEXT = 200
RATIO, DIFFERENCE = "ratio", "difference"
Pair = tuple[ArrayLike, ArrayLike]


@dataclass(frozen=True)
class MeasureInterval:
    """By what 90 % of sections were off in a measure: true over predicted, or true minus predicted.

    `count` is the number of sections.
    """

    low: float
    high: float
    kind: str
    count: int

    def around(self, value: float) -> tuple[float, float]:
        """Return the interval of what was predicted to be `value`."""
        if self.kind == RATIO:
            return value * self.low, value * self.high
        return value + self.low, value + self.high


@dataclass(frozen=True)
class Intervals:
    """Nominal 90 % intervals of an expected map, and of measures of it.

    Attributes
    ----------
    widths
        How far pixels are off, by their predicted intensity.
    factor
        By which that is widened.
    count, unit
        On how many "sections" or "windows" they were fitted.
    truth
        What lies inside: the "noise-free field", or the "image as taken".
    fitted_on
        In words.
    measures
        By name, as in `analysis`.
    samples
        Of measures, by name: what the spread of several samples is widened by.
    measures_fitted_on, samples_fitted_on
        In words, where these were fitted on other sections than maps.
    """

    widths: Widths
    factor: float
    count: int
    unit: str
    truth: str
    fitted_on: str
    measures: Mapping[str, MeasureInterval] = field(default_factory=dict)
    samples: Mapping[str, float] = field(default_factory=dict)
    measures_fitted_on: str = ""
    samples_fitted_on: str = ""

    @classmethod
    def fit(cls, pairs: Sequence[Pair], unit: str, truth: str, fitted_on: str) -> Intervals:
        """Fit them to sections (or windows) of predicted and true maps, of one shape each.

        Raises
        ------
        ValueError
            If there are fewer than `FEWEST`, or values are not finite.
        """
        if len(pairs) < FEWEST:
            raise ValueError(f"there must be at least {FEWEST} {unit}, got {len(pairs)}")
        drawn = [_sample(*pair) for pair in pairs]
        widths = Widths.fit(*(np.concatenate(each) for each in zip(*drawn, strict=True)))
        # the factor that a share of a section's pixels needs, section by section
        needed = [np.sort(np.abs(error) / widths.at(predicted)) for predicted, error in drawn]
        count = len(pairs)
        missed = 1 - LEVEL
        if count >= ENOUGH_TO_CONTROL:
            missed -= LEVEL / count
        factor = _least_factor(needed, missed)
        return cls(widths, factor, count, unit, truth, fitted_on[:LONGEST_TEXT])

    def half_width(self, predicted: ArrayLike) -> Floats:
        """Return how far the 90 % interval reaches above and below a map, in its shape."""
        return self.widths.at(predicted, self.factor)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the card, and for the record of a job."""
        plain = asdict(self)
        del plain["widths"]
        plain["factor"] = round(self.factor, 4)
        return {"level": LEVEL, **self.widths.to_json(), **plain}

    @classmethod
    def of_card(cls, card: Mapping[str, Any]) -> Intervals | None:
        """Return what a card (or a job record) says; None where it says nothing.

        Raises
        ------
        ValueError
            If it cannot be used.
        """
        values = card.get(KEY)
        if values is None:
            return None
        try:
            widths = Widths.from_json(values)
            measures = {
                str(name): _measure_interval(each)
                for name, each in dict(values.get("measures", {})).items()
            }
            samples = {
                str(name): within(factor, 0, 1000)
                for name, factor in dict(values.get("samples", {})).items()
            }
            unit, truth, fitted_on = (
                str(values[name])[:LONGEST_TEXT] for name in ("unit", "truth", "fitted_on")
            )
            factor, count = within(values["factor"], 0, 1000), int(values["count"])
            others = (
                str(values.get(name, ""))[:LONGEST_TEXT]
                for name in ("measures_fitted_on", "samples_fitted_on")
            )
            return cls(widths, factor, count, unit, truth, fitted_on, measures, samples, *others)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            raise ValueError(
                "what the model says of its intervals is damaged, or of another version: get the "
                "model again"
            ) from None


def fit_measure(
    true: ArrayLike, predicted: ArrayLike, kind: str, level: float = LEVEL
) -> MeasureInterval | None:
    """Return the interval of a measure from sections whose truth is known; None of too few.

    Split conformal: of n sections the ceil((n + 1) 0.95)-th largest, and the same from below; the
    predicted value itself is always inside. At another `level` than 90 % it is wider or narrower.
    """
    t, p = np.asarray(true, np.float64), np.asarray(predicted, np.float64)
    there = np.isfinite(t) & np.isfinite(p)
    if kind == RATIO:
        there &= (t > 0) & (p > 0)
    t, p = t[there], p[there]
    if t.size < ENOUGH_TO_CONTROL:
        return None
    off = np.sort(t / p if kind == RATIO else t - p)
    k = min(math.ceil((t.size + 1) * (1 + level) / 2), t.size)
    same = 1.0 if kind == RATIO else 0.0  # what is predicted lies inside, however biased it is
    low, high = (float(f"{edge:.5g}") for edge in (min(off[-k], same), max(off[k - 1], same)))
    return MeasureInterval(low, high, kind, int(t.size))


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


def _sample(predicted: ArrayLike, truth: ArrayLike) -> tuple[Vector, Vector]:
    """Return some predicted values, spread evenly over the map, and what they are off by."""
    p, t = (np.asarray(image, np.float64).ravel() for image in (predicted, truth))
    if p.shape != t.shape or not p.size:
        raise ValueError(f"maps must be of one size, got {p.size} and {t.size} pixels")
    chosen = np.random.default_rng(0).permutation(p.size)[:PIXELS_EACH]
    p, t = p[chosen], t[chosen]
    if not (np.isfinite(p).all() and np.isfinite(t).all()):
        raise ValueError("maps must be finite")
    return p, t - p


def _least_factor(needed: Sequence[Vector], missed: float) -> float:
    """Return the least factor with which sections miss at most this share on average."""
    low, high = 0.0, float(max(each[-1] for each in needed)) + 1e-9
    for _ in range(50):
        middle = (low + high) / 2
        shares = [1 - np.searchsorted(each, middle, side="right") / len(each) for each in needed]
        low, high = (low, middle) if float(np.mean(shares)) <= missed else (middle, high)
    return high


def _measure_interval(values: Mapping[str, Any]) -> MeasureInterval:
    kind = values["kind"]
    if kind not in (RATIO, DIFFERENCE):
        raise ValueError(f"kind must be {RATIO} or {DIFFERENCE}")
    low, high = (within(values[name], -1e9, 1e9) for name in ("low", "high"))
    return MeasureInterval(low, high, kind, int(values["count"]))

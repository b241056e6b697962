"""How far the truth may lie from an expected map: intervals that hold on what they were fitted to.

1. The error of a pixel spreads with the predicted intensity x: log sd = a + b log(x + 0.05) + c x,
   by greatest likelihood.
2. One factor widens it until 90 % of the truth lies inside, on average over sections (or windows)
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
from numpy.typing import ArrayLike, NDArray

KEY = "intervals"
LEVEL = 0.9
NORMAL_90 = 1.6448536269514722
"""Half width of the normal distribution's 90 % interval, in standard deviations."""
FEWEST = 8
"""Windows or sections from which intervals can be fitted at all."""
ENOUGH_TO_CONTROL = 20
DARK = 0.05
BRIGHTEST = 1.5
PIXELS_EACH = 4000
NARROWEST, WIDEST = 1e-3, 10.0
LONGEST_TEXT = 200
RATIO, DIFFERENCE = "ratio", "difference"
Floats = NDArray[np.float32]
Vector = NDArray[np.float64]
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
    weights
        a, b and c of the spread.
    factor
        By which the normal interval is widened.
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

    weights: tuple[float, float, float]
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
        predicted, error = (np.concatenate(each) for each in zip(*drawn, strict=True))
        weights = _most_likely(_features(predicted), error)
        # the factor that a share of a section's pixels needs, section by section
        needed = [
            np.sort(np.abs(e) / (NORMAL_90 * np.exp(_features(p) @ weights))) for p, e in drawn
        ]
        count = len(pairs)
        missed = 1 - LEVEL
        if count >= ENOUGH_TO_CONTROL:
            missed -= LEVEL / count
        factor = _least_factor(needed, missed)
        a, b, c = (float(weight) for weight in weights)
        return cls((a, b, c), factor, count, unit, truth, fitted_on[:LONGEST_TEXT])

    def half_width(self, predicted: ArrayLike) -> Floats:
        """Return how far the 90 % interval reaches above and below a map, in its shape."""
        x = np.asarray(predicted, np.float32)
        a, b, c = (np.float32(weight) for weight in self.weights)
        x = np.clip(x, np.float32(0), np.float32(BRIGHTEST))
        spread = np.exp(a + b * np.log(x + np.float32(DARK)) + c * x)
        width: Floats = np.float32(NORMAL_90 * self.factor) * spread
        return width.clip(NARROWEST, WIDEST)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the card, and for the record of a job."""
        plain = asdict(self)
        plain["weights"] = [round(weight, 5) for weight in self.weights]
        plain["factor"] = round(self.factor, 4)
        return {"level": LEVEL, **plain}

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
            a, b, c = (_number(weight, -20, 20) for weight in values["weights"])
            measures = {
                str(name): _measure_interval(each)
                for name, each in dict(values.get("measures", {})).items()
            }
            samples = {
                str(name): _number(factor, 0, 1000)
                for name, factor in dict(values.get("samples", {})).items()
            }
            unit, truth, fitted_on = (
                str(values[name])[:LONGEST_TEXT] for name in ("unit", "truth", "fitted_on")
            )
            factor, count = _number(values["factor"], 0, 1000), int(values["count"])
            others = (
                str(values.get(name, ""))[:LONGEST_TEXT]
                for name in ("measures_fitted_on", "samples_fitted_on")
            )
            return cls((a, b, c), factor, count, unit, truth, fitted_on, measures, samples, *others)
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


def _features(predicted: Vector) -> Vector:
    x = np.clip(predicted, 0, BRIGHTEST)
    return np.stack([np.ones_like(x), np.log(x + DARK), x], axis=-1)


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


def _most_likely(features: Vector, error: Vector) -> Vector:
    """Return the weights of log sd under which these errors are likeliest."""
    from scipy import optimize  # only where intervals are fitted: it is large

    def cost(weights: Vector) -> tuple[float, Vector]:
        log_sd = np.clip(features @ weights, -20, 20)
        square = error**2 * np.exp(-2 * log_sd)
        return float(np.mean(log_sd + square / 2)), features.T @ (1 - square) / len(error)

    start = np.array([math.log(max(float(error.std()), 1e-4)), 0.0, 0.0])
    found: Vector = optimize.minimize(cost, start, jac=True, method="BFGS").x
    return np.clip(found, -20, 20)


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
    low, high = (_number(values[name], -1e9, 1e9) for name in ("low", "high"))
    return MeasureInterval(low, high, kind, int(values["count"]))


def _number(value: Any, low: float, high: float) -> float:
    found = float(value)
    if not low <= found <= high:
        raise ValueError(f"a number must be in {low:g}..{high:g}, got {found:g}")
    return found

"""How far the truth may lie from an expected map: intervals that hold on what they were fitted to.

1. The error of a pixel hangs on the intensity that was predicted (`widths`).
2. One factor widens that until 90 % of the truth lies inside, on average over sections (or windows)
   that nothing was trained on: conformal risk control, whose sections and not pixels are the
   subjects (arXiv 2208.02814). From `ENOUGH_TO_CONTROL` sections on it allows for their number.
   Windows of few sections do not tell how others differ: see `few_sections`.
3. A measure of a section has an interval of its own (`measure_intervals`).

All of it is a few numbers on the model's card. They say nothing about other tissue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from napari_damm.trust.few_sections import factor_of_few
from napari_damm.trust.measure_intervals import ENOUGH_TO_CONTROL, MeasureInterval
from napari_damm.trust.widths import LEVEL, Floats, Vector, Widths, within

KEY = "intervals"
FEWEST = 8
"""Windows or sections from which intervals can be fitted at all."""
FITTED_SAMPLES = 8
"""With so many of each section it was fitted what the spread of samples is widened by. Two tell
their spread so poorly that a nominal 90 % interval of theirs would hold 69 % (of normal values, by
Student's t)."""
OF_FEW = "windows"
"""The unit where sections are too few. Windows of one section are alike, and how sections differ
they do not tell: of real fields the intervals of one field held 24 and 74 % of two others."""
OTHERS_DIFFER = "of other sections less than 90 % may lie inside"
PIXELS_EACH = 4000
LONGEST_TEXT = 200
Pair = tuple[ArrayLike, ArrayLike]


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
    def fit(
        cls,
        pairs: Sequence[Pair],
        unit: str,
        truth: str,
        fitted_on: str,
        of: Sequence[int] | None = None,
    ) -> Intervals:
        """Fit them to sections (or windows) of predicted and true maps, of one shape each.

        `of` says of which section each window is: where these are few (`few_sections`).

        Raises
        ------
        ValueError
            If there are fewer than `FEWEST`, or values are not finite.
        """
        if len(pairs) < FEWEST:
            raise ValueError(f"there must be at least {FEWEST} {unit}, got {len(pairs)}")
        drawn = [_sample(*pair) for pair in pairs]
        widths = Widths.fit(*(np.concatenate(each) for each in zip(*drawn, strict=True)))
        if of is not None:
            off: dict[int, list[Vector]] = {}
            for section, (predicted, error) in zip(of, drawn, strict=True):
                off.setdefault(section, []).append(np.abs(error) / widths.at(predicted))
            factor = factor_of_few([np.concatenate(each) for each in off.values()])
            return cls(widths, factor, len(pairs), unit, truth, fitted_on[:LONGEST_TEXT])
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
                str(name): MeasureInterval.from_json(each)
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

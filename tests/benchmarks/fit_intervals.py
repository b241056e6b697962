"""Fit a model's 90 % intervals, of maps and of measures, and put them on its card.

Simulated sections of preset internal, of training seeds that the model has not seen, are predicted
(mode expected) and measured, as predicted and as they truly are. What predictions were off by is
written (`napari_damm.trust.intervals`); the weights stay as they are.

    python tests/benchmarks/fit_intervals.py --model FILE [--out FILE] [--sections 60]

A measure's interval is kept only where it holds on tissue of another kind too: on sections of
preset external, of training seeds as well, at least 85 % of the truth must lie inside. The others
are left out, so that nobody is given them. --check does this alone, with what is on the card.

With --judge N they are judged on N reserved sections of each preset instead, and nothing is
written: coverage by section, widths and scores, beside the interval that is the same everywhere.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from fit_trust import write
from measured_sections import MeasuredSection, measure_section, predict_section

from napari_damm import api
from napari_damm.analysis.intervals import OF_PARTICLES
from napari_damm.analysis.measures import MEASURES
from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.trust.intervals import (
    DIFFERENCE,
    KEY,
    LEVEL,
    NORMAL_90,
    RATIO,
    Intervals,
    MeasureInterval,
    fit_measure,
)
from napari_damm.trust.score_rules import interval_score, normal_crps

FIRST_SEED = 9400
"""Below those that are for evaluation, above all that the bundled model and its trust have seen."""
PRESET = "internal"
SIZES = (448, 640)
"""By turns: intensities are relative to the section, and hang a little on how large it is."""
OTHER, LEAST_CARRIED = "external", 0.85
JUDGED = ("internal", "external", "varied")


def fit(model: object, count: int) -> Intervals:
    """Simulate so many sections, predict, measure and fit."""
    pairs, found = [], []
    for k in range(count):
        drawn = simulate_slide(SIZES[k % len(SIZES)], FIRST_SEED + k, PRESET)
        section = measure_section(drawn, model)
        found.append(section)
        pairs.append((np.asarray(section.result.np), section.truth))
        if k % 10 == 9:
            print(f"{k + 1} of {count} sections", flush=True)
    sizes = " and ".join(map(str, SIZES))
    said = f"{count} simulated sections of {sizes} px, {PRESET}, seeds from {FIRST_SEED}"
    fitted = Intervals.fit(pairs, "sections", "noise-free field", said)
    return replace(fitted, measures=fit_measures(found))


def fit_measures(found: list[MeasuredSection]) -> dict[str, MeasureInterval]:
    """Fit the intervals of measures of the particles."""
    made = {}
    for name in OF_PARTICLES:
        true, predicted = (
            [np.nan if (v := report.value(name)) is None else v for report in reports]
            for reports in ([s.true for s in found], [s.predicted for s in found])
        )
        interval = fit_measure(true, predicted, kind(name))
        if interval is not None:
            made[name] = interval
    return made


def carried_over(model: object, known: Intervals, count: int = 20) -> Intervals:
    """Return the intervals without those of measures that do not hold on another kind of tissue."""
    inside: dict[str, list[bool]] = {name: [] for name in known.measures}
    for k in range(count):
        drawn = simulate_slide(SIZES[k % len(SIZES)], FIRST_SEED + k, OTHER)
        section = measure_section(drawn, model)
        for name, interval in known.measures.items():
            true, predicted = section.true.value(name), section.predicted.value(name)
            if true is not None and predicted is not None:
                low, high = interval.around(predicted)
                inside[name].append(low <= true <= high)
    kept = {}
    for name, interval in known.measures.items():
        holds = bool(inside[name]) and float(np.mean(inside[name])) >= LEAST_CARRIED
        print(f"{name}: {sum(inside[name])} of {len(inside[name])} {OTHER}, kept: {holds}")
        if holds:
            kept[name] = interval
    return replace(known, measures=kept)


def kind(name: str) -> str:
    """Return how a measure is off: by a factor, or, of shares and other bounded ones, by a sum."""
    return RATIO if MEASURES[name].unit in ("um", "a.u. um", "a.u.") else DIFFERENCE


def judge(model: object, count: int, size: int) -> None:
    """Print how the intervals of maps do on reserved sections."""
    known = Intervals.of_card(model.card)
    if known is None:
        raise SystemExit("the model's card has no intervals: fit them first")
    widths: list[tuple[str, Callable[[np.ndarray], np.ndarray]]] = [("fitted", known.half_width)]
    constant = constant_width(model, known)
    widths.append(("the same everywhere", lambda image: np.full(image.shape, constant)))
    print("| preset | interval | sections covered 85 to 95 % | mean coverage (least, most) | width "
          "| interval score | CRPS |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for preset in JUDGED:
        sections = [
            predict_section(simulate_slide(size, EVALUATION_SEEDS_FROM + k, preset), model)
            for k in range(count)
        ]
        for name, half_width in widths:
            rows = np.array([judged(np.asarray(r.np), truth, half_width) for r, truth in sections])
            covered, width, score, crps = rows.T
            within = int(((covered >= 0.85) & (covered <= 0.95)).sum())
            print(
                f"| {preset} | {name} | {within} of {count} | {100 * covered.mean():.1f} "
                f"({100 * covered.min():.0f}, {100 * covered.max():.0f}) % | {width.mean():.3f} | "
                f"{score.mean():.3f} | {crps.mean():.4f} |"
            )


def constant_width(model: object, known: Intervals) -> float:
    """Return the interval that is the same everywhere, calibrated on sections like the others."""
    errors = []
    for k in range(20):
        drawn = simulate_slide(448, FIRST_SEED + k, PRESET)
        result, truth = predict_section(drawn, model)
        errors.append(np.abs(truth - np.asarray(result.np)).ravel())
    return float(np.quantile(np.concatenate(errors), LEVEL))


def judged(
    predicted: np.ndarray, truth: np.ndarray, half_width: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, float, float, float]:
    """Return coverage, mean width, interval score and CRPS of a section."""
    half = half_width(predicted)
    covered = float(np.mean(np.abs(truth - predicted) <= half))
    score = interval_score(truth, predicted, half)
    return covered, float(2 * half.mean()), score, normal_crps(truth, predicted, half / NORMAL_90)


def main() -> None:
    """Read the command line, and fit or judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path, help="where it goes; left out: the file itself")
    parser.add_argument("--sections", type=int, default=60)
    parser.add_argument("--size", type=int, default=448, help="of the sections that judge")
    parser.add_argument("--check", action="store_true", help="fit nothing anew")
    parser.add_argument("--judge", type=int, default=0, metavar="N")
    asked = parser.parse_args()
    model = api.load_model(asked.model)
    if asked.judge:
        judge(model, asked.judge, asked.size)
        return
    if asked.model is None:
        parser.error("--model: give the file whose card is to have them")
    made = Intervals.of_card(model.card) if asked.check else fit(model, asked.sections)
    if made is None:
        parser.error(f"--check: {asked.model} has no intervals yet")
    made = carried_over(model, made)
    print(json.dumps(made.to_json(), indent=1))
    write({KEY: made.to_json()}, asked.model, asked.out or asked.model)


if __name__ == "__main__":
    main()

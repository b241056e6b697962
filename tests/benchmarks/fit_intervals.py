"""Fit a model's 90 % intervals, of maps and of measures, and put them on its card.

Simulated sections of preset internal, of training seeds that the model has not seen, are predicted
(mode expected) and measured, as predicted and as they truly are. What predictions were off by is
written (`napari_damm.trust.intervals`); the weights stay as they are.

    python tests/benchmarks/fit_intervals.py --model FILE [--out FILE] [--sections 60]

A measure's interval is kept only where it holds on tissue of another kind too: on sections of
preset external, of training seeds as well, at least 85 % of the truth must lie inside. The others
are left out, so that nobody is given them. --check does this alone, with what is on the card.

With --samples K what is fitted, and added to what is on the card, is by how much the spread of K
samples is to be widened, measure by measure, so that 90 % of sections lie within.

With --judge N they are judged on N reserved sections of each preset instead, and nothing is
written: coverage by section, widths and scores, beside the interval that is the same everywhere
(`interval_scores`). With --unet FILE a regression U-Net is judged in their place, with the spread
of its residuals.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from fit_trust import write
from interval_scores import FIRST_SEED, PRESET, judge, judge_unet
from measured_sections import MeasuredSection, measure_section

from napari_damm import api
from napari_damm.analysis.intervals import OF_PARTICLES
from napari_damm.analysis.measures import MEASURES
from napari_damm.analysis.regions import TISSUE
from napari_damm.simulate import simulate_slide
from napari_damm.trust.intervals import (
    DIFFERENCE,
    KEY,
    RATIO,
    Intervals,
    MeasureInterval,
    fit_factor,
    fit_measure,
)

SIZES = (448, 640)
"""By turns: intensities are relative to the section, and hang a little on how large it is."""
OTHER, LEAST_CARRIED = "external", 0.85


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


def fit_spreads(
    model: object, known: Intervals, samples: int, count: int, kept: int = 20
) -> Intervals:
    """Return the intervals with the factors that widen the spread of samples, by measure.

    Fitted on sections of one preset; left out where 85 % of another are not held.
    """
    config = api.PredictConfig(samples=samples)
    drawn = {
        preset: [
            measure_section(simulate_slide(SIZES[0], FIRST_SEED + k, preset), model, config)
            for k in range(number)
        ]
        for preset, number in ((PRESET, count), (OTHER, kept))
    }
    factors = {}
    for name in OF_PARTICLES:
        off, others = (np.array([in_spreads(s, name) for s in drawn[p]]) for p in (PRESET, OTHER))
        factor = fit_factor(off)
        others = others[np.isfinite(others)]
        if factor is None or not others.size:
            continue
        held = float(np.mean(others <= factor))
        print(f"{name}: times {factor:.2f}; {held:.0%} of {others.size} {OTHER} held")
        if held >= LEAST_CARRIED:
            factors[name] = factor
    return replace(known, samples=factors)


def in_spreads(section: MeasuredSection, name: str) -> float:
    """Return how far the truth is from the mean of the samples, in 90 % half widths; else NaN."""
    true = section.true.value(name)
    row = next(r for r in section.predicted.rows if (r.measure, r.region) == (name, TISSUE))
    if true is None or row.value is None or row.low is None or row.high is None:
        return float("nan")
    # one of the two may be cut at 0 or 100 %
    return abs(true - row.value) / max(row.high - row.value, row.value - row.low, 1e-9)


def main() -> None:
    """Read the command line, and fit or judge."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path, help="where it goes; left out: the file itself")
    parser.add_argument("--sections", type=int, default=60)
    parser.add_argument("--size", type=int, default=448, help="of the sections that judge")
    parser.add_argument("--check", action="store_true", help="fit nothing anew")
    parser.add_argument("--judge", type=int, default=0, metavar="N")
    parser.add_argument("--unet", type=Path, help="a trained regression U-Net (baselines)")
    parser.add_argument("--samples", type=int, default=0, metavar="K")
    asked = parser.parse_args()
    if asked.judge and asked.unet is not None:
        judge_unet(asked.unet, asked.judge, asked.size)
        return
    model = api.load_model(asked.model)
    if asked.judge:
        judge(model, asked.judge, asked.size)
        return
    if asked.model is None:
        parser.error("--model: give the file whose card is to have them")
    again = asked.check or asked.samples
    made = Intervals.of_card(model.card) if again else fit(model, asked.sections)
    if made is None:
        parser.error(f"--check, --samples: {asked.model} has no intervals yet")
    if asked.samples:
        made = fit_spreads(model, made, asked.samples, asked.sections)
    else:
        made = carried_over(model, made)
    print(json.dumps(made.to_json(), indent=1))
    write({KEY: made.to_json()}, asked.model, asked.out or asked.model)


if __name__ == "__main__":
    main()

"""Fit a model's 90 % intervals, of maps and of measures, and put them on its card.

Simulated sections of training seeds that the model has not seen are predicted (mode expected), and
measured as predicted and as they truly are. What predictions were off by is written
(`napari_damm.trust.intervals`); the weights stay as they are.

    python tests/benchmarks/fit_intervals.py --model FILE [--out FILE] [--sections 60]
        [--measured 30] [--rows FILE.jsonl] [--maps | --measures | --held]

Maps are fitted on `--sections` of preset internal and as many of preset external together, measures
on `--measured` of each (`fit_measure_intervals`), so that they allow for not knowing which kind of
tissue it is.
--maps and --measures fit one of the two and leave the other as it is on the card; --rows keeps
what was measured.

With --samples K what is fitted, and added to what is on the card, is by how much the spread of K
samples is to be widened, measure by measure, so that 90 % of sections lie within.

With --held nothing is written: it is said of how many of `--measured` sections of either kind,
which nothing was fitted on, the interval of each measure held the truth; with --samples K, of K
samples.

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
from fit_measure_intervals import SIZES, fit_measures, measured_rows, print_held
from fit_trust import write
from interval_scores import FIRST_SEED, KINDS, OTHER, PRESET, judge, judge_unet
from measured_sections import MeasuredSection, measure_section, predict_section

from napari_damm import api
from napari_damm.analysis.intervals import OF_PARTICLES
from napari_damm.analysis.measures import MEASURES
from napari_damm.analysis.regions import TISSUE
from napari_damm.model.damm import DAMM
from napari_damm.simulate import simulate_slide
from napari_damm.trust.intervals import KEY, Intervals
from napari_damm.trust.measure_intervals import fit_factor

HELD_SEED = 10_700
"""Of reserved sections that nothing is fitted or chosen by."""
OF_MAPS = ("widths", "factor", "count", "unit", "truth", "fitted_on")
LEAST_HELD = 0.85


def fit(model: object, count: int) -> Intervals:
    """Simulate so many sections of each kind, predict them, and fit the intervals of maps."""
    pairs = []
    for k in range(count):
        for preset in KINDS:
            drawn = simulate_slide(SIZES[k % len(SIZES)], FIRST_SEED + k, preset)
            result, truth = predict_section(drawn, model)
            pairs.append((np.asarray(result.np), truth))
        if k % 10 == 9:
            print(f"{k + 1} of {count} sections of each kind", flush=True)
    return Intervals.fit(pairs, "sections", "noise-free field", said_of(count))


def said_of(count: int) -> str:
    """Say what was fitted on."""
    return (
        f"{count} {PRESET} and {count} {OTHER} simulated sections of "
        f"{' and '.join(map(str, SIZES))} px, seeds from {FIRST_SEED}"
    )


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
        if held >= LEAST_HELD:
            factors[name] = factor
    said = (
        f"{count} simulated sections of {SIZES[0]} px, {PRESET}, seeds from {FIRST_SEED}, "
        f"{samples} samples of each"
    )
    return replace(known, samples=factors, samples_fitted_on=said)


def print_held_samples(model: DAMM, samples: int, count: int) -> None:
    """Print the share of sections of each kind that the widened spread of K samples held."""
    config = api.PredictConfig(samples=samples)
    shares = {}
    for preset in KINDS:
        drawn = (simulate_slide(SIZES[0], HELD_SEED + k, preset) for k in range(count))
        sections = [measure_section(each, model, config) for each in drawn]
        off = {name: np.array([in_spreads(s, name) for s in sections]) for name in OF_PARTICLES}
        shares[preset] = {name: each[np.isfinite(each)] for name, each in off.items()}
    print("| measure | " + " | ".join(KINDS) + " |")
    print("|---|" + "---|" * len(KINDS))
    for name in OF_PARTICLES:
        held = [f"{np.sum(each[name] <= 1)} of {each[name].size}" for each in shares.values()]
        print(f"| {MEASURES[name].title} | " + " | ".join(held) + " |")


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
    parser.add_argument("--measured", type=int, default=30, help="of each kind, for measures")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--maps", action="store_true", help="fit those of maps alone")
    only.add_argument("--held", action="store_true", help="judge those of measures")
    only.add_argument("--measures", action="store_true", help="fit those of measures alone")
    parser.add_argument("--rows", type=Path, help="where measures of sections are kept")
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
    known = Intervals.of_card(model.card)
    if known is None and (asked.maps or asked.measures or asked.held or asked.samples):
        parser.error(f"--maps, --measures, --held, --samples: {asked.model} has no intervals yet")
    if asked.held and asked.samples:
        print_held_samples(model, asked.samples, asked.measured)
        return
    if asked.held:
        print_held(known.measures, measured_rows(model, asked.measured, asked.rows, HELD_SEED))
        return
    if asked.maps:
        fitted = fit(model, asked.sections)
        made = replace(known, **{name: getattr(fitted, name) for name in OF_MAPS})
    elif asked.samples:
        made = fit_spreads(model, known, asked.samples, asked.sections)
    else:
        made = known if asked.measures else fit(model, asked.sections)
        measures = fit_measures(measured_rows(model, asked.measured, asked.rows))
        made = replace(made, measures=measures, measures_fitted_on=said_of(asked.measured))
    print(json.dumps(made.to_json(), indent=1))
    write({KEY: made.to_json()}, asked.model, asked.out or asked.model)


if __name__ == "__main__":
    main()

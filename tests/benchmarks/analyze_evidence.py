"""Which measures a predicted map gives: predicted against true, over reserved simulated sections.

    python tests/benchmarks/analyze_evidence.py --sections 20 --size 1024 --preset internal

Each section is predicted from its vessels and nuclei. Measures of the prediction are compared with
those of the noise-free particles, by the same vessels: ICC(3,1), sections being the subjects, the
mean of both, the bias (predicted minus true) with its standard deviation, and, where the model's
card has them, how many true ones lie in the nominal 90 % interval. Each map has its own threshold
(Otsu's).
"""

from __future__ import annotations

import argparse

import numpy as np
from measured_sections import measure_section

from napari_damm import api
from napari_damm.analysis.measures import MEASURES
from napari_damm.simulate import EVALUATION_SEEDS_FROM
from napari_damm.trust.intervals import Intervals
from napari_damm.util import metrics


def main() -> None:
    """Measure the sections and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sections", type=int, default=20)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--preset", default="internal")
    parser.add_argument("--mode", default=None)
    parser.add_argument("--model", default=None)
    asked = parser.parse_args()
    model = api.load_model(asked.model)
    config = api.PredictConfig() if asked.mode is None else api.PredictConfig(mode=asked.mode)
    intervals = Intervals.of_card(model.card)
    known = {} if intervals is None else intervals.measures
    inside: dict[str, list[bool]] = {name: [] for name in MEASURES}
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in MEASURES}
    for seed in range(EVALUATION_SEEDS_FROM, EVALUATION_SEEDS_FROM + asked.sections):
        found = measure_section(api.simulate_slide(asked.size, seed, asked.preset), model, config)
        for name in MEASURES:
            a, b = found.true.value(name), found.predicted.value(name)
            if a is not None and b is not None:
                pairs[name].append((a, b))
                if name in known:
                    low, high = known[name].around(b)
                    inside[name].append(low <= a <= high)
    count = f"{asked.sections} sections of {asked.size} px"
    print(f"{count}, preset {asked.preset}, seeds {EVALUATION_SEEDS_FROM} and up")
    print(
        "| measure | n | ICC(3,1) | true, mean | predicted, mean | bias ± SD | in 90 % interval |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, measure in MEASURES.items():
        covered = f"{100 * np.mean(inside[name]):.0f} %" if inside[name] else "–"
        print(f"{line(measure.title, np.array(pairs[name], float).reshape(-1, 2))} {covered} |")


def line(title: str, pairs: np.ndarray) -> str:
    """Return a row of the table, but for its last column."""
    if len(pairs) < 2:
        return f"| {title} | {len(pairs)} | – | – | – | – |"
    try:
        icc = f"{metrics.icc31(pairs):.2f}"
    except ValueError:
        icc = "–"
    true, predicted = pairs.T
    gap = predicted - true
    return (
        f"| {title} | {len(pairs)} | {icc} | {true.mean():.3g} | {predicted.mean():.3g} | "
        f"{gap.mean():+.3g} ± {gap.std(ddof=1):.2g} |"
    )


if __name__ == "__main__":
    main()

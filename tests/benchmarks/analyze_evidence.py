"""Which measures a predicted map gives: predicted against true, over reserved simulated sections.

    python tests/benchmarks/analyze_evidence.py --sections 20 --size 1024 --preset internal

Each section is predicted from its vessels and nuclei. Measures of the prediction are compared with
those of the noise-free particles, by the same vessels: ICC(3,1), sections being the subjects, the
mean of both, and the bias (predicted minus true) with its standard deviation. Intensities of the
two maps have scales of their own, so each has its own threshold (Otsu's).
"""

from __future__ import annotations

import argparse

import numpy as np

from napari_damm import api
from napari_damm.analysis.measures import MEASURES
from napari_damm.analysis.sources import slide_map
from napari_damm.simulate import EVALUATION_SEEDS_FROM
from napari_damm.slide import Raster, slide_from_arrays
from napari_damm.slide.planes import ArraySource, LazyPlane
from napari_damm.util import metrics

INTENSITIES = ("auc_100", "cell_dose")
"""In the units of a map, which differ: of these the table has the correlation r."""


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
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in MEASURES}
    for seed in range(EVALUATION_SEEDS_FROM, EVALUATION_SEEDS_FROM + asked.sections):
        predicted, true = measure(seed, model, asked)
        for name in MEASURES:
            a, b = true.value(name), predicted.value(name)
            if a is not None and b is not None:
                pairs[name].append((a, b))
    count = f"{asked.sections} sections of {asked.size} px"
    print(f"{count}, preset {asked.preset}, seeds {EVALUATION_SEEDS_FROM} and up")
    print("| measure | n | ICC(3,1) | true, mean | predicted, mean | bias ± SD |")
    print("|---|---|---|---|---|---|")
    for name, measure_ in MEASURES.items():
        print(line(name, measure_.title, np.array(pairs[name], float).reshape(-1, 2)))


def measure(seed: int, model, asked):
    """Return the reports of a section's predicted and of its true map."""
    simulated = api.simulate_slide(asked.size, seed, asked.preset)
    slide = slide_from_arrays(simulated.channels(), simulated.pixel_size_um)
    config = api.PredictConfig() if asked.mode is None else api.PredictConfig(mode=asked.mode)
    *_, finished = api.predict(slide, model, config)
    result = finished.result
    plane = LazyPlane(ArraySource(result.np))
    raster = Raster("predicted", (plane,), result.pixel_size_um, result.origin)
    maps = {"predicted": raster, "true": slide.channel("nanoparticles_true")}
    reports = []
    for name, particles in maps.items():
        layers = api.MapLayers(slide_map(slide, particles, name=name))
        *_, done = api.analyze(layers)
        reports.append(done.result)
    return reports


def line(name: str, title: str, pairs: np.ndarray) -> str:
    """Return a row of the table."""
    if len(pairs) < 2:
        return f"| {title} | {len(pairs)} | – | – | – | – |"
    try:
        own_units = name in INTENSITIES
        icc = f"r {metrics.pearson_r(*pairs.T):.2f}" if own_units else f"{metrics.icc31(pairs):.2f}"
    except ValueError:
        icc = "–"
    true, predicted = pairs.T
    gap = predicted - true
    bias = "own units" if name in INTENSITIES else f"{gap.mean():+.3g} ± {gap.std(ddof=1):.2g}"
    return (
        f"| {title} | {len(pairs)} | {icc} | {true.mean():.3g} | {predicted.mean():.3g} | {bias} |"
    )


if __name__ == "__main__":
    main()

"""How hard are simulated sections? Prints a table and JSON; the numbers are frozen before training.

Run: python tests/benchmarks/simulator_difficulty.py [--size 1024] [--seeds 10] [--json FILE]

1. blur: correlation of the best-of-grid Gaussian blur of the vessels with the NP image as taken.
2. divergence: AUROC of local nuclei intensity (box means, the better sign) for the planted mask.
3. imaged: correlation of the NP image with the noise-free truth.
4. visible: share of the variance of the truth explained by the field that the same section has
   when the hidden part of leakiness is taken away.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from section_metrics import auroc, best_blur

from napari_damm.simulate import PRESETS, SimulatedSlide, simulate_slide
from napari_damm.util import metrics

BOXES = (9, 17, 33, 65, 129)
BOUNDS = {
    "blur": (0.3, 0.6),
    "divergence": (0.0, 0.75),
    "imaged": (0.9, 1.0),
    "visible": (0.85, 1.0),
}


def divergence_auroc(slide: SimulatedSlide) -> float:
    """Return the AUROC of the best box mean of the nuclei image, either sign, for the mask."""
    image = slide.nuclei.astype(np.float32)
    scores = (ndimage.uniform_filter(image, box)[::4, ::4] for box in BOXES)
    areas = [auroc(slide.divergence[::4, ::4], s) for s in scores]
    return max(max(a, 1.0 - a) for a in areas)


def visible_share(slide: SimulatedSlide) -> float:
    """Return r^2 between the truth and the field without the hidden part of leakiness."""
    config = PRESETS[slide.preset]
    seen = replace(config, vessels=replace(config.vessels, hidden_leakiness=0.0))
    shape = (slide.vessels.shape[0], slide.vessels.shape[1])
    again = simulate_slide(shape, slide.seed, slide.preset, config=seen)
    return metrics.pearson_r(slide.nanoparticles_true, again.nanoparticles_true) ** 2


def measure(size: int, seed: int, preset: str) -> dict[str, float]:
    """Return the difficulty of one section."""
    start = time.perf_counter()
    slide = simulate_slide(size, seed, preset)
    seconds = time.perf_counter() - start
    sigma, r = best_blur(slide.vessels, slide.nanoparticles)
    return {
        "blur": r,
        "sigma": sigma,
        "divergence": divergence_auroc(slide),
        "area": float(slide.divergence.mean()),
        "imaged": metrics.pearson_r(slide.nanoparticles, slide.nanoparticles_true),
        "visible": visible_share(slide),
        "seconds": seconds,
    }


def main() -> None:
    """Print the table, then JSON of means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    summary: dict[str, dict[str, float]] = {}
    for preset in PRESETS:
        rows = []
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            row = measure(options.size, seed, preset)
            rows.append(row)
            print(preset, seed, *(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
        summary[preset] = {k: float(np.mean([row[k] for row in rows])) for k in rows[0]}
        print(preset, "mean", *(f"{k} {v:.3f}" for k, v in summary[preset].items()), flush=True)
    for preset, row in summary.items():
        for name, (low, high) in BOUNDS.items():
            verdict = "ok" if low <= row[name] <= high else "OUT OF BOUNDS"
            print(f"{preset:9s}{name:11s}{row[name]:.3f} in {low}..{high}: {verdict}")
    text = json.dumps({"size": options.size, "seeds": options.seeds} | summary, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

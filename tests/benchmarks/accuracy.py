"""How well does a model predict unseen simulated sections?

Run: python tests/benchmarks/accuracy.py [--model FILE] [--sections 10] [--size 1024]
         [--preset internal] [--mode fast] [--views 1] [--json FILE]

Sections have reserved seeds (10,000 and up) that no training uses. Per section and on average:
r and SSIM / PSNR against the NP image as taken and r against the noise-free field; r of the
best-of-grid Gaussian blur of the vessels, tuned on that very section; share of multi-modal
windows; AUROC of the uncertainty for the planted divergence.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from section_metrics import auroc, best_blur

from napari_damm import api
from napari_damm.events import Finished
from napari_damm.simulate import EVALUATION_SEEDS_FROM, SimulatedSlide
from napari_damm.slide import slide_from_arrays
from napari_damm.util import metrics


def scaled(image: np.ndarray) -> np.ndarray:
    """Map the 0.1 to 99.9 percentiles to 0..1, as the model's target is."""
    low, high = np.percentile(image, (0.1, 99.9))
    return np.clip((image - low) / (high - low), 0, 1)


def score(model: object, section: SimulatedSlide, config: api.PredictConfig) -> dict[str, float]:
    """Predict one section and compare."""
    slide = slide_from_arrays(
        {"vessels": section.vessels, "nuclei": section.nuclei}, pixel_size_um=section.pixel_size_um
    )
    *_, finished = api.predict(slide, model, config)
    assert isinstance(finished, Finished)
    result = finished.result
    prediction = np.asarray(result.np, np.float32)
    truth = scaled(section.nanoparticles)
    cells = section.divergence[: result.branch.shape[0] * 32, : result.branch.shape[1] * 32]
    share = cells.reshape(cells.shape[0] // 32, 32, cells.shape[1] // 32, 32).mean(axis=(1, 3))
    uncertainty = np.asarray(result.uncertainty, np.float32)[: share.shape[0], : share.shape[1]]
    return {
        "r": metrics.pearson_r(truth, prediction),
        "r noise-free": metrics.pearson_r(section.nanoparticles_true, prediction),
        "r blur": best_blur(section.vessels, section.nanoparticles)[1],
        "r blur noise-free": best_blur(section.vessels, section.nanoparticles_true)[1],
        "SSIM": metrics.ssim(truth, prediction),
        "PSNR dB": metrics.psnr(truth, prediction),
        "std ratio": float(prediction.std() / truth.std()),
        "multi-modal share": float((np.asarray(result.branch) == 2).mean()),
        "AUROC divergence": auroc(share > 0.5, uncertainty),
        "seconds": finished.seconds,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the sections, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--sections", type=int, default=10)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--preset", default="internal")
    parser.add_argument("--mode", default="fast")
    parser.add_argument("--gamma", type=float, default=0.5)
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=EVALUATION_SEEDS_FROM)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    model = api.load_model(args.model)
    config = api.PredictConfig(mode=args.mode, gamma=args.gamma, views=args.views)
    rows = []
    for seed in range(args.first_seed, args.first_seed + args.sections):
        rows.append(score(model, api.simulate_slide(args.size, seed, args.preset), config))
        print(seed, " ".join(f"{k} {v:.3f}" for k, v in rows[-1].items()), flush=True)
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    print("mean ", " ".join(f"{k} {v:.3f}" for k, v in mean.items()))
    if args.json:
        report = {"arguments": vars(args), "mean": mean, "rows": rows}
        args.json.write_text(json.dumps(report, default=str, indent=1))


if __name__ == "__main__":
    main()

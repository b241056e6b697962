"""What does a model predict on real sections? No truth exists; this looks for what would be wrong.

Run: python tests/benchmarks/real_sections.py --real DIR [--model FILE] [--mode fast]
         [--pixel-size 0.5 1 2] [--json FILE]

The pictures of real_pictures.py record no pixel size: each is predicted as if it had been taken at
each of the sizes, and is that many times larger for the model. Per picture and size:

1. Intensity: mean, standard deviation and percentiles of the nanoparticle (NP) map, and the share
   of its pixels below 0 and above 1.
2. Seams: the score of seam.py at the borders and cuts of windows (1: no other than elsewhere), over
   tissue, beside that of the vessel image, which knows nothing of windows; 95 % bootstrap over
   lines. The pictures are JPEG: their own blocks of 8 and 16 px end where borders and cuts are,
   and the vessel image shows it. "In phase" compares with lines where such blocks end as well.
3. Vessels: correlation with the blur of the vessel image that fits the NP map best, and mean NP by
   distance from the vessels (extravasation.py), as a ratio to the far field.
4. Branches: mean uncertainty, and the share of cells that took the multi-modal branch.
5. Where a tracer was injected: correlation with it, of the NP map and of the vessel image, as
   they are and at the tissue's scale (both blurred by 5 um).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import seam
from image_statistics import scaled
from numpy.typing import NDArray
from real_pictures import PICTURES, STATED_UM, Picture, resampled
from report import print_table, write_json
from scipy import ndimage
from section_metrics import best_blur

from napari_damm import api
from napari_damm.events import FailedItem, Finished
from napari_damm.util import extravasation, metrics

if TYPE_CHECKING:
    from napari_damm.engine.planning import Plan
    from napari_damm.model.damm import DAMM
    from napari_damm.slide import Slide

PERCENTILES = (0.1, 1, 5, 50, 95, 99, 99.9)
DISTANCES_UM = (0, 10, 20, 40, 80)
TRACER_BLUR_UM = 5.0
PHASE_PX = 32
"""Model pixels: a multiple of JPEG's blocks at 0.5, 1 and 2 um per pixel, a divisor of borders."""
Image = NDArray[np.float64]
Numbers = dict[str, float | str | None]


@dataclass(frozen=True)
class Prediction:
    """A predicted picture on the model's grid, and how it came about.

    ``np`` and ``vessels`` (y, x); ``tissue`` (y, x) bool; ``uncertainty`` and ``branch`` on cells.
    """

    slide: Slide
    planned: Plan
    np: Image
    vessels: Image
    tissue: NDArray[np.bool_]
    uncertainty: Image
    branch: NDArray[np.uint8]
    failed: int
    seconds: float


def predict(slide: Slide, model: DAMM, config: api.PredictConfig) -> Prediction:
    """Predict a slide; count what failed."""
    from napari_damm.engine.planning import plan

    events = list(api.predict(slide, model, config))
    finished = events[-1]
    assert isinstance(finished, Finished)
    result = finished.result
    planned = plan(slide, model.card, config)
    return Prediction(
        slide,
        planned,
        np.asarray(result.np, np.float64),
        scaled(resampled(slide, slide.vessels, planned.model_um)),
        seam.tissue_pixels(slide, planned),
        np.asarray(result.uncertainty, np.float64),
        np.asarray(result.branch),
        sum(isinstance(event, FailedItem) for event in events),
        finished.seconds,
    )


def intensities(found: Prediction) -> Numbers:
    """Return how bright the NP map is, in tissue."""
    values = found.np[found.tissue]
    numbers: Numbers = {"NP mean": float(values.mean()), "NP std": float(values.std())}
    for percent in PERCENTILES:
        numbers[f"NP p{percent:g}"] = float(np.percentile(values, percent))
    numbers["NP below 0 %"] = 100.0 * float((values < 0).mean())
    numbers["NP above 1 %"] = 100.0 * float((values > 1).mean())
    return numbers


def seams(found: Prediction) -> Numbers:
    """Return seam scores of the NP map and of the vessel image, each with its interval."""
    lattice = found.planned.lattice
    images = {"NP": found.np, "vessels": found.vessels}
    scores = {
        name: seam.line_scores(image.astype(np.float32), found.tissue, lattice, PHASE_PX)
        for name, image in images.items()
    }
    numbers: Numbers = {}
    for what in seam.SEAMS:
        for name, score in scores.items():
            if not np.isfinite(score[what]).any():
                numbers[f"{what}: {name}"] = None
                continue
            value, low, high = seam.summarise(score[what], score[what])["score"]
            numbers[f"{what}: {name}"] = f"{value:.2f} ({low:.2f}..{high:.2f})"
    return numbers


def around_vessels(found: Prediction) -> Numbers:
    """Return how the NP map follows the vessels and fades away from them."""
    um = found.planned.model_um
    sigma, r = best_blur(found.vessels, found.np)
    numbers: Numbers = {"r with blurred vessels": r, "that blur, um": sigma * um}
    mask = extravasation.vessel_mask(found.vessels, um, found.tissue)
    away = extravasation.vessel_distance(mask, um)
    # The far field is the tissue beyond the last distance, or what comes nearest to it.
    beyond = found.tissue & (away >= min(DISTANCES_UM[-1], np.percentile(away[found.tissue], 95)))
    far = float(found.np[beyond].mean())
    numbers["NP in vessels / far"] = float(found.np[found.tissue & mask].mean()) / far
    for low, high in pairwise(DISTANCES_UM):
        ring = found.tissue & (away > low) & (away <= high)
        numbers[f"NP at {low}-{high} um / far"] = (
            float(found.np[ring].mean()) / far if ring.any() else None
        )
    try:
        profile = extravasation.extravasation_profile(found.np, away, found.tissue)
        numbers["extravasation distance um"] = extravasation.extravasation_distance(profile)
    except ValueError:
        numbers["extravasation distance um"] = None
    return numbers


def branches(found: Prediction) -> Numbers:
    """Return uncertainty and branches over the cells that were predicted."""
    done = found.branch > 0
    return {
        "uncertainty mean": float(found.uncertainty[done].mean()),
        "uncertainty std": float(found.uncertainty[done].std()),
        "multi-modal %": 100.0 * float((found.branch[done] == 2).mean()),
        "cells without prediction %": 100.0 * float((~done).mean()),
        "failed tiles": float(found.failed),
        "seconds": found.seconds,
    }


def against_tracer(found: Prediction, tracer: Image) -> Numbers:
    """Return how the NP map and the vessel image correlate with an injected tracer, in tissue."""
    sigma = TRACER_BLUR_UM / found.planned.model_um
    numbers: Numbers = {}
    for name, image in (("NP", found.np), ("vessels", found.vessels)):
        numbers[f"r with tracer: {name}"] = metrics.pearson_r(
            tracer[found.tissue], image[found.tissue]
        )
        one, other = (ndimage.gaussian_filter(a, sigma)[found.tissue] for a in (tracer, image))
        numbers[f"r with tracer, {TRACER_BLUR_UM:g} um blur: {name}"] = metrics.pearson_r(
            one, other
        )
    return numbers


def measure(picture: Picture, folder: Path, pixel_um: float, model: DAMM, mode: str) -> Numbers:
    """Predict a picture at a pixel size and return all that is measured."""
    slide = picture.open(folder, pixel_um)
    found = predict(slide, model, api.PredictConfig(mode=mode))
    height, width = found.np.shape
    numbers: Numbers = {"model px": f"{height} x {width}"}
    numbers |= intensities(found) | seams(found)
    numbers |= around_vessels(found) | branches(found)
    if picture.tracer is not None:
        tracer = resampled(slide, slide.channel(picture.tracer), found.planned.model_um)
        numbers |= against_tracer(found, scaled(tracer))
    return numbers


def print_picture(name: str, by_size: Mapping[float, Numbers]) -> None:
    """Print a picture's numbers, one column per pixel size."""
    rows = [
        [what, *(row[what] for row in by_size.values())] for what in next(iter(by_size.values()))
    ]
    print_table(f"{name}, at um per pixel", ["", *(f"{um:g}" for um in by_size)], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict the pictures, print a table of each and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, required=True, help="folder with the real pictures")
    parser.add_argument("--model")
    parser.add_argument("--mode", default="fast")
    parser.add_argument("--pixel-size", type=float, nargs="+", default=STATED_UM, metavar="UM")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    model = api.load_model(args.model)
    found: dict[str, dict[float, Numbers]] = {}
    for picture in PICTURES:
        found[picture.name] = {
            um: measure(picture, args.real, um, model, args.mode) for um in args.pixel_size
        }
        print_picture(picture.name, found[picture.name])
    write_json(args.json, vars(args), model=model.card.get("name"), real=found)


if __name__ == "__main__":
    main()

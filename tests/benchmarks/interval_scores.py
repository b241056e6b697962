"""How good are 90 % intervals of maps: coverage by section, widths, and scores that punish blur.

`fit_intervals.py --judge N` prints what is found here, on N reserved sections of each preset,
against the noise-free field: `judge` of ours and of one interval that is the same everywhere,
`judge_unet` of a regression U-Net, with the spread of its residuals (one width for all pixels) and
with one that hangs on the predicted intensity, fitted as ours is. Whatever is fitted is fitted on
sections of both kinds, of training seeds that no model has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from measured_sections import PERCENTILES, predict_section, true_map

from napari_damm.simulate import EVALUATION_SEEDS_FROM, SimulatedSlide, simulate_slide
from napari_damm.trust.intervals import Intervals
from napari_damm.trust.score_rules import interval_score, normal_crps
from napari_damm.trust.widths import LEVEL, NORMAL_90

FIRST_SEED = 9400
"""Below those that are for evaluation, above all that the bundled model and its trust have seen."""
PRESET, OTHER = KINDS = ("internal", "external")
"""What widths are fitted on, as many sections of each."""
JUDGED = ("internal", "external", "varied")
CALIBRATED_ON = 20
CALIBRATED_PX = 448

Maps = tuple[np.ndarray, np.ndarray]
Width = Callable[[np.ndarray], np.ndarray]


def judge(model: object, count: int, size: int) -> None:
    """Print how the intervals of a model's maps do on reserved sections."""
    known = Intervals.of_card(model.card)
    if known is None:
        raise SystemExit("the model's card has no intervals: fit them first")

    def maps(drawn: SimulatedSlide) -> Maps:
        result, truth = predict_section(drawn, model)
        return np.asarray(result.np), truth

    constant = constant_width(calibration(maps))
    widths = {"fitted": known.half_width, "the same everywhere": constant}
    print_scores(maps, widths, count, size)


def judge_unet(path: Path, count: int, size: int) -> None:
    """Print how a regression U-Net does on reserved sections."""
    from baselines.weights import load_predictor

    predict = load_predictor(path)

    def maps(drawn: SimulatedSlide) -> Maps:
        return predict(relative(drawn.vessels), relative(drawn.nuclei)), true_map(drawn)

    pairs = calibration(maps)
    fitted = Intervals.fit(pairs, "sections", "noise-free field", "the same sections")
    widths = {
        "U-Net, spread of its residuals": constant_width(pairs),
        "U-Net, fitted as ours": fitted.half_width,
    }
    print_scores(maps, widths, count, size)


def relative(image: np.ndarray) -> np.ndarray:
    """Return an image as the baselines are trained: 0.1 and 99.9 percentiles are 0 and 1."""
    low, high = np.percentile(image, PERCENTILES)
    clipped: np.ndarray = np.clip((image - low) / max(high - low, 1e-9), 0, 1)
    return clipped.astype(np.float32)


def calibration(maps: Callable[[SimulatedSlide], Maps]) -> list[Maps]:
    """Return predicted and true maps of the sections that widths are fitted on."""
    seeds = range(FIRST_SEED, FIRST_SEED + CALIBRATED_ON)
    return [maps(simulate_slide(CALIBRATED_PX, seed, kind)) for seed in seeds for kind in KINDS]


def constant_width(pairs: Sequence[Maps]) -> Width:
    """Return the interval that is the same everywhere and holds 90 % of these sections."""
    errors = np.concatenate([np.abs(truth - predicted).ravel() for predicted, truth in pairs])
    return partial(_full, float(np.quantile(errors, LEVEL)))


def _full(width: float, image: np.ndarray) -> np.ndarray:
    return np.full(image.shape, width)


def print_scores(
    maps: Callable[[SimulatedSlide], Maps], widths: dict[str, Width], count: int, size: int
) -> None:
    """Print a row for each preset and interval."""
    print("| preset | interval | sections covered 85 to 95 % | mean coverage (least, most) | width "
          "| interval score | CRPS |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for preset in JUDGED:
        seeds = range(EVALUATION_SEEDS_FROM, EVALUATION_SEEDS_FROM + count)
        sections = [maps(simulate_slide(size, seed, preset)) for seed in seeds]
        for name, half_width in widths.items():
            rows = np.array([judged(*section, half_width) for section in sections])
            covered, width, score, crps = rows.T
            within = int(((covered >= 0.85) & (covered <= 0.95)).sum())
            print(
                f"| {preset} | {name} | {within} of {count} | {100 * covered.mean():.1f} "
                f"({100 * covered.min():.0f}, {100 * covered.max():.0f}) % | {width.mean():.3f} | "
                f"{score.mean():.3f} | {crps.mean():.4f} |",
                flush=True,
            )


def judged(
    predicted: np.ndarray, truth: np.ndarray, half_width: Width
) -> tuple[float, float, float, float]:
    """Return coverage, mean width, interval score and CRPS of a section."""
    half = half_width(predicted)
    covered = float(np.mean(np.abs(truth - predicted) <= half))
    score = interval_score(truth, predicted, half)
    return covered, float(2 * half.mean()), score, normal_crps(truth, predicted, half / NORMAL_90)

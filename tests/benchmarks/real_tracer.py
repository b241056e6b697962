"""How well is a real tracer predicted, field by field, each judged by what never saw it?

Run: python tests/benchmarks/real_tracer.py [--real ../shared/real] [--fields 01 02 ...]
         [--minutes 15] [--threads 2] [--methods zero-shot fine-tuned blur linear pixels unet]
         [--model NAME|FILE] [--views 1] [--set NAME=VALUE ...] [--together] [--lectin]
         [--json FILE] [--markdown FILE]

1. Fields of real tumour tissue with vessels, nuclei and dextran, an injected macromolecule (see the
   README beside the pictures). For each of --fields, everything is fitted on all the *others*;
   with --together once for all of them, on those that are not among --fields.
   --lectin: a picture of perfused vessels, whose left half trains and whose right half judges.
2. Ours without any training and fine-tuned for --minutes (defaults, but for --set), both in mode
   "expected"; the Gaussian blur of the vessels, and the linear model of both images at several
   scales, by least squares; a small network on 8 numbers of each pixel ("pixels"); a regression
   U-Net on pixels with the same minutes.
3. r, SSIM, MSE, error of L50 (how far from a vessel the tracer falls to half, um) and spread, the
   standard deviation over the truth's. The table has means and 95 % intervals over fields.
4. What ours says of itself: the verdict, the shares of the tissue to use, to use with care and not
   to use, the mean error in each, and how much of the truth lies in the 90 % interval.

Without the pictures it says so and ends. Numbers only: the pictures are nobody's to publish here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines.pixel_mlp import pixel_mlp
from baselines.pixel_unet import predict_pixels, train_pixel_unet
from numpy.typing import NDArray
from real_pictures import resampled
from report import print_table, write_json
from scipy import ndimage

from napari_damm import api
from napari_damm.dataset import SlideSource
from napari_damm.engine.intervals import error_width
from napari_damm.engine.trusted import trust_map
from napari_damm.events import Finished
from napari_damm.store import Result
from napari_damm.trust.cells import CellTrust
from napari_damm.trust.trivial import LinearModel
from napari_damm.trust.verdict import VERDICTS
from napari_damm.util import metrics
from napari_damm.util.extravasation import (
    extravasation_profile,
    vessel_distance,
    vessel_mask,
)
from napari_damm.util.tiling import CELL

REAL = Path(__file__).parents[3] / "shared" / "real"
ALL_FIELDS = ("01", "02", "03", "04", "05", "06", "07")
DEXTRAN_UM, LECTIN_UM = 0.69, 0.6
CHANNELS = {"vessels_channel": "red", "nuclei_channel": "blue"}
LIMITS = (0.1, 99.9)
MEASURES = ("r", "SSIM", "MSE", "L50 error um", "spread")
NEAR_BIN_UM = 1.0
BLURS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)

Image = NDArray[np.float32]
Predictor = Callable[["Field"], Image]


@dataclass(frozen=True)
class Field:
    """A picture, or a part of it: (3, y, x) in 0..1 on the model's grid, and its source.

    The images are vessels, nuclei and tracer, each scaled over the whole picture.
    """

    name: str
    images: Image
    source: SlideSource
    pixel_um: float

    @property
    def truth(self) -> Image:
        """The tracer."""
        return self.images[2]


def read_field(
    path: Path, um: float, model_um: float, part: tuple[float, float] = (0.0, 1.0)
) -> Field:
    """Read a picture, or the part of its columns between two shares of its width."""
    slide = api.open_slide(path, **CHANNELS, pixel_size_um=um)
    images = np.stack(
        [
            _scaled(resampled(slide, slide.channel(colour), model_um))
            for colour in ("red", "blue", "green")
        ]
    )
    height, width = (round(side / um) for side in slide.vessels.extent_um)
    columns = [round(share * width) for share in part]
    at = [round(share * images.shape[2]) for share in part]
    source = SlideSource(
        path, "red", "blue", "green", pixel_size_um=um, roi=(0, columns[0], height, columns[1])
    )
    return Field(path.stem, images[:, :, at[0] : at[1]], source, model_um)


def _scaled(image: NDArray[np.floating]) -> Image:
    low, high = np.percentile(image, LIMITS)
    found: Image = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
    return found


def predicted(model: object, field: Field, views: int = 1) -> Result:
    """Predict a field in mode "expected", inside its whole picture."""
    source = field.source
    slide = api.open_slide(source.path, **CHANNELS, pixel_size_um=source.pixel_size_um)
    config = api.PredictConfig(mode="expected", views=views, roi=source.roi, device="cpu")
    *_, finished = api.predict(slide, model, config)
    assert isinstance(finished, Finished)
    result: Result = finished.result
    return result


def ours(model: object, views: int) -> Predictor:
    """Return what predicts a field with a model, and says what it is worth."""

    def predict(field: Field) -> Image:
        result = predicted(model, field, views)
        print(f"{field.name}: {worth(result, field)}", flush=True)
        height, width = field.truth.shape
        # a region is rounded outward to whole model pixels
        found: Image = np.asarray(result.np, np.float32)[:height, :width]
        return found

    return predict


def worth(result: Result, field: Field) -> str:
    """Say what a result says of itself, and how far that is true."""
    trust = result.record["trust"]
    said = [f"verdict {trust['verdict']}"]
    height, width = field.truth.shape
    off = np.abs(np.asarray(result.np)[:height, :width] - field.truth)
    cells = trust_map(result)
    if cells is not None:
        by_pixel = np.kron(cells, np.ones((CELL, CELL), np.uint8))[:height, :width]
        for code, verdict in zip(list(CellTrust)[1:], VERDICTS, strict=True):
            here = by_pixel == code
            error = f", error {off[here].mean():.3f}" if here.any() else ""
            said.append(f"{verdict} {100 * here.mean():.0f} %{error}")
    reach = error_width(result)
    if reach is not None:
        expected = np.asarray(reach)[:height, :width]
        surest = expected <= np.median(expected)
        said.append(f"error of the surest half {off[surest].mean():.3f}, of all {off.mean():.3f}")
    interval = api.prediction_interval(result)
    if interval is not None:
        low, high = (np.asarray(each)[:height, :width] for each in interval[:2])
        inside = (low <= field.truth) & (field.truth <= high)
        said.append(f"{100 * inside.mean():.1f} % in the 90 % interval")
    return "; ".join(said)


def fine_tuned(model: object, train: Sequence[Field], settings: dict[str, Any]) -> Path:
    """Fine-tune with the defaults but for some settings; return the model's file."""
    out = Path(tempfile.mkdtemp()) / "run"
    config = api.TrainConfig(name="tracer", device="cpu", **settings)
    *_, finished = api.fine_tune([field.source for field in train], model, config, out)
    assert isinstance(finished, Finished)
    return Path(finished.result.path)


def blurred(train: Sequence[Field]) -> Predictor:
    """Return the blur of the vessels that fits the training fields best, scaled to them."""

    def agreement(sigma: float) -> float:
        blur = [ndimage.gaussian_filter(each.images[0], sigma) for each in train]
        pairs = zip(blur, train, strict=True)
        return float(np.mean([metrics.pearson_r(each.truth, made) for made, each in pairs]))

    sigma = max(BLURS, key=agreement)
    made = np.concatenate([_blur(each, sigma).ravel() for each in train])
    truth = np.concatenate([each.truth.ravel() for each in train])
    slope, offset = np.polyfit(made, truth, 1)
    return lambda field: (slope * _blur(field, sigma) + offset).astype(np.float32)


def _blur(field: Field, sigma: float) -> Image:
    found: Image = ndimage.gaussian_filter(field.images[0], sigma)
    return found


def linear(train: Sequence[Field]) -> Predictor:
    """Return the linear model of both images at several scales, fitted to the training fields."""
    model = LinearModel()
    for each in train:
        model.add(*each.images)
    return lambda field: model.predict(*field.images[:2])


def unet(train: Sequence[Field], minutes: float) -> Predictor:
    """Return a regression U-Net on pixels."""
    network = train_pixel_unet([each.images for each in train], 60 * minutes)
    return lambda field: predict_pixels(network, field.images)


def half_distance(image: Image, vessels: NDArray[np.bool_], away: NDArray[np.float64]) -> float:
    """Return how far from a vessel the signal falls to half, um; nan where it does not.

    Half way between its mean in the vessels and that of the far field.
    """
    inside = float(image[vessels].mean())
    far = extravasation_profile(image, away).background
    near = extravasation_profile(image, away, bin_um=NEAR_BIN_UM)
    distance = np.concatenate([[0.0], near.distance_um])
    signal = np.concatenate([[inside], near.signal])
    half = (inside + far) / 2
    below = np.flatnonzero(signal <= half)
    if inside <= far or below.size == 0:
        return float("nan")
    k = int(below[0])
    share = (signal[k - 1] - half) / (signal[k - 1] - signal[k])
    return float(distance[k - 1] + share * (distance[k] - distance[k - 1]))


def score(field: Field, made: Image) -> dict[str, float]:
    """Judge a prediction of a field."""
    vessels = vessel_mask(field.images[0], field.pixel_um)
    away = vessel_distance(vessels, field.pixel_um)
    truth, found = (half_distance(image, vessels, away) for image in (field.truth, made))
    return {
        "r": metrics.pearson_r(field.truth, made),
        "SSIM": metrics.ssim(field.truth, made),
        "MSE": metrics.mse(field.truth, made),
        "L50 error um": abs(found - truth),
        "spread": metrics.std_ratio(field.truth, made),
    }


def judge(
    fields: Sequence[Field], train: Sequence[Field], args: argparse.Namespace
) -> dict[str, dict[str, dict[str, float]]]:
    """Score every method, fitted once on some fields, on each of the others."""
    settings = {name: json.loads(value) for name, _, value in map(_parts, args.set)}
    settings["minutes"] = args.minutes
    images = [each.images for each in train]
    makers: dict[str, Callable[[], Predictor]] = {
        "zero-shot": lambda: ours(args.model, args.views),
        "fine-tuned": lambda: ours(fine_tuned(args.model, train, settings), args.views),
        "blur": lambda: blurred(train),
        "linear": lambda: linear(train),
        "pixels": lambda: lambda field: pixel_mlp(images, field.images),
        "unet": lambda: unet(train, args.minutes),
    }
    scores: dict[str, dict[str, dict[str, float]]] = {field.name: {} for field in fields}
    for name in args.methods:
        began = time.monotonic()
        predict = makers[name]()
        print(f"{name}: fitted in {time.monotonic() - began:.0f} s", flush=True)
        for field in fields:
            found = scores[field.name][name] = score(field, predict(field))
            numbers = ", ".join(f"{what} {value:.3f}" for what, value in found.items())
            print(f"{field.name} {name}: {numbers}", flush=True)
    return scores


def _parts(given: str) -> tuple[str, str, str]:
    return given.partition("=")


def rows_of(found: dict[str, dict[str, dict[str, float]]], methods: Sequence[str]) -> list[list]:
    """Return one row per method: means with their intervals over fields."""
    rows = []
    for method in methods:
        cells: list[str] = []
        for what in MEASURES:
            values = np.array([scores[method][what] for scores in found.values()])
            values = values[np.isfinite(values)]
            span = metrics.bootstrap_interval(values) if values.size else None
            mean = f"{values.mean():.3f}" if values.size else "none"
            cells.append(mean if span is None else f"{mean} ({span[0]:.3f} to {span[1]:.3f})")
        rows.append([method, *cells])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge all methods, print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, default=REAL, help="folder with the real pictures")
    parser.add_argument("--fields", nargs="+", default=ALL_FIELDS, choices=ALL_FIELDS)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--threads", type=int, default=2)
    methods = ("zero-shot", "fine-tuned", "blur", "linear", "pixels", "unet")
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods)
    parser.add_argument("--model")
    parser.add_argument("--views", type=int, default=1, help="turned copies that ours averages")
    parser.add_argument("--set", nargs="*", default=(), metavar="NAME=VALUE", help="of training")
    parser.add_argument("--together", action="store_true", help="fit once for all --fields")
    parser.add_argument("--lectin", action="store_true", help="the lectin picture instead")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args(arguments)
    folder = args.real / "dextran"
    lectin = args.real / "cd31_lectin_dapi.jpg"
    if not (lectin if args.lectin else folder).exists():
        sys.exit(f"skipped: the real pictures are not in {args.real}")
    torch.set_num_threads(args.threads)
    model_um = float(api.load_model(args.model, "cpu").card["pixel_size_um"])
    if args.lectin:
        halves = [read_field(lectin, LECTIN_UM, model_um, part) for part in ((0, 0.5), (0.5, 1))]
        found = judge(halves[1:], halves[:1], args)
    else:
        fields = {k: read_field(folder / f"{k}.jpg", DEXTRAN_UM, model_um) for k in ALL_FIELDS}
        apart = [args.fields] if args.together else [[name] for name in args.fields]
        found = {}
        for names in apart:
            train = [fields[other] for other in ALL_FIELDS if other not in names]
            found |= judge([fields[name] for name in names], train, args)
    what = "lectin, right half" if args.lectin else f"dextran, {len(found)} fields"
    rows = rows_of(found, args.methods)
    print_table(f"{what}, {args.minutes:g} min", ["", *MEASURES], rows)
    write_json(args.json, vars(args), found=found)
    if args.markdown is not None:
        lines = [["", *MEASURES], ["---"] * (1 + len(MEASURES)), *rows]
        text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        args.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

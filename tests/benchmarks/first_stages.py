"""What do autoencoders lose, and what do they cost?

Run: python tests/benchmarks/first_stages.py [--model NAME|FILE ...] [--sections 6] [--size 512]
         [--first-seed 9900] [--real ../shared/real] [--json FILE]

Encodes and decodes simulated sections of both presets. Per model, preset and image: PSNR, R2 and
SSIM of the image in 0..1; of the nanoparticles the PSNR against the noise-free field too, put on
the scale of the image by least squares. Then the step at borders of latent pixels: the mean
absolute difference of neighbours across them over that of all others, relative to the image's own
(1: none). Last, seconds per megapixel on one thread for encoding two images and decoding one, and
its GFLOP per window of 256 px, as torch counts them.

With --real, Pearson's r of what is left of real pictures that no autoencoder was trained on: seven
dextran fields at their own 0.69 um and at 1 um per pixel, two older pictures at 0.6 and 1 um, a
pair from a scanner at 1 um; per image the mean and the lowest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_pictures import resampled
from report import print_table, write_json
from torch.utils.flop_counter import FlopCounterMode

from napari_damm import api
from napari_damm.model.damm import DAMM, ROLES
from napari_damm.simulate import SimulatedSlide, simulate_slide
from napari_damm.util import metrics


def scaled(image: np.ndarray) -> np.ndarray:
    """Map the 0.1 to 99.9 percentiles to 0..1, as the model's images are."""
    low, high = np.percentile(image, (0.1, 99.9))
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


def step_at_borders(image: np.ndarray, grid: int) -> float:
    """Return the mean absolute difference across every `grid`-th border over that of the others."""
    across = np.abs(np.diff(image, axis=1)).mean(axis=0)
    at = np.arange(1, across.size + 1) % grid == 0
    return float(across[at].mean() / across[~at].mean())


@torch.inference_mode()
def reconstruct(model: DAMM, image: np.ndarray, role: str) -> np.ndarray:
    """Return what is left of an image (y, x) in 0..1."""
    channels = model.first_stage(role).config.image_channels
    given = torch.from_numpy(image * 2 - 1)[None, None].expand(-1, channels, -1, -1)
    made: np.ndarray = model.decode(model.encode(given, role), role).mean(dim=1)[0].numpy()
    return made / 2 + 0.5


def judge(model: DAMM, section: SimulatedSlide) -> list[dict[str, Any]]:
    """Score the three images of a section."""
    rows = []
    names = ("vessels", "nuclei", "nanoparticles")
    for role, name in zip(ROLES, names, strict=True):
        image = scaled(getattr(section, name))
        made = reconstruct(model, image, role)
        grid = model.config.latent_factor
        row = {
            "image": name,
            "PSNR dB": metrics.psnr(image, made),
            "R2": metrics.r2(image, made),
            "SSIM": metrics.ssim(image, made),
            "step": step_at_borders(made, grid) / step_at_borders(image, grid),
        }
        if role == "target":
            field = section.nanoparticles_true.ravel()
            slope, offset = np.polyfit(field, image.ravel(), 1)
            free = (slope * section.nanoparticles_true + offset).astype(np.float32)
            row["PSNR noise-free dB"] = metrics.psnr(free, made)
        rows.append(row)
    return rows


@torch.inference_mode()
def seconds_per_megapixel(model: DAMM) -> float:
    """Time encoding two windows of 256 px and decoding one, on one thread."""
    image = torch.zeros(1, model.config.first_stages[0].image_channels, 256, 256)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        z = model.encode(image, "primary")
        model.encode(image, "secondary")
        model.decode(z)
        times.append(time.perf_counter() - start)
    return min(times) / 256**2 * 1e6


@torch.inference_mode()
def gflop_per_window(model: DAMM) -> float:
    """Count encoding two windows of 256 px and decoding one, with the guide if there is one."""
    image = torch.zeros(1, model.config.first_stages[0].image_channels, 256, 256)
    with FlopCounterMode(display=False) as counter:
        z, features = model.encode_primary(image)
        model.encode(image, "secondary")
        model.decode(z, primary=features)
    return counter.get_total_flops() / 1e9


@dataclass(frozen=True)
class RealPlane:
    """One stain of a real picture: its role, file, colour, um per pixel as stated, as seen."""

    role: str
    file: str
    colour: str
    um: float | None
    model_um: float

    def read(self, folder: Path) -> np.ndarray:
        """Return it as the model sees it, 0..1."""
        other = "green" if self.colour != "green" else "red"
        slide = api.open_slide(
            folder / self.file,
            vessels_channel=self.colour,
            nuclei_channel=other,
            pixel_size_um=self.um,
        )
        return scaled(resampled(slide, slide.vessels, self.model_um))


def real_planes() -> list[RealPlane]:
    """List what is measured."""
    colours = {"primary": "red", "secondary": "blue", "target": "green"}
    found = [
        RealPlane(role, f"dextran/{k:02d}.jpg", colour, 0.69, um)
        for k in range(1, 8)
        for um in (0.69, 1.0)
        for role, colour in colours.items()
    ]
    for um in (0.6, 1.0):
        found += [
            RealPlane(r, "cd31_lectin_dapi.jpg", colour, 0.6, um) for r, colour in colours.items()
        ]
        found.append(RealPlane("primary", "cd31_ng2_dapi.jpg", "green", 0.6, um))
        found.append(RealPlane("secondary", "cd31_ng2_dapi.jpg", "blue", 0.6, um))
    found.append(RealPlane("primary", "scanner/tritc.ndpi", "red", None, 1.0))
    found.append(RealPlane("secondary", "scanner/dapi.ndpi", "blue", None, 1.0))
    return found


def judge_real(model: DAMM, folder: Path) -> list[list[str]]:
    """Return a row per role: pictures, mean and lowest r, and which that is."""
    found: dict[str, dict[str, float]] = {role: {} for role in ROLES}
    factor = model.config.latent_factor
    for plane in real_planes():
        image = plane.read(folder)
        height, width = image.shape
        over = ((0, -height % factor), (0, -width % factor))
        made = reconstruct(model, np.pad(image, over, mode="reflect"), plane.role)
        name = f"{Path(plane.file).stem} at {plane.model_um:g} um"
        found[plane.role][name] = metrics.pearson_r(image, made[:height, :width])
    return [
        [role, str(len(r)), f"{np.mean(list(r.values())):.3f}", f"{min(r.values()):.3f}",
         min(r, key=lambda name: r[name])]
        for role, r in found.items()
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the models, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=[None])
    parser.add_argument("--sections", type=int, default=6)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--first-seed", type=int, default=9900)
    parser.add_argument("--real", type=Path, help="folder with the real pictures")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table: list[list[str]] = []
    real: list[list[str]] = []
    for name in args.model:
        model = api.load_model(name, "cpu").eval()
        cost, gflop = seconds_per_megapixel(model), gflop_per_window(model)
        if args.real is not None:
            real += [[str(name or "bundled"), *row] for row in judge_real(model, args.real)]
        for preset in ("internal", "external"):
            seeds = range(args.first_seed, args.first_seed + args.sections)
            judged = [judge(model, simulate_slide(args.size, seed, preset)) for seed in seeds]
            for of_image in zip(*judged, strict=True):
                means = {
                    key: float(np.mean([row[key] for row in of_image]))
                    for key in of_image[0]
                    if key != "image"
                }
                numbers = [f"{means[key]:.3f}" if key in means else "" for key in COLUMNS]
                called = str(name or "bundled")
                table.append(
                    [called, preset, of_image[0]["image"], *numbers, f"{cost:.2f}", f"{gflop:.2f}"]
                )
    headings = ("model", "preset", "image", *COLUMNS, "s per megapixel", "GFLOP")
    print_table("autoencoders", headings, table)
    if real:
        print_table("real pictures", ("model", "image", "pictures", "r", "lowest", "of"), real)
    rows = [dict(zip(headings, row, strict=True)) for row in table]
    write_json(args.json, vars(args), rows=rows, real=real)


COLUMNS = ("PSNR dB", "R2", "SSIM", "step", "PSNR noise-free dB")

if __name__ == "__main__":
    main()

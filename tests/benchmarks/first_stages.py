"""What do autoencoders lose, and what do they cost?

Run: python tests/benchmarks/first_stages.py [--model NAME|FILE ...] [--sections 6] [--size 512]
         [--first-seed 9900] [--json FILE]

Encodes and decodes simulated sections of both presets. Per model, preset and image: PSNR, R2 and
SSIM of the image in 0..1; of the nanoparticles the PSNR against the noise-free field too, put on
the scale of the image by least squares. Then the step at borders of latent pixels: the mean
absolute difference of neighbours across them over that of all others, relative to the image's own
(1: none). Last, seconds per megapixel on one thread for encoding two images and decoding one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import print_table, write_json

from napari_damm import api, metrics
from napari_damm.model.damm import DAMM, ROLES
from napari_damm.simulate import SimulatedSlide, simulate_slide


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the models, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=[None])
    parser.add_argument("--sections", type=int, default=6)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--first-seed", type=int, default=9900)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    table: list[list[str]] = []
    for name in args.model:
        model = api.load_model(name, "cpu").eval()
        cost = seconds_per_megapixel(model)
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
                table.append([called, preset, of_image[0]["image"], *numbers, f"{cost:.2f}"])
    headings = ("model", "preset", "image", *COLUMNS, "s per megapixel")
    print_table("autoencoders", headings, table)
    write_json(args.json, vars(args), rows=[dict(zip(headings, row, strict=True)) for row in table])


COLUMNS = ("PSNR dB", "R2", "SSIM", "step", "PSNR noise-free dB")

if __name__ == "__main__":
    main()

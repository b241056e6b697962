"""How like real sections are the simulated ones? The same statistics of both.

Run: python tests/benchmarks/realism.py [--real DIR] [--sections 20] [--size 768] [--json FILE]

1. Simulated: sections of every preset with reserved seeds (10,000 and up), without planted
   divergence, which is a fault of the picture and no property of tissue. Over sections, each
   statistic has a 5th, 50th and 95th percentile.
2. Real, where --real names the folder that holds them: the pictures of real_pictures.py, resampled
   to 1 um per pixel as a model would have them. Their pixel size is unknown: 0.6 um is a guess from
   the size of nuclei, and 0.5, 1 and 2 um are given beside it.
3. Real values outside the 5th..95th percentile of `varied`, the preset for training, are marked:
   "!" where they lie outside all its sections, too, "." where only outside the percentiles.

What the statistics are: image_statistics.py.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from image_statistics import Statistics, section_statistics
from real_pictures import GUESSED_UM, PICTURES, STATED_UM, Picture, resampled
from report import print_table

from napari_damm.simulate import EVALUATION_SEEDS_FROM, PRESETS, simulate_slide

TRAINED_ON = "varied"
SPREAD = (0, 5, 50, 95, 100)
Spread = dict[str, list[float]]


def simulated_statistics(preset: str, sections: int, size: int) -> list[Statistics]:
    """Return the statistics of each section."""
    slides = (
        simulate_slide(size, EVALUATION_SEEDS_FROM + k, preset, divergence=False)
        for k in range(sections)
    )
    return [section_statistics(slide.vessels, slide.nuclei) for slide in slides]


def real_statistics(picture: Picture, folder: Path, pixel_um: float) -> Statistics:
    """Return the statistics of a picture, taken to have pixels of this side."""
    slide = picture.open(folder, pixel_um)
    vessels, nuclei = (resampled(slide, raster, 1.0) for raster in (slide.vessels, slide.nuclei))
    return section_statistics(vessels, nuclei)


def spread(rows: Sequence[Statistics]) -> Spread:
    """Return the least value, the 5th, 50th and 95th percentile and the largest of each."""
    return {
        name: [float(v) for v in np.percentile([row[name] for row in rows], SPREAD)]
        for name in rows[0]
    }


def place(value: float, among: Sequence[float]) -> str:
    """Say where a value lies: "" inside 5..95 %, "." among the sections, "!" outside them all."""
    least, low, _, high, largest = among
    if low <= value <= high:
        return ""
    return "." if least <= value <= largest else "!"


def short(value: float) -> str:
    """Return three digits, no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_presets(spreads: dict[str, Spread]) -> None:
    """Print median and 5th..95th percentile of every statistic, one column per preset."""

    def cell(values: Sequence[float]) -> str:
        _, low, middle, high, _ = map(short, values)
        return f"{middle} ({low}..{high})"

    rows = [
        [name, *(cell(found[name]) for found in spreads.values())]
        for name in next(iter(spreads.values()))
    ]
    title = "simulated: median (5th..95th percentile) over sections"
    print_table(title, ["", *spreads], rows)


def print_picture(name: str, by_size: dict[float, Statistics], among: Spread) -> None:
    """Print a real picture beside the range of training sections, one column per pixel size."""
    rows = [
        [
            what,
            f"{short(limits[1])}..{short(limits[3])}",
            *(
                short(found[what]) + (place(found[what], limits) or " ")
                for found in by_size.values()
            ),
        ]
        for what, limits in among.items()
    ]
    print_table(f"{name}, at um per pixel", ["", TRAINED_ON, *(f"{um:g} " for um in by_size)], rows)
    for um, found in by_size.items():
        marks = [place(found[what], limits) for what, limits in among.items()]
        print(
            f"  {um:g} um: {marks.count('')} of {len(marks)} within the percentiles, "
            f"{len(marks) - marks.count('!')} within the sections"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, help="folder with the real pictures")
    parser.add_argument("--sections", type=int, default=20)
    parser.add_argument("--size", type=int, default=768)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    if args.sections < 2:
        parser.error(f"--sections must be 2 or more, for a spread, got {args.sections}")
    spreads = {
        preset: spread(simulated_statistics(preset, args.sections, args.size)) for preset in PRESETS
    }
    print_presets(spreads)
    real: dict[str, dict[float, Statistics]] = {}
    for picture in PICTURES if args.real else ():
        sizes = sorted({GUESSED_UM, *STATED_UM})
        real[picture.name] = {um: real_statistics(picture, args.real, um) for um in sizes}
        print_picture(picture.name, real[picture.name], spreads[TRAINED_ON])
    if args.json:
        report = {
            "arguments": vars(args),
            "percentiles": SPREAD,
            "simulated": spreads,
            "guessed um per pixel": GUESSED_UM,
            "real": real,
        }
        args.json.write_text(json.dumps(report, default=str, indent=1) + "\n")


if __name__ == "__main__":
    main()

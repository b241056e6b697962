"""Fit what a model says of the images that it knows, and put it on its card.

Simulated sections of training seeds, of the presets that the bundled model learnt from, are cut
into windows as a prediction cuts them. Distributions of their statistics, and nothing else of the
file, are written: the weights stay as they are.

    python tests/benchmarks/fit_trust.py --model FILE [--out FILE] [--sections 160]

They depend on the images alone, not on the network: a model that learnt from the same kinds of
sections can have those of another file, at once (`--like FILE`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_damm.engine.planning import plan
from napari_damm.engine.windows import cut
from napari_damm.model_file import read_card
from napari_damm.model_file.header import CARD_KEY
from napari_damm.simulate import simulate_slide
from napari_damm.slide import Slide, slide_from_arrays
from napari_damm.trust.known import KEY, Known
from napari_damm.trust.reference import Vector
from napari_damm.trust.statistics import window_statistics

SIZE = 448
FIRST_SEED = 9000
"""Below those that are for evaluation, above those that the bundled model has seen."""
PRESETS = ("varied", "varied", "varied", "internal")
CARD = {"modalities": ["vessels", "nuclei", "nanoparticles"], "pixel_size_um": 1.0}


def section_windows(slide: Slide, card: dict[str, object] | None = None) -> Vector:
    """Return the statistics (windows, statistics) of a section, as a prediction would see it."""
    planned = plan(slide, card or CARD)
    cuts = [cut(slide, planned, window) for window in planned.windows]
    return np.stack([window_statistics(each.primary, each.secondary) for each in cuts])


def simulated(count: int) -> Iterator[tuple[str, int]]:
    """Yield preset and seed of the sections that are fitted on."""
    for k in range(count):
        yield PRESETS[k % len(PRESETS)], FIRST_SEED + k


def fit(count: int) -> Known:
    """Simulate so many sections and fit."""
    rows = []
    for k, (preset, seed) in enumerate(simulated(count)):
        drawn = simulate_slide(SIZE, seed, preset)
        images = {"vessels": drawn.vessels, "nuclei": drawn.nuclei}
        rows.append(section_windows(slide_from_arrays(images, drawn.pixel_size_um)))
        if k % 20 == 19:
            print(f"{k + 1} of {count} sections", flush=True)
    return Known.fit(rows, said(count))


def said(count: int) -> str:
    """Say what was fitted on."""
    return (
        f"{count} simulated sections of {SIZE} px (three of four varied, one internal; seeds from "
        f"{FIRST_SEED})"
    )


def write(entries: dict[str, object], model: Path, out: Path) -> None:
    """Copy a model file with these entries on its card."""
    data = model.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    card = {**json.loads(header["__metadata__"][CARD_KEY]), **entries}
    header["__metadata__"][CARD_KEY] = json.dumps(card, ensure_ascii=False)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    out.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])
    print(f"{out}: {len(json.dumps(entries)) / 1000:.0f} kB of the card are {', '.join(entries)}")


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="where it goes; left out: the file itself")
    parser.add_argument("--sections", type=int, default=160)
    parser.add_argument("--like", type=Path, help="take what this model file says")
    arguments = parser.parse_args()
    read_card(arguments.model)  # says in a sentence what is wrong with the file
    known = Known.of_card(read_card(arguments.like)) if arguments.like else None
    if arguments.like and known is None:
        parser.error(f"{arguments.like} says nothing of images that it knows")
    known = known or fit(arguments.sections)
    print(f"fitted on {known.fitted_on}")
    write({KEY: known.to_json()}, arguments.model, arguments.out or arguments.model)


if __name__ == "__main__":
    main()

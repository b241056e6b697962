"""The README's animation: a simulated section, over which the predicted map fills in, tile by tile.

Run: python tests/benchmarks/animation.py [--out docs/images/tiles.gif] [--size 1024] [--seed 10000]

Vessels are green, nuclei blue, the map glows as in napari. Each window that the engine reports is a
frame; at the end the map stays for a while. Tissue, map and order are those of a real prediction
with the bundled model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_damm import api
from napari_damm.events import Tile
from napari_damm.simulate import simulate_slide
from napari_damm.slide import slide_from_arrays

SIDE_PX, COLOURS = 384, 96
FRAME_MS, LAST_MS = 120, 2500
LIMITS = (0.5, 99.7)
STAINS = (("vessels", (0.1, 0.9, 0.3)), ("nuclei", (0.25, 0.35, 1.0)))

Picture = NDArray[np.float64]


def frames(size: int, seed: int) -> list[Picture]:
    """Return the pictures (y, x, 3) in 0..1: the tissue, then one per window."""
    made = simulate_slide(size, seed)
    images = {"vessels": made.vessels, "nuclei": made.nuclei}
    tissue = sum(
        0.8 * _scaled(images[name])[..., None] * np.array(colour) for name, colour in STAINS
    )
    slide = slide_from_arrays(images, pixel_size_um=made.pixel_size_um)
    # a batch per window: tiles come one at a time, as they do on a whole slide
    config = api.PredictConfig(mode="expected", device="cpu", batch_size=1)
    glow = np.zeros(images["vessels"].shape)
    pictures = [np.clip(tissue, 0, 1)]
    for event in api.predict(slide, None, config):
        if isinstance(event, Tile):
            height, width = event.np.shape
            glow[event.y : event.y + height, event.x : event.x + width] = event.np
            colours = mpl.colormaps["inferno"](glow)[..., :3]
            pictures.append(np.clip(tissue + colours, 0, 1))
    return pictures


def write_gif(pictures: Sequence[Picture], path: Path) -> None:
    """Write an animation that begins again after a while."""
    shown = [
        Image.fromarray((255 * picture).astype(np.uint8)).resize(
            (SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS
        )
        for picture in pictures
    ]
    # the tissue's colours and the map's
    both = np.concatenate([np.asarray(shown[0]), np.asarray(shown[-1])])
    palette = Image.fromarray(both).quantize(COLOURS)
    first, *others = [frame.quantize(palette=palette, dither=0) for frame in shown]
    durations = [FRAME_MS] * len(others) + [LAST_MS]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, optimize=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict and write the animation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/tiles.gif"))
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=10_000)
    args = parser.parse_args(arguments)
    pictures = frames(args.size, args.seed)
    write_gif(pictures, args.out)
    print(f"{args.out}: {len(pictures)} frames, {args.out.stat().st_size / 1e3:.0f} kB")


def _scaled(image: NDArray[np.generic]) -> Picture:
    low, high = np.percentile(image, LIMITS)
    scaled: Picture = np.clip((image - low) / (high - low), 0, 1)
    return scaled


if __name__ == "__main__":
    main()

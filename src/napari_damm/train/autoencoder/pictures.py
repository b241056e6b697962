"""What the autoencoder of recipe "ours" learns from: far more than sections.

1. `simulated`: the three images of simulated sections of the widest preset.
2. `procedural`: lines from hair-thin to sheet-like, packed cells, spots, fractal texture, and haze
   that fades from lines: each drawn from a seed.
3. `photographs`: pictures that scikit-image ships; nothing is downloaded.

4. `PicturePool` holds some of each and cuts batches from them, each by the number of its step;
   `device_pictures` does so on a graphics card.

All are float32 (y, x) in 0..1, sharp and clean: blur, noise and tones come later (`camera`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage import data, draw
from torch import Tensor

from napari_damm.simulate import simulate_slide
from napari_damm.train.autoencoder.camera import Cut, Exposure, cut, draw_cut, draw_exposure, expose

Picture = NDArray[np.float32]
LIMITS = (0.1, 99.9)
"""Percentiles that become 0 and 1, as in a section."""
SHARES = {
    "vessels": 0.15,
    "nuclei": 0.22,
    "nanoparticles": 0.15,
    "cells": 0.16,
    "haze": 0.08,
    "lines": 0.06,
    "spots": 0.03,
    "fractal": 0.03,
    "photographs": 0.12,
}
"""How often a crop is of which kind: nuclei are the hardest to reproduce."""
SECTION_PX, DRAWN_PX = 512, 384
SIMULATED = ("vessels", "nuclei", "nanoparticles")
PHOTOGRAPHS = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins"),
    *("colorwheel", "grass", "gravel", "hubble_deep_field", "immunohistochemistry", "moon"),
    *("page", "retina", "rocket", "text"),
)


class DrawnPicture(NamedTuple):
    """A crop of a batch: of which picture, where, and what befalls it."""

    kind: str
    number: int
    cut: Cut
    exposure: Exposure


class PicturePool:
    """Pictures of every kind: so many simulated sections, and so many drawn ones in all.

    Making 48 and 125 takes a few minutes.
    """

    def __init__(self, sections: int = 48, drawn: int = 125) -> None:
        self.pictures: dict[str, list[Picture]] = {kind: [] for kind in SHARES}
        for seed in range(sections):
            for kind, image in simulated(seed, SECTION_PX).items():
                self.pictures[kind].append(image)
        kinds = list(KINDS)
        for seed in range(drawn):
            self.pictures[kinds[seed % len(kinds)]].append(procedural(seed, DRAWN_PX))
        self.pictures["photographs"] = list(photographs())

    def drawn(self, step: int, count: int, size: int) -> list[DrawnPicture]:
        """Draw the crops of a batch, by the step alone."""
        rng = np.random.default_rng([step, 7])
        kinds, shares = list(SHARES), np.array(list(SHARES.values()))
        made = []
        for _ in range(count):
            kind = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
            number = int(rng.integers(len(self.pictures[kind])))
            shape = self.pictures[kind][number].shape
            place = draw_cut(shape, rng, size)
            made.append(DrawnPicture(kind, number, place, draw_exposure(rng, size)))
        return made

    def batch(self, step: int, count: int, size: int) -> Tensor:
        """Return crops (count, 1, size, size) in [-1, 1], by the step alone."""
        made = []
        for each in self.drawn(step, count, size):
            picture = self.pictures[each.kind][each.number]
            made.append(expose(cut(picture, each.cut, size), each.exposure))
        return torch.from_numpy(np.stack(made)[:, None] * 2 - 1)


def simulated(seed: int, size: int) -> dict[str, Picture]:
    """Return the images of a simulated section, of every fourth the noise-free nanoparticles."""
    section = simulate_slide(size, seed, "varied")
    images = {kind: getattr(section, kind) for kind in SIMULATED}
    if seed % 4 == 0:
        images["nanoparticles"] = section.nanoparticles_true
    return {kind: spread(image) for kind, image in images.items()}


def photographs() -> Iterator[Picture]:
    """Yield the planes of the pictures that scikit-image ships."""
    for name in PHOTOGRAPHS:
        image = np.asarray(getattr(data, name)(), np.float32)
        planes = [image] if image.ndim == 2 else list(np.moveaxis(image[..., :3], 2, 0))
        yield from (spread(plane) for plane in planes)


def procedural(seed: int, size: int) -> Picture:
    """Return a drawn picture (size, size); the kinds take turns."""
    rng = np.random.default_rng([seed, 1])
    kinds = list(KINDS.values())
    return spread(kinds[seed % len(kinds)](rng, size))


def spread(image: NDArray[Any]) -> Picture:
    """Map the 0.1 to 99.9 percentiles to 0..1, and clip."""
    low, high = np.percentile(image, LIMITS)
    scaled = (np.asarray(image, np.float32) - low) / max(high - low, 1e-6)
    found: Picture = np.clip(scaled, 0, 1).astype(np.float32)
    return found


def fractal(rng: np.random.Generator, size: int) -> Picture:
    """Return noise whose power falls as 1/f^a, a from 1 (rough) to 3.5 (cloudy), in 0..1."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    stretch = np.exp(rng.uniform(-0.3, 0.3))
    frequency = np.sqrt((fy * stretch) ** 2 + (fx / stretch) ** 2)
    frequency[0, 0] = 1.0
    waves = np.fft.rfft2(rng.standard_normal((size, size)))
    made = np.fft.irfft2(waves * frequency ** -(rng.uniform(1.0, 3.5) / 2), (size, size))
    return spread(made)


def lines(rng: np.random.Generator, size: int) -> Picture:
    """Return winding lines, some hollow, of one width or another: 0.5 px to sheets of 30 px."""
    widest = float(np.exp(rng.uniform(np.log(0.5), np.log(15.0))))
    image = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(8, 30 + int(300 / (1 + widest))))):
        radius = widest * np.exp(rng.uniform(-0.9, 0.0))
        course = _course(rng, size)
        stroke = _stroke(course, size, radius)
        if radius > 2 and rng.random() < 0.5:
            inner = _stroke(course, size, radius * rng.uniform(0.4, 0.8))
            stroke = stroke - inner * rng.uniform(0.3, 1.0)
        np.maximum(image, stroke * np.float32(rng.uniform(0.2, 1.0)), out=image)
    return image * (1 - rng.uniform(0, 0.7) * fractal(rng, size))


def cells(rng: np.random.Generator, size: int) -> Picture:
    """Return packed ellipses with grainy insides, 3 to 24 px wide, over a dim ground."""
    mean = float(np.exp(rng.uniform(np.log(3.0), np.log(24.0)))) / 2
    image = np.zeros((size, size), np.float32)
    grain = fractal(rng, size)
    crowd = fractal(rng, size)
    count = int(min(9000, rng.uniform(0.15, 1.1) * size**2 / (np.pi * mean**2)))
    overlap = rng.random() < 0.5
    for y, x in rng.uniform(0, size, (count, 2)):
        if rng.random() > 0.3 + crowd[int(y), int(x)]:
            continue
        long, wide = mean * rng.uniform(0.8, 1.5), mean * rng.uniform(0.5, 1.0)
        angle = rng.uniform(-np.pi, np.pi)
        at = draw.ellipse(y, x, long, wide, image.shape, angle)  # type: ignore[no-untyped-call]
        bright = np.float32(rng.uniform(0.3, 1.0))
        image[at] = image[at] + bright * 0.5 if overlap else np.maximum(image[at], bright)
    contrast = rng.uniform(0.0, 0.9)
    image *= 1 - contrast + contrast * grain
    soft: Picture = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.2))
    soft += rng.uniform(0, 0.3) * ndimage.gaussian_filter(soft, 12)
    return soft


def spots(rng: np.random.Generator, size: int) -> Picture:
    """Return points of light from sparse to dense, on cloudy ground."""
    image = np.zeros((size, size), np.float32)
    count = int(size**2 * np.exp(rng.uniform(np.log(3e-4), np.log(0.05))))
    at = tuple(rng.integers(0, size, (2, count)))
    np.add.at(image, at, rng.gamma(1.5, 1.0, count).astype(np.float32))
    sharp = ndimage.gaussian_filter(image, rng.uniform(0.4, 2.5))
    on_clouds: Picture = spread(sharp) + rng.uniform(0, 1.0) * fractal(rng, size)
    return on_clouds


def haze(rng: np.random.Generator, size: int) -> Picture:
    """Return what fades away from lines over 1 to 30 px, with texture and holes of cells."""
    source = lines(rng, size) > rng.uniform(0.15, 0.5)
    away = ndimage.distance_transform_edt(~source)
    length = float(np.exp(rng.uniform(np.log(1.0), np.log(30.0))))
    faded: Picture = np.exp(-away / length).astype(np.float32)
    faded *= 1 - rng.uniform(0, 0.8) * fractal(rng, size)
    faded *= 1 - rng.uniform(0, 0.6) * cells(rng, size).clip(0, 1)
    return faded + rng.uniform(0, 0.3) * fractal(rng, size)


KINDS: dict[str, Callable[[np.random.Generator, int], Picture]] = {
    "lines": lines,
    "cells": cells,
    "haze": haze,
    "spots": spots,
    "fractal": fractal,
}


def _course(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return the points (n, 2) of a line that winds; steps of 2 px."""
    steps = int(rng.integers(10, size // 2))
    turn = rng.uniform(0.01, 0.25)
    heading = rng.uniform(-np.pi, np.pi) + np.cumsum(turn * rng.standard_normal(steps))
    start = rng.uniform(-0.1 * size, 1.1 * size, (1, 2))
    course: NDArray[np.float64] = start + 2 * np.cumsum(
        np.stack([np.sin(heading), np.cos(heading)], 1), 0
    )
    return course


def _stroke(course: NDArray[np.float64], size: int, radius: float) -> Picture:
    """Draw a course with soft edges, `radius` px to either side."""
    image = np.zeros((size, size), np.float32)
    pad = int(3 * radius) + 4
    low = np.clip(course.min(0).astype(int) - pad, 0, size)
    high = np.clip(course.max(0).astype(int) + pad, 0, size)
    if (high - low).min() < 2:
        return image
    inside = np.ones(tuple(high - low), bool)
    ends = np.rint(course - low).astype(int)
    for (y0, x0), (y1, x1) in pairwise(ends):
        row, col = draw.line(y0, x0, y1, x1)  # type: ignore[no-untyped-call]
        ok = (row >= 0) & (row < inside.shape[0]) & (col >= 0) & (col < inside.shape[1])
        inside[row[ok], col[ok]] = False
    if inside.all():
        return image
    away = ndimage.distance_transform_edt(inside)
    image[low[0] : high[0], low[1] : high[1]] = np.clip(radius + 0.5 - away, 0, 1)
    return image

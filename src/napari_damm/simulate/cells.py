"""Cells of a simulated section: where they live, where they died, and their nuclei.

1. ``necrotic_fraction``: smooth blobs where cells have died; no vessels start there.
2. ``cell_density``: smooth variation, emptied in necrosis, holes and lumina, thinned around vessels
   that leak (oedema).
3. ``place_nuclei`` and ``draw_nuclei``: a jittered hexagonal packing thinned to that density, drawn
   as soft ellipses with chromatin texture.
4. ``draw_bystanders``: cells that take vessel stain without being vessels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_damm.simulate.fields import Field, Range, Shape, Values, draw, sigmoid, smooth_field

NUCLEUS_HALF_WINDOW = 9
NUCLEI_PER_CHUNK = 4096


@dataclass(frozen=True)
class CellConfig:
    """Ranges (low, high) from which each section draws its cells; lengths in um.

    ``necrosis`` is the share of dead tissue; ``packing`` the sites for nuclei per mm^2 and
    ``occupancy`` the share of them taken at average density; ``bystanders`` the share of cells
    that take the vessel stain faintly.
    """

    necrosis: Range = (0.0, 0.1)
    packing: Range = (5600.0, 6800.0)
    occupancy: Range = (0.6, 0.78)
    nucleus_diameter: Range = (7.2, 8.4)
    bystanders: Range = (0.04, 0.09)


@dataclass(frozen=True)
class Nuclei:
    """Nuclei, one entry each: position, half axes, orientation (rad), brightness, soft edge."""

    y: Values
    x: Values
    major: Values
    minor: Values
    angle: Values
    brightness: Values
    softness: Values


def necrotic_fraction(config: CellConfig, rng: np.random.Generator, shape: Shape) -> Field:
    """Return how necrotic each pixel is, 0..1: a smooth field above its quantile."""
    area = draw(rng, config.necrosis)
    field = smooth_field(rng, shape, 90.0)
    threshold = np.quantile(field[::4, ::4], 1.0 - area) if area > 0.01 else np.float32(9.0)
    return sigmoid(8.0 * (field - threshold))


def cell_density(rng: np.random.Generator, thinning: Field, lumen: Field, necrosis: Field) -> Field:
    """Return the relative density of viable cells, about 1 on average, 0 in lumina."""
    h, w = necrosis.shape
    variation = 0.26 * smooth_field(rng, (h, w), 38.0) + 0.2 * smooth_field(rng, (h, w), 14.0)
    density: Field = np.exp(variation + thinning - 0.08)
    holes = sigmoid((smooth_field(rng, (h, w), 16.0) - 2.0) * 7.0)
    density *= (1.0 - 0.93 * necrosis) * (1.0 - 0.95 * holes) * (1.0 - lumen)
    return density


def place_nuclei(
    config: CellConfig, rng: np.random.Generator, density: Field, necrosis: Field
) -> Nuclei:
    """Return nuclei on a jittered hexagonal packing thinned to ``density``.

    In necrosis what remains is small, round and bright (pyknotic debris).
    """
    h, w = density.shape
    pitch = float(np.sqrt(2.0 / np.sqrt(3.0) * 1e6 / draw(rng, config.packing)))
    i, j = np.mgrid[0 : int(h / (pitch * 0.866)) + 2, 0 : int(w / pitch) + 2]
    jitter = rng.normal(0.0, 0.2 * pitch, (2, *i.shape))
    y, x = i * pitch * 0.866 + jitter[0], (j + 0.5 * (i % 2)) * pitch + jitter[1]
    inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
    y, x = y[inside], x[inside]
    at = y.astype(int), x.astype(int)
    dead = necrosis[at] > 0.5
    chance = np.where(dead, 0.16, draw(rng, config.occupancy) * density[at])
    kept = rng.random(len(y)) < chance
    y, x, dead = y[kept], x[kept], dead[kept]
    n = len(y)
    radius = 0.5 * draw(rng, config.nucleus_diameter) * np.exp(0.13 * rng.standard_normal(n))
    radius = np.where(dead, radius * rng.uniform(0.4, 0.75, n), radius)
    stretch = np.where(dead, 1.0, np.exp(np.abs(0.24 * rng.standard_normal(n))))
    grain = smooth_field(rng, (h, w), 60.0)[y.astype(int), x.astype(int)]
    defocus = np.abs(rng.standard_normal(n))
    return Nuclei(
        y=y,
        x=x,
        major=radius * stretch,
        minor=radius / stretch,
        angle=2.5 * grain + 0.6 * rng.standard_normal(n),
        brightness=np.exp(0.28 * rng.standard_normal(n))
        * np.where(dead, 1.5, 1.0)
        / (1.0 + 0.35 * defocus**2),
        softness=0.35 + 0.4 * defocus,
    )


def draw_nuclei(nuclei: Nuclei, rng: np.random.Generator, shape: Shape) -> tuple[Field, Field]:
    """Return the nuclear stain with chromatin texture and the area covered by nuclei (0..1)."""
    h, w = shape
    stain, cover = np.zeros(h * w), np.zeros(h * w)
    reach = np.arange(-NUCLEUS_HALF_WINDOW, NUCLEUS_HALF_WINDOW + 1)
    for first in range(0, len(nuclei.y), NUCLEI_PER_CHUNK):
        part = slice(first, first + NUCLEI_PER_CHUNK)
        rows = np.floor(nuclei.y[part]).astype(int)[:, None, None] + reach[None, :, None]
        cols = np.floor(nuclei.x[part]).astype(int)[:, None, None] + reach[None, None, :]
        y = (rows + 0.5 - nuclei.y[part, None, None]).astype(np.float32)
        x = (cols + 0.5 - nuclei.x[part, None, None]).astype(np.float32)
        cos, sin = (f(nuclei.angle[part, None, None]).astype(np.float32) for f in (np.cos, np.sin))
        major = nuclei.major[part, None, None].astype(np.float32)
        minor = nuclei.minor[part, None, None].astype(np.float32)
        rho = np.hypot((x * cos + y * sin) / major, (y * cos - x * sin) / minor)
        edge = (1.0 - rho) * minor / nuclei.softness[part, None, None].astype(np.float32)
        body = sigmoid(2.0 * edge)
        inside = (rows >= 0) & (rows < h) & (cols >= 0) & (cols < w)
        flat = (rows * w + cols)[inside]
        bright = body * nuclei.brightness[part, None, None]
        stain += np.bincount(flat, weights=bright[inside], minlength=h * w)
        cover += np.bincount(flat, weights=body[inside], minlength=h * w)
    chromatin = np.exp(0.22 * smooth_field(rng, shape, 1.3))
    textured = stain.reshape(shape).astype(np.float32) * chromatin
    return textured, np.minimum(cover, 1.0).reshape(shape).astype(np.float32)


def draw_bystanders(
    config: CellConfig, nuclei: Nuclei, rng: np.random.Generator, shape: Shape
) -> Field:
    """Return faint rings of vessel stain around some nuclei: cells that are no vessels."""
    chosen = np.nonzero(rng.random(len(nuclei.y)) < draw(rng, config.bystanders))[0]
    brightness = rng.gamma(2.0, 0.5, len(chosen))
    spots = np.zeros(shape, dtype=np.float32)
    np.add.at(spots, (nuclei.y[chosen].astype(int), nuclei.x[chosen].astype(int)), brightness)
    outer = ndimage.gaussian_filter(spots, 3.4) * (2.0 * np.pi * 3.4**2)
    inner = ndimage.gaussian_filter(spots, 2.2) * (2.0 * np.pi * 2.2**2)
    ring: Field = 0.22 * np.maximum(outer - 0.65 * inner, 0.0)
    return ring

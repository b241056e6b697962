"""Vessels of a simulated section: how they grow, how they look, and how much they leak.

1. ``grow_vessels``: persistent random walks with branches and sprouts; calibre, tortuosity, stain
   and patchiness of each vessel follow the part of its leakiness that its look gives away.
2. ``draw_vessels``: every pixel takes the attributes of the nearest centreline point; its distance
   to the wall gives lumen, wall and stain.
3. ``_thinning_around``: how much sparser cells lie near leaky vessels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.simulate.fields import (
    Field,
    Range,
    Shape,
    Values,
    draw,
    resize,
    sigmoid,
    smooth_field,
)

MAX_STEPS = 220
"""Longest walk, um."""
REACH_UM = 40.0
"""Distance from a centreline beyond which a pixel belongs to no vessel."""


@dataclass(frozen=True)
class VesselConfig:
    """Ranges (low, high) from which each section draws its vessels; lengths in um.

    ``density`` counts vessels per mm^2 and ``branches`` per vessel; ``tortuosity`` is the random
    change of curvature per um. ``leakiness_from_look``, ``leakiness_from_cells`` and
    ``hidden_leakiness`` are the shares of the variance of a vessel's log leakiness that show in
    the vessel stain, in the density of cells around it, and nowhere; ``leakiness_spread`` is the
    standard deviation of log leakiness.
    """

    density: Range = (120.0, 190.0)
    length: Range = (34.0, 48.0)
    calibre: Range = (2.0, 2.6)
    open_fraction: Range = (0.22, 0.36)
    tortuosity: Range = (0.04, 0.065)
    branches: Range = (0.5, 1.0)
    leakiness_from_look: float = 0.66
    leakiness_from_cells: float = 0.27
    hidden_leakiness: float = 0.07
    leakiness_spread: float = 0.7


@dataclass(frozen=True)
class Vessels:
    """Centreline points of all vessels, one entry per point (float64, um or relative).

    ``y, x`` position; ``radius`` of the lumen's outer wall; ``stain`` brightness; ``patchiness``
    0..1; ``fill`` stain seen across the lumen (1: collapsed); ``leakiness`` relative flux through
    the wall; ``thinning`` log change of cell density around the vessel.
    """

    y: Values
    x: Values
    radius: Values
    stain: Values
    patchiness: Values
    fill: Values
    leakiness: Values
    thinning: Values


@dataclass(frozen=True)
class VesselMaps:
    """Vessels on the pixel grid, float32.

    ``stain`` relative brightness; ``lumen`` 0..1; ``source`` flux through the wall; ``thinning``
    log change of cell density.
    """

    stain: Field
    lumen: Field
    source: Field
    thinning: Field


def grow_vessels(config: VesselConfig, rng: np.random.Generator, necrosis: Field) -> Vessels:
    """Return vessel centrelines: seeded walks, branches of walks, and thin pointed sprouts.

    A vessel's leakiness exp(spread z) has z = look + cells + hidden, in the shares of ``config``.
    Leaky tumour vessels are wider, more tortuous, and dimmer and patchier in CD31; the tissue
    around them is oedematous, hence sparser (enhanced permeability and retention, EPR).
    """
    y, x = _seed_points(config, rng, necrosis)
    n = len(y)
    look, cells, hidden = rng.standard_normal((3, n))
    z = (
        np.sqrt(config.leakiness_from_look) * look
        + np.sqrt(config.leakiness_from_cells) * cells
        + np.sqrt(config.hidden_leakiness) * hidden
    )
    is_open = rng.random(n) < draw(rng, config.open_fraction) * np.exp(0.3 * look)
    radius = draw(rng, config.calibre) * np.exp(0.36 * look + 0.12 * rng.standard_normal(n))
    radius *= np.where(is_open, rng.uniform(1.8, 4.2, n), 1.0)
    length = draw(rng, config.length) * np.exp(0.5 * rng.standard_normal(n))
    trait = {
        "radius": radius,
        "stain": np.exp(-0.2 * look + 0.1 * rng.standard_normal(n)),
        "patchiness": 0.85 * sigmoid(1.3 * look).astype(np.float64),
        "fill": np.where(is_open, rng.uniform(0.05, 0.35, n), 1.0),
        "leakiness": np.exp(config.leakiness_spread * z),
        "thinning": -0.65 * cells,
    }
    bend = draw(rng, config.tortuosity) * np.exp(0.4 * look)
    walks = _walk(rng, y, x, rng.uniform(0, 2 * np.pi, n), bend, np.where(is_open, 0.4, 1) * length)
    parts = [_points(walks, np.arange(n), trait, 1.0)]
    for per_vessel, relative_length, thickness in (
        (draw(rng, config.branches), 0.55, 0.8),
        (0.9, 0.24, 0.6),
    ):
        parent, start, heading = _branch_points(rng, walks, per_vessel, n)
        shape = relative_length * length[parent] * np.exp(0.3 * rng.standard_normal(len(parent)))
        twigs = _walk(rng, start[0], start[1], heading, bend[parent], shape + 4.0)
        parts.append(_points(twigs, parent, trait, thickness))
    return Vessels(**{k: np.concatenate([p[k] for p in parts]) for k in parts[0]})


def _seed_points(
    config: VesselConfig, rng: np.random.Generator, necrosis: Field
) -> tuple[Values, Values]:
    """Return starting points (y, x): a Poisson process, clustered, absent from necrosis."""
    h, w = necrosis.shape
    crowding = np.exp(0.45 * smooth_field(rng, (h, w), 70.0))
    expected = draw(rng, config.density) * h * w * 1e-6
    n = max(3, int(rng.poisson(expected)))
    y, x = rng.uniform(0, h, 6 * n), rng.uniform(0, w, 6 * n)
    at = y.astype(int), x.astype(int)
    chance = crowding[at] * (1.0 - necrosis[at])
    # Gumbel keys: the n largest are a draw without replacement in proportion to the chances.
    kept = np.argsort(-np.log(chance + 1e-9) - rng.gumbel(size=6 * n), kind="stable")[:n]
    return y[kept], x[kept]


def _walk(
    rng: np.random.Generator, y: Values, x: Values, heading: Values, bend: Values, length: Values
) -> tuple[Values, Values, Values, Values]:
    """Return persistent random walks of 1-um steps: y, x, heading (n, steps) and position 0..1.

    The curvature is an AR(1) process, so walks wind smoothly; steps past ``length`` are NaN in
    the relative position.
    """
    steps = int(np.clip(np.ceil(length.max(initial=1.0)), 2, MAX_STEPS))
    kicks = rng.standard_normal((len(y), steps)) * bend[:, None]
    curvature = np.zeros_like(kicks)
    for i in range(1, steps):
        curvature[:, i] = 0.86 * curvature[:, i - 1] + kicks[:, i]
    angle = heading[:, None] + np.cumsum(curvature * 0.6, axis=1)
    ys = y[:, None] + np.cumsum(np.sin(angle), axis=1)
    xs = x[:, None] + np.cumsum(np.cos(angle), axis=1)
    along = np.arange(steps)[None, :] / length[:, None]
    return ys, xs, angle, np.where(along <= 1.0, along, np.nan)


def _branch_points(
    rng: np.random.Generator,
    walks: tuple[Values, Values, Values, Values],
    per_vessel: float,
    n: int,
) -> tuple[NDArray[np.int64], tuple[Values, Values], Values]:
    """Return parents, start points and headings of side branches, 35-95 degrees off the parent."""
    ys, xs, angle, along = walks
    parent = np.repeat(np.arange(n), rng.poisson(per_vessel, n))
    steps_of = np.count_nonzero(np.isfinite(along), axis=1)[parent]
    at = (rng.random(len(parent)) * steps_of).astype(int)
    turn = rng.uniform(0.4, 1.2, len(parent)) * rng.choice([-1.0, 1.0], len(parent))
    return parent, (ys[parent, at], xs[parent, at]), angle[parent, at] + turn


def _points(
    walks: tuple[Values, Values, Values, Values],
    owner: NDArray[np.int64],
    trait: dict[str, Values],
    thickness: float,
) -> dict[str, Values]:
    """Return the walks' points with the traits of their vessels; radii taper to pointed ends."""
    ys, xs, _, along = walks
    inside = np.isfinite(along)
    rows = owner[np.nonzero(inside)[0]]
    points = {name: value[rows] for name, value in trait.items()}
    taper = 1.0 - np.abs(2.0 * along[inside] - 1.0) ** 2.5
    points["radius"] = points["radius"] * thickness * (0.2 + 0.8 * taper)
    return {"y": ys[inside], "x": xs[inside]} | points


def draw_vessels(vessels: Vessels, rng: np.random.Generator, shape: Shape) -> VesselMaps:
    """Return the vessels on the pixel grid, each pixel by its nearest centreline point."""
    h, w = shape
    rows, cols = np.floor(vessels.y).astype(int), np.floor(vessels.x).astype(int)
    inside = np.nonzero((rows >= 0) & (rows < h) & (cols >= 0) & (cols < w))[0]
    point_at = np.full(shape, -1, dtype=np.int32)
    point_at[rows[inside], cols[inside]] = inside
    distance, nearest = ndimage.distance_transform_edt(point_at < 0, return_indices=True)
    point = point_at[nearest[0], nearest[1]]
    del nearest
    reach = np.nonzero(distance.ravel() < REACH_UM)[0]
    of = point.ravel()[reach]
    rough = smooth_field(rng, shape, 2.4).ravel()[reach]
    bulge = smooth_field(rng, shape, 7.0).ravel()[reach]
    patch = smooth_field(rng, shape, 3.4).ravel()[reach]
    d = distance.ravel()[reach].astype(np.float32)
    r = vessels.radius[of].astype(np.float32) * np.exp(0.35 * bulge)
    to_wall = d + 0.28 * np.sqrt(r) * rough - np.maximum(r - 1.1, 0.0)
    edge = np.exp(-((to_wall / 1.25) ** 2))
    within = np.where(to_wall < 0, np.float32(1.0), edge)
    fill = vessels.fill[of].astype(np.float32)
    profile = np.where(to_wall < 0, fill + (1.0 - fill) * edge, edge)
    lost = np.clip(vessels.patchiness[of] * (0.75 + 0.9 * patch), 0.0, 0.92)
    stain = vessels.stain[of] * profile * (1.0 - lost) * np.exp(0.3 * bulge + 0.1 * rough)

    def on_grid(values: NDArray[np.floating]) -> Field:
        field = np.zeros(h * w, dtype=np.float32)
        field[reach] = values
        return field.reshape(shape)

    return VesselMaps(
        stain=on_grid(np.maximum(stain, 0.0)),
        lumen=on_grid(within * (r > 3.2)),
        source=on_grid(edge * vessels.leakiness[of]),
        thinning=_thinning_around(vessels, shape),
    )


def _thinning_around(vessels: Vessels, shape: Shape) -> Field:
    """Return the log change of cell density: the mean of nearby vessels, fading within 30 um."""
    grid = 4
    coarse = tuple(-(-n // grid) for n in shape)
    edges = [np.arange(n + 1) * grid for n in coarse]
    weight, total = (
        ndimage.gaussian_filter(np.histogram2d(vessels.y, vessels.x, edges, weights=w)[0], 5.0)
        for w in (None, vessels.thinning)
    )
    # 0.02 points per cell: what one vessel leaves at about 30 um.
    mean = resize(
        (total / (weight + 0.02)).astype(np.float32), (coarse[0] * grid, coarse[1] * grid)
    )
    return mean[: shape[0], : shape[1]]

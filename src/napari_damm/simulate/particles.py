"""Nanoparticles in a simulated tumour section: transport from leaky vessels into the tissue.

1. ``hindrance``: cells slow diffusion and take particles up, so D and k follow cell density.
2. ``solve_steady_state``: div(D grad c) - k c + s = 0 on a 2-um grid with no flux at the border,
   by conjugate gradients preconditioned with the constant-coefficient (cosine transform) solution.
3. ``distribute``: uptake saturates, nuclei exclude particles, and endosomes gather some in puncta.
4. ``bind``: in some populations a share of them never leaves the vessels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import fft

from napari_damm.simulate.fields import (
    Field,
    Range,
    Shape,
    Values,
    draw,
    resize,
    smooth_field,
)

GRID_UM = 2


@dataclass(frozen=True)
class ParticleConfig:
    """Ranges (low, high) from which each section draws its particles; lengths in um.

    ``diffusion_length`` = sqrt(D/k) in tissue of average density (shorter for larger particles);
    ``hindrance`` and ``uptake`` say how strongly cell density lowers D and raises k;
    ``exclusion`` is the share of the signal that a nucleus displaces (less than 1: a section is
    thicker than a nucleus is deep); ``saturation`` the concentration, relative to its 99th
    percentile, at which uptake is half full; ``puncta`` their number per um^2 at full signal and
    ``punctum`` their mean brightness (signal x um^2). In ``bound_sections`` of the sections a share
    ``bound`` of the signal lies in the vessels and on their walls.
    """

    diffusion_length: Range = (9.0, 13.0)
    hindrance: Range = (0.5, 0.8)
    uptake: Range = (0.4, 0.6)
    exclusion: Range = (0.35, 0.5)
    saturation: Range = (0.5, 0.8)
    puncta: Range = (0.006, 0.012)
    punctum: Range = (1.2, 2.0)
    bound_sections: float = 0.0
    bound: Range = (0.0, 0.0)


def hindrance(
    config: ParticleConfig, rng: np.random.Generator, density: Values
) -> tuple[Values, Values]:
    """Return diffusion D (um^2 per unit time) and clearance k (1 per unit time) at each point.

    D falls and k rises with cell density rho: D = L^2 exp(-h (rho - 1)), k = 1 + u (rho - 1), L the
    diffusion length.
    """
    length = draw(rng, config.diffusion_length)
    crowding = np.clip(density, 0.0, 3.0) - 1.0
    diffusion = length**2 * np.exp(-draw(rng, config.hindrance) * crowding)
    clearance = np.maximum(1.0 + draw(rng, config.uptake) * crowding, 0.2)
    return diffusion, clearance


def solve_steady_state(
    source: Values,
    diffusion: Values,
    clearance: Values,
    spacing: float = 1.0,
    tolerance: float = 1e-4,
) -> Values:
    """Return the concentration c with div(D grad c) - k c + s = 0 and no flux at the border.

    Parameters
    ----------
    source, diffusion, clearance : float64 arrays (y, x)
        s >= 0, D > 0 (um^2 per unit time) and k > 0 (per unit time).
    spacing : float
        Grid spacing in um.
    tolerance : float
        Residual, relative to the source, at which the iteration stops (at most 100 iterations).
    """
    down = _face_conductance(diffusion, 0) / spacing**2
    right = _face_conductance(diffusion, 1) / spacing**2

    def operator(c: Values) -> Values:
        flow_y, flow_x = down * np.diff(c, axis=0), right * np.diff(c, axis=1)
        out = clearance * c
        out[:-1] -= flow_y
        out[1:] += flow_y
        out[:, :-1] -= flow_x
        out[:, 1:] += flow_x
        return out

    h, w = source.shape
    wave = [2.0 - 2.0 * np.cos(np.pi * np.arange(n) / n) for n in (h, w)]
    mean_diffusion = float(np.exp(np.log(diffusion).mean())) / spacing**2
    symbol = mean_diffusion * (wave[0][:, None] + wave[1][None, :]) + clearance.mean()

    def precondition(r: Values) -> Values:
        solved: Values = fft.idctn(fft.dctn(r, norm="ortho") / symbol, norm="ortho")
        return solved

    c = precondition(source)
    residual = source - operator(c)
    stop = tolerance * float(np.linalg.norm(source))
    z = precondition(residual)
    direction, rho = z, float(np.vdot(residual, z))
    for _ in range(100):
        if float(np.linalg.norm(residual)) <= stop:
            break
        image = operator(direction)
        alpha = rho / float(np.vdot(direction, image))
        c = c + alpha * direction
        residual = residual - alpha * image
        z = precondition(residual)
        rho, previous = float(np.vdot(residual, z)), rho
        direction = z + (rho / previous) * direction
    return c


def _face_conductance(diffusion: Values, axis: int) -> Values:
    """Return D on the faces between cells: the harmonic mean, which conserves flux."""
    a = np.moveaxis(diffusion, axis, 0)
    return np.moveaxis(2.0 * a[1:] * a[:-1] / (a[1:] + a[:-1]), 0, axis)


def block_mean(field: Field, block: int) -> Values:
    """Return means over ``block`` x ``block`` pixels, float64; the last row and column repeat."""
    h, w = field.shape
    padded = np.pad(field, ((0, -h % block), (0, -w % block)), mode="edge").astype(np.float64)
    rows, cols = padded.shape[0] // block, padded.shape[1] // block
    means: Values = padded.reshape(rows, block, cols, block).mean(axis=(1, 3))
    return means


def concentration(
    config: ParticleConfig, rng: np.random.Generator, source: Field, density: Field
) -> Field:
    """Return the particle concentration on the pixel grid, float32, arbitrary units."""
    h, w = source.shape
    diffusion, clearance = hindrance(config, rng, block_mean(density, GRID_UM))
    c = solve_steady_state(block_mean(source, GRID_UM), diffusion, clearance, GRID_UM)
    rows, cols = c.shape
    grown = resize(c.astype(np.float32), (rows * GRID_UM, cols * GRID_UM))
    return np.maximum(grown[:h, :w], 0.0)


def distribute(
    config: ParticleConfig, rng: np.random.Generator, free: Field, nuclei: Field
) -> Field:
    """Return the particle signal (float32, about 0..1): saturating haze plus puncta."""
    half = draw(rng, config.saturation) * float(np.quantile(free[::2, ::2], 0.99)) + 1e-12
    haze = free / (free + half) * (1.0 - draw(rng, config.exclusion) * nuclei)
    per_pixel = draw(rng, config.puncta) * haze * (1.0 - 0.8 * nuclei)
    count = rng.poisson(per_pixel)
    at = np.nonzero(count)
    puncta = np.zeros(free.shape, dtype=np.float32)
    mean = draw(rng, config.punctum)
    puncta[at] = mean * rng.gamma(2.0 * count[at], 0.5)
    total: Field = (haze + puncta).astype(np.float32)
    return total


def bind(
    config: ParticleConfig, rng: np.random.Generator, particles: Field, vessel_stain: Field
) -> Field:
    """Return the particles with the share that the vessels keep, as float32 of the same scale.

    How well each stretch of vessel is perfused varies over some tens of um.
    """
    if not config.bound_sections or rng.random() >= config.bound_sections:
        return particles
    shape: Shape = (particles.shape[0], particles.shape[1])
    share = draw(rng, config.bound)
    perfused = vessel_stain * np.exp(0.6 * smooth_field(rng, shape, 20.0))
    bright, kept = (float(np.quantile(a[::2, ::2], 0.995)) for a in (particles, perfused))
    total: Field = (1.0 - share) * particles + share * bright / (kept + 1e-12) * perfused
    return total.astype(np.float32)

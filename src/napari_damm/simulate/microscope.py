"""The microscope of a simulated section: light becomes camera counts.

1. ``point_spread``: a sharp core plus the wide, weak halo of light from out-of-focus planes.
2. ``expose``: signal and autofluorescence become photons, shot noise and camera counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.simulate.fields import Field, Range, Shape, draw, smooth_field

FULL_SCALE = 4095
"""Camera counts of a saturated pixel (12 bit)."""


@dataclass(frozen=True)
class CameraConfig:
    """Ranges (low, high) from which each section draws one channel's optics; lengths in um.

    ``core`` and ``halo`` are the Gaussian widths of the point spread, ``halo_share`` the light in
    the halo; ``photons`` per pixel at signal 1; ``gain`` counts per photon; ``background`` and
    ``autofluorescence`` in signal units; ``read_noise`` and ``offset`` in counts.
    """

    core: Range = (0.7, 1.0)
    halo: Range = (6.0, 9.0)
    halo_share: Range = (0.2, 0.3)
    photons: Range = (250.0, 400.0)
    gain: Range = (3.0, 4.0)
    background: Range = (0.02, 0.05)
    autofluorescence: Range = (0.03, 0.06)
    read_noise: Range = (3.0, 6.0)
    offset: Range = (90.0, 110.0)


def point_spread(config: CameraConfig, rng: np.random.Generator, signal: Field) -> Field:
    """Return ``signal`` as the objective spreads it: sharp core plus wide halo."""
    core, halo, share = (draw(rng, r) for r in (config.core, config.halo, config.halo_share))
    sharp = ndimage.gaussian_filter(signal, core, truncate=3.0)
    wide = ndimage.gaussian_filter(signal, halo, truncate=3.0)
    mixed: Field = (1.0 - share) * sharp + share * wide
    return mixed


def expose(
    config: CameraConfig, rng: np.random.Generator, signal: Field, glowing: Field
) -> tuple[NDArray[np.uint16], float]:
    """Return the image in camera counts and the counts per unit of signal.

    ``glowing`` (about 1) is where autofluorescence comes from. Photons are Poisson distributed;
    read noise is Gaussian; counts clip at 12 bit.
    """
    shape: Shape = (signal.shape[0], signal.shape[1])
    glow = draw(rng, config.autofluorescence) * glowing
    glow *= np.exp(0.45 * smooth_field(rng, shape, 30.0))
    photons = draw(rng, config.photons)
    expected = photons * (signal + glow + draw(rng, config.background))
    gain = draw(rng, config.gain)
    counts = gain * rng.poisson(np.maximum(expected, 0.0)).astype(np.float32)
    counts += draw(rng, config.offset)
    counts += draw(rng, config.read_noise) * rng.standard_normal(shape, dtype=np.float32)
    return np.clip(np.rint(counts), 0, FULL_SCALE).astype(np.uint16), gain * photons

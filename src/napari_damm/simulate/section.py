"""One simulated section: the stages in order, each with a random stream of its own.

1. The tissue: necrosis, vessels, density of cells, nuclei; then the particles in it.
2. Divergence: comes after the particles and touches the nuclear stain alone.
3. The pictures: point spread, bleed-through, autofluorescence and noise, channel by channel;
   some are kept as JPEG.

Because streams are separate, switching a stage off leaves every other as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.simulate.cells import (
    cell_density,
    draw_bystanders,
    draw_nuclei,
    necrotic_fraction,
    place_nuclei,
)
from napari_damm.simulate.divergence import plant_divergence
from napari_damm.simulate.fields import Field, Shape, draw
from napari_damm.simulate.jpeg import compress
from napari_damm.simulate.microscope import expose, point_spread
from napari_damm.simulate.particles import bind, concentration, distribute
from napari_damm.simulate.presets import PRESETS, Optics, SimulationConfig
from napari_damm.simulate.vessels import draw_vessels, grow_vessels

Counts = NDArray[np.uint16]
Streams = dict[str, np.random.Generator]

PIXEL_SIZE_UM = 1.0
"""Pixel size of every simulated section, um."""
MIN_SIZE = 64
MAX_SIZE = 32_768
"""Smallest side of a section, px."""
EVALUATION_SEEDS_FROM = 10_000
"""Seeds from here on are for evaluation; no training ever sees their sections."""
CHANNELS = ("vessels", "nuclei", "nanoparticles", "divergence", "nanoparticles_true")
GLOW_BLUR_UM = 3.0
"""How softly autofluorescence fades into holes: a section is thicker than the focus is deep."""
# In this order each stage gets its random stream: append, never reorder.
STAGES: tuple[str, ...] = (
    "necrosis",
    "vessels",
    "raster",
    "density",
    "nuclei",
    "chromatin",
    "bystanders",
    "transport",
    "puncta",
    "divergence",
    "vessels optics",
    "nuclei optics",
    "nanoparticles optics",
    "bound",
    "bleed",
    "jpeg",
)


@dataclass(frozen=True)
class Tissue:
    """What lies under the microscope, float32 (y, x), in units of about 1.

    ``density`` of cells, ``vessel_stain``, ``nuclear_stain`` and ``particles``.
    """

    density: Field
    vessel_stain: Field
    nuclear_stain: Field
    particles: Field


@dataclass(frozen=True)
class SimulatedSlide:
    """One simulated section; arrays are (y, x) and share one grid.

    ``vessels``, ``nuclei``, ``nanoparticles`` : uint16 camera counts (12 bit), as imaged.
    ``divergence`` : uint8, 1 where the nuclei image misleads.
    ``nanoparticles_true`` : float32, the counts that the particles alone would give through the
    microscope's point spread without any noise, offset, background or bleed-through.
    """

    vessels: NDArray[np.uint16]
    nuclei: NDArray[np.uint16]
    nanoparticles: NDArray[np.uint16]
    divergence: NDArray[np.uint8]
    nanoparticles_true: Field
    pixel_size_um: float
    seed: int
    preset: str

    def channels(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by channel name, in file order."""
        return {name: getattr(self, name) for name in CHANNELS}


def training_seed(index: int) -> int:
    """Return the seed of training section ``index``; refuse those reserved for evaluation.

    Raises
    ------
    ValueError
        If ``index`` is not in 0..9999.
    """
    if not 0 <= index < EVALUATION_SEEDS_FROM:
        raise ValueError(
            f"training seeds run from 0 to {EVALUATION_SEEDS_FROM - 1} (the rest are reserved for "
            f"evaluation), got {index}"
        )
    return index


def simulate_slide(
    size: int | tuple[int, int],
    seed: int,
    preset: str = "internal",
    divergence: bool = True,
    config: SimulationConfig | None = None,
) -> SimulatedSlide:
    """Simulate one tumour section at 1 um per pixel.

    Parameters
    ----------
    size : int or (height, width)
        Section size in pixels, at least 64 a side.
    seed : int
        Section number, 0 or more; 10,000 and up are reserved for evaluation.
    preset : {"internal", "external", "varied"}
        Population of sections; ``external`` has other vessels, particles, stain and camera, and
        ``varied`` draws all of these from wide ranges, for training.
    divergence : bool
        Whether to plant divergence. Only ``nuclei`` and ``divergence`` depend on it.
    config : SimulationConfig, optional
        Replaces the preset's ranges (the preset then only names the random streams).

    Raises
    ------
    ValueError
        If size, seed or preset is out of range.
    """
    shape = check_size(size)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of 0 or more, got {seed!r}")
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    config = config or PRESETS[preset]
    rng = _streams(int(seed), preset)

    tissue = _tissue(config, rng, shape)
    stain, mask = tissue.nuclear_stain, np.zeros(shape, dtype=np.uint8)
    if divergence:
        stain, mask = plant_divergence(config.divergence, rng["divergence"], stain)
    vessels, nuclei, nanoparticles, truth = _pictures(config.optics, rng, tissue, stain)
    return SimulatedSlide(
        vessels=vessels,
        nuclei=nuclei,
        nanoparticles=nanoparticles,
        divergence=mask,
        nanoparticles_true=truth,
        pixel_size_um=PIXEL_SIZE_UM,
        seed=int(seed),
        preset=preset,
    )


def _tissue(config: SimulationConfig, rng: Streams, shape: Shape) -> Tissue:
    """Return the tissue and the particles in it; knows nothing of divergence or microscope."""
    necrosis = necrotic_fraction(config.cells, rng["necrosis"], shape)
    grown = grow_vessels(config.vessels, rng["vessels"], necrosis)
    vessels = draw_vessels(grown, rng["raster"], shape)
    density = cell_density(rng["density"], vessels.thinning, vessels.lumen, necrosis)
    nuclei = place_nuclei(config.cells, rng["nuclei"], density, necrosis)
    stain, cover = draw_nuclei(nuclei, rng["chromatin"], shape)
    bystanders = draw_bystanders(config.cells, nuclei, rng["bystanders"], shape)
    free = concentration(config.particles, rng["transport"], vessels.source, density)
    loose = distribute(config.particles, rng["puncta"], free, cover)
    return Tissue(
        density=density,
        vessel_stain=vessels.stain + bystanders,
        nuclear_stain=stain,
        particles=bind(config.particles, rng["bound"], loose, vessels.stain),
    )


def _pictures(
    optics: Optics, rng: Streams, tissue: Tissue, seen_stain: Field
) -> tuple[Counts, Counts, Counts, Field]:
    """Return vessels, nuclei and nanoparticles as imaged, and the nanoparticles without noise."""
    leak = {
        each.name: draw(rng["bleed"], getattr(optics.bleed, each.name))
        for each in fields(optics.bleed)
    }
    spread_v = point_spread(optics.vessels, rng["vessels optics"], tissue.vessel_stain)
    spread_n = point_spread(optics.nuclei, rng["nuclei optics"], seen_stain)
    spread_p = point_spread(optics.nanoparticles, rng["nanoparticles optics"], tissue.particles)
    # The vessels record the undiverged nuclei, so that divergence stays in the nuclei image.
    light_v = spread_v + leak["nuclei_in_vessels"] * tissue.nuclear_stain
    light_v += leak["nanoparticles_in_vessels"] * spread_p
    light_n = spread_n + leak["vessels_in_nuclei"] * spread_v
    light_p = spread_p + leak["vessels_in_nanoparticles"] * spread_v
    light_n += leak["nanoparticles_in_nuclei"] * spread_p
    light_p += leak["nuclei_in_nanoparticles"] * spread_n
    glowing = ndimage.gaussian_filter(np.minimum(tissue.density, 1.5), GLOW_BLUR_UM)
    vessels, _ = expose(optics.vessels, rng["vessels optics"], light_v, glowing)
    nuclei, _ = expose(optics.nuclei, rng["nuclei optics"], light_n, glowing)
    seen, counts = expose(optics.nanoparticles, rng["nanoparticles optics"], light_p, glowing)
    vessels, seen, nuclei = compress(optics.jpeg, rng["jpeg"], vessels, seen, nuclei)
    return vessels, nuclei, seen, spread_p * np.float32(counts)


def check_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width).

    Raises
    ------
    ValueError
        If a side is not a whole number of pixels, or out of range.
    """
    shape = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    whole = all(isinstance(n, (int, np.integer)) for n in shape)
    if len(shape) != 2 or not whole or min(shape) < MIN_SIZE:
        raise ValueError(f"size must be {MIN_SIZE} px or more a side, got {size}")
    if max(shape) > MAX_SIZE:
        raise ValueError(f"size must be {MAX_SIZE} px or less a side, got {size}")
    return int(shape[0]), int(shape[1])


def _streams(seed: int, preset: str) -> Streams:
    """Return one independent random stream per stage."""
    root = np.random.SeedSequence([seed, list(PRESETS).index(preset)])
    children = root.spawn(len(STAGES))
    return {s: np.random.default_rng(c) for s, c in zip(STAGES, children, strict=True)}

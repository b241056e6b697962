"""What sections are drawn from: one frozen configuration per population.

A section draws every (low, high) range anew by its seed, so that sections of one preset differ as
mice, stains and exposures do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_damm.simulate.cells import CellConfig
from napari_damm.simulate.divergence import DivergenceConfig
from napari_damm.simulate.fields import Range
from napari_damm.simulate.jpeg import JPEGConfig
from napari_damm.simulate.microscope import CameraConfig
from napari_damm.simulate.particles import ParticleConfig
from napari_damm.simulate.vessels import VesselConfig


@dataclass(frozen=True)
class BleedThrough:
    """Ranges (low, high) of the share of one channel's light that another records."""

    nuclei_in_vessels: Range = (0.02, 0.02)
    nanoparticles_in_vessels: Range = (0.01, 0.01)
    vessels_in_nuclei: Range = (0.02, 0.02)
    nanoparticles_in_nuclei: Range = (0.0, 0.0)
    vessels_in_nanoparticles: Range = (0.02, 0.02)
    nuclei_in_nanoparticles: Range = (0.0, 0.0)


@dataclass(frozen=True)
class Optics:
    """The camera of each channel, what leaks between them, and how the pictures are kept."""

    vessels: CameraConfig = field(default_factory=CameraConfig)
    nuclei: CameraConfig = field(default_factory=CameraConfig)
    nanoparticles: CameraConfig = field(default_factory=CameraConfig)
    bleed: BleedThrough = field(default_factory=BleedThrough)
    jpeg: JPEGConfig = field(default_factory=JPEGConfig)


@dataclass(frozen=True)
class SimulationConfig:
    """Everything a section is drawn from."""

    vessels: VesselConfig = field(default_factory=VesselConfig)
    cells: CellConfig = field(default_factory=CellConfig)
    particles: ParticleConfig = field(default_factory=ParticleConfig)
    divergence: DivergenceConfig = field(default_factory=DivergenceConfig)
    optics: Optics = field(default_factory=Optics)


INTERNAL = SimulationConfig(
    optics=Optics(
        nuclei=CameraConfig(core=(1.0, 1.4), halo=(7.0, 10.0), halo_share=(0.3, 0.4)),
        nanoparticles=CameraConfig(
            photons=(120.0, 200.0), gain=(6.0, 9.0), autofluorescence=(0.015, 0.03)
        ),
    ),
)

EXTERNAL = SimulationConfig(
    vessels=VesselConfig(
        density=(80.0, 130.0),
        length=(24.0, 36.0),
        calibre=(2.3, 3.0),
        open_fraction=(0.12, 0.22),
        tortuosity=(0.03, 0.05),
        branches=(0.2, 0.6),
        leakiness_spread=0.6,
    ),
    cells=CellConfig(packing=(6200.0, 7600.0), nucleus_diameter=(6.8, 7.8)),
    particles=ParticleConfig(
        diffusion_length=(6.5, 9.0), hindrance=(0.6, 0.9), puncta=(0.01, 0.018)
    ),
    optics=Optics(
        vessels=CameraConfig(
            core=(1.1, 1.5),
            halo=(10.0, 14.0),
            halo_share=(0.35, 0.45),
            photons=(120.0, 200.0),
            gain=(7.0, 10.0),
            background=(0.05, 0.1),
            autofluorescence=(0.03, 0.07),
            read_noise=(6.0, 10.0),
        ),
        nuclei=CameraConfig(
            core=(1.4, 1.9),
            halo=(10.0, 14.0),
            halo_share=(0.4, 0.5),
            photons=(100.0, 160.0),
            gain=(9.0, 13.0),
            background=(0.08, 0.14),
            read_noise=(6.0, 10.0),
        ),
        nanoparticles=CameraConfig(
            core=(1.0, 1.4),
            photons=(90.0, 150.0),
            gain=(9.0, 13.0),
            background=(0.05, 0.1),
            autofluorescence=(0.015, 0.03),
            read_noise=(6.0, 10.0),
        ),
        bleed=BleedThrough(nuclei_in_vessels=(0.03, 0.03), vessels_in_nanoparticles=(0.03, 0.03)),
    ),
)
"""Fewer and stouter vessels, denser tissue, larger particles (a shorter diffusion length), another
stain and a blurrier, noisier camera."""

VARIED = SimulationConfig(
    vessels=VesselConfig(
        density=(50.0, 240.0),
        length=(10.0, 60.0),
        calibre=(1.8, 4.2),
        open_fraction=(0.05, 0.5),
        tortuosity=(0.02, 0.1),
        branches=(0.0, 1.4),
        leakiness_spread=0.65,
    ),
    cells=CellConfig(
        necrosis=(0.0, 0.2),
        packing=(4500.0, 10500.0),
        occupancy=(0.5, 0.95),
        nucleus_diameter=(6.0, 10.0),
        bystanders=(0.02, 0.2),
    ),
    particles=ParticleConfig(
        diffusion_length=(2.0, 14.0),
        hindrance=(0.4, 1.0),
        uptake=(0.3, 0.7),
        exclusion=(0.3, 0.55),
        saturation=(0.4, 0.9),
        puncta=(0.005, 0.02),
        punctum=(1.0, 2.2),
        bound_sections=0.15,
        bound=(0.1, 0.95),
    ),
    optics=Optics(
        vessels=CameraConfig(
            core=(0.6, 2.2),
            halo=(5.0, 16.0),
            halo_share=(0.15, 0.5),
            photons=(60.0, 700.0),
            gain=(1.0, 4.0),
            background=(0.0, 0.14),
            autofluorescence=(0.01, 0.08),
            read_noise=(0.5, 10.0),
        ),
        nuclei=CameraConfig(
            core=(0.7, 2.3),
            halo=(6.0, 16.0),
            halo_share=(0.2, 0.6),
            photons=(60.0, 700.0),
            gain=(1.0, 3.0),
            background=(0.0, 0.18),
            autofluorescence=(0.01, 0.1),
            read_noise=(0.5, 10.0),
        ),
        nanoparticles=CameraConfig(
            core=(0.6, 1.6),
            halo=(5.0, 12.0),
            halo_share=(0.15, 0.4),
            photons=(80.0, 220.0),
            gain=(6.0, 9.0),
            background=(0.01, 0.12),
            autofluorescence=(0.01, 0.04),
            read_noise=(3.0, 10.0),
        ),
        bleed=BleedThrough(
            nuclei_in_vessels=(0.0, 0.08),
            nanoparticles_in_vessels=(0.0, 0.02),
            vessels_in_nuclei=(0.0, 0.08),
            nanoparticles_in_nuclei=(0.0, 0.01),
            vessels_in_nanoparticles=(0.0, 0.12),
            nuclei_in_nanoparticles=(0.0, 0.06),
        ),
        jpeg=JPEGConfig(sections=0.3, quality=(50.0, 95.0)),
    ),
)
"""Wider than both of the others in tissue, particles and optics: what a model is trained on, so
that sections of other mice, stains and cameras lie inside what it has seen (domain randomisation).
"""

PRESETS = {"internal": INTERNAL, "external": EXTERNAL, "varied": VARIED}

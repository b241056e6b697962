"""Simulated tumour sections: vessels, nuclei and nanoparticles whose truth is known.

1. ``simulate_slide`` draws a section of a preset, by seed (section, presets).
2. Its tissue: vessels with their leakiness, cells and nuclei (vessels, cells).
3. Its particles: reaction and diffusion from leaky walls, hindered by cells (particles).
4. Its pictures: divergence of the nuclei channel, then the microscope (divergence, microscope).
5. ``write_section`` stores it as OME-TIFF (files).
"""

from napari_damm.simulate.files import write_section
from napari_damm.simulate.presets import PRESETS, SimulationConfig
from napari_damm.simulate.section import (
    CHANNELS,
    EVALUATION_SEEDS_FROM,
    PIXEL_SIZE_UM,
    SimulatedSlide,
    check_size,
    simulate_slide,
    training_seed,
)

__all__ = [
    "CHANNELS",
    "EVALUATION_SEEDS_FROM",
    "PIXEL_SIZE_UM",
    "PRESETS",
    "SimulatedSlide",
    "SimulationConfig",
    "check_size",
    "simulate_slide",
    "training_seed",
    "write_section",
]

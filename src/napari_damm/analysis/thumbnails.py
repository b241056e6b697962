"""A section as a small picture: particles, and the vessels that distances were measured from."""

from __future__ import annotations

import numpy as np

from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.report import Thumbnail
from napari_damm.analysis.thresholds import Threshold
from napari_damm.analysis.vessels import vessels_in
from napari_damm.util.tiling import Box

LONGEST_PX = 700
BAND_PX = 1024


def thumbnail(section: ParticleMap, vessel_threshold: Threshold | None) -> Thumbnail:
    """Return every k-th pixel of a section, at most 700 a side."""
    step = -(-max(section.shape) // LONGEST_PX)
    shape = tuple(-(-n // step) for n in section.shape)
    particles, vessels = np.zeros(shape, np.float32), np.zeros(shape, bool)
    band = step * max(1, BAND_PX // step)
    value = None if vessel_threshold is None else vessel_threshold.value
    marked = section.vessel_labels is not None or value is not None
    for top in range(0, section.shape[0], band):
        for left in range(0, section.shape[1], band):
            box = Box(top, left, top + band, left + band).intersect(section.whole)
            rows = slice(top // step, top // step + -(-box.shape[0] // step))
            cols = slice(left // step, left // step + -(-box.shape[1] // step))
            particles[rows, cols] = section.read("particles", box)[::step, ::step]
            if marked:
                vessels[rows, cols] = vessels_in(section, box, value)[::step, ::step]
    height, width = (n * um for n, um in zip(section.shape, section.pixel_um, strict=True))
    return Thumbnail(particles, vessels, (height, width))

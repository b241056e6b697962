"""What a result tells of its map: which pixels are predicted tissue, and which to trust.

1. Tissue is what the section shows as such, where something was predicted; of areas of any outline,
   what lies in them: the map is 0 elsewhere, which is no measurement.
2. To be trusted is where vessels and nuclei agree and images are not unusual for the model. How
   wide the interval is does not matter here, unlike in a prediction's "use": it is wide where the
   map is bright, and measures of what is left would be of dark tissue (`cautions.TRUSTED_IS`).
3. How deep a cell lies is told by the section's tissue, wherever the prediction ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_damm.analysis.particle_map import Mask
from napari_damm.slide import Raster, Slide, tissue_mask
from napari_damm.store import Result
from napari_damm.trust.verdict import UNUSUAL
from napari_damm.util.areas import areas_on_map
from napari_damm.util.tiling import CELL

Corner = tuple[float, float]


def predicted_fields(
    result: Result, slide: Slide, particles: Raster, trusted_uncertainty: float
) -> dict[str, Any]:
    """Return fields of `ParticleMap`, on the grid of the result.

    Parameters
    ----------
    result
        What was predicted.
    slide
        The section that it was predicted from.
    particles
        The result's map, where it lies now.
    trusted_uncertainty
        Cells of more are not trusted.

    Raises
    ------
    ValueError
        If its record cannot be used.
    """
    um = result.pixel_size_um
    predicted = np.asarray(result.branch) > 0
    trusted = predicted & (np.asarray(result.uncertainty) <= trusted_uncertainty)
    if result.familiarity is not None:
        trusted &= np.asarray(result.familiarity) >= UNUSUAL
    dy, dx = result.layout.cells_origin
    corner = (particles.origin[0] - dy * um, particles.origin[1] - dx * um)
    ground = _tissue_at(slide, corner, um, (predicted.shape[0], predicted.shape[1]))
    return {
        "tissue": predicted & ground,
        "ground": ground,
        "trusted": trusted,
        "areas": areas_on_map(result.record),
        "cell_px": CELL,
        "cells_origin": result.layout.cells_origin,
    }


def _tissue_at(slide: Slide, corner: Corner, um: float, shape: tuple[int, int]) -> Mask:
    """Return the slide's tissue on cells of `um` pixels, the first of which begins at `corner`."""
    cells, cell_px = tissue_mask(slide, um)
    places = []
    for axis, length in enumerate(shape):
        first = round((corner[axis] - slide.origin[axis]) / um)
        pixels = first + CELL * np.arange(length)
        places.append(np.clip(pixels // cell_px, 0, cells.shape[axis] - 1))
    found: Mask = cells[np.ix_(*places)]
    return found

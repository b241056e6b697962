"""What a result tells of its map: which pixels are predicted tissue, and which to trust.

1. Tissue is what the section shows as such, where something was predicted; of areas of any outline,
   what lies in them: the map is 0 elsewhere, which is no measurement.
2. To be trusted is what the prediction itself says is to be used, place by place: the same cells
   that Predict counts as "use" and that its Trust layer leaves uncovered. Where the model does not
   say which images it knows, that is where vessels and nuclei agree.
3. How deep a cell lies is told by the section's tissue, wherever the prediction ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_damm.analysis.particle_map import Mask
from napari_damm.engine.trusted import trust_map
from napari_damm.slide import Raster, Slide, tissue_mask
from napari_damm.store import Result
from napari_damm.trust.cells import DISAGREE, CellTrust
from napari_damm.util.areas import areas_on_map
from napari_damm.util.tiling import CELL

Corner = tuple[float, float]


def predicted_fields(
    result: Result,
    slide: Slide,
    particles: Raster,
    trusted_uncertainty: float | None,
    with_trust: bool = True,
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
        Cells of more are not trusted, whatever else speaks for them; None: as the prediction says.
    with_trust
        Whether what is to be trusted is wanted: all of the map is read for it.

    Raises
    ------
    ValueError
        If its record cannot be used.
    """
    um = result.pixel_size_um
    predicted = np.asarray(result.branch) > 0
    trusted = predicted & _to_be_used(result, trusted_uncertainty) if with_trust else None
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


def _to_be_used(result: Result, trusted_uncertainty: float | None) -> Mask:
    worth = trust_map(result)
    limit = trusted_uncertainty
    if limit is None and worth is None:
        limit = DISAGREE
    used = np.ones(result.branch.shape, bool) if worth is None else worth == CellTrust.USE
    return used if limit is None else used & (np.asarray(result.uncertainty) <= limit)


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

"""Where an image has no picture: fill at its border (one value, or NaN) is no measurement.

1. A registered or stitched image has a border of one value or NaN (`slide.fill`). Read as numbers
   that would be tissue without particles, or one large vessel.
2. Such cells are no part of what is measured, those of the particles and of the vessel image; of
   the imaged particles, no part of a comparison.
3. A value is no fill where it covers half of the tissue or more, or often stands a little beyond,
   too: then it is how this picture shows nothing, as where a background was subtracted.
4. An image of nothing but NaN is refused. A map that a model drew has no fill: it knows where it
   ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

import numpy as np
from numpy.typing import NDArray

from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.dataset.target_fill import OWN_SHARE, parts_of_fill
from napari_damm.slide import Raster
from napari_damm.util.tiling import CELL

Mask = NDArray[np.bool_]

ROLES = ("particles", "vessels", "imaged")
MOST_OF_TISSUE = 0.5


def unseen_cells(section: ParticleMap, rasters: Mapping[str, Raster]) -> dict[str, Mask]:
    """Return the cells (rows, cols) of 32 px in which an image is fill, by role; few have any.

    Parameters
    ----------
    section
        The map; its pixels are square.
    rasters
        Its images by role.

    Raises
    ------
    ValueError
        If an image is NaN all over.
    """
    found: dict[str, Mask] = {}
    tissue = tissue_cells(section)
    for role in ROLES:
        if role not in rasters or (role == "particles" and section.predicted):
            continue
        raster, um = rasters[role], section.pixel_um[0]
        for part in parts_of_fill(raster, um, tissue.shape, section.shape, section.origin):
            if isnan(part.value):
                if part.cells.all():
                    raise ValueError(
                        f"the {role} image {raster.name!r} is NaN nearly all over: give a channel "
                        "that was imaged"
                    )
            elif part.near > OWN_SHARE or part.cells[tissue].mean() >= MOST_OF_TISSUE:
                continue
            if (part.cells & tissue).any():
                found[role] = found.get(role, np.zeros(tissue.shape, bool)) | part.cells
    return found


def tissue_cells(section: ParticleMap) -> Mask:
    """Return which cells (rows, cols) of 32 px from the corner have tissue at their middle."""
    places = []
    for length, offset in zip(section.shape, section.cells_origin, strict=True):
        middles = np.minimum(np.arange(0, length, CELL) + CELL // 2, length - 1)
        places.append(((middles + offset + 0.5) // section.cell_px).astype(np.intp))
    found: Mask = section.tissue[np.ix_(*places)]
    return found


def said_of_fill(section: ParticleMap) -> list[str]:
    """Say how much of the tissue is left out where an image has no picture."""
    said = []
    tissue = tissue_cells(section) if section.unseen else None
    for role, cells in section.unseen.items():
        if role in section.looked_at or role == "imaged":
            share = max(1, round(100 * float(cells[tissue].mean())))
            what = "compared" if role == "imaged" else "measured"
            said.append(
                f"the {role} image of {section.name} is fill (one value, or NaN, at its border) "
                f"in {share} % of the tissue: that part is not {what}"
            )
    return said

"""Where an image has no picture: fill at its border (one value, or NaN) is no measurement.

1. A registered or stitched image has a border of one value or NaN (`slide.fill`). Read as numbers
   that would be tissue without particles, or one large vessel. Nor is there a picture beyond it.
2. Such cells are no part of what is measured, those of the particles and of the vessels; of the
   imaged particles, no part of a comparison.
3. A value is no fill where it covers half of the tissue or more, often stands a little beyond, too,
   or is led up to by the pixels there: then it is how this picture shows nothing, as where a
   background was subtracted, or a signal fades out.
4. An image of nothing but NaN is refused. A map that a model drew has no fill: it knows where it
   ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.dataset.target_fill import OWN_SHARE, FillPart, parts_of_fill
from napari_damm.slide import Raster
from napari_damm.util.tiling import CELL, Box

Mask = NDArray[np.bool_]

CALLED = {"vessel_labels": "vessels drawn", "imaged": "imaged particles"}
ROLES = ("particles", "vessels", "imaged")
MOST_OF_TISSUE = 0.5
LOOKED_AT = 64
"""Cells beside fill whose pixels are compared with it."""
GAP = 4.0
"""Times the noise (or the step of whole numbers) by which fill stands apart from the rest."""


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
        beyond = cells_beyond(section, raster.origin, raster.extent_um)
        for part in parts_of_fill(raster, um, tissue.shape, section.shape, section.origin):
            if isnan(part.value):
                if part.cells.all():
                    raise ValueError(
                        f"the {role} image {raster.name!r} is NaN nearly all over: give a channel "
                        "that was imaged"
                    )
            elif (
                part.near > OWN_SHARE
                or part.cells[tissue].mean() >= MOST_OF_TISSUE
                or not _stands_apart(section, role, part)
            ):
                continue
            beyond |= part.cells
        if (beyond & tissue).any():
            found[role] = beyond
    return found


def cells_beyond(
    section: ParticleMap, origin: tuple[float, float], extent_um: tuple[float, float]
) -> Mask:
    """Return the cells (rows, cols) of 32 px that reach beyond an image, by a pixel or more."""
    axes = []
    for k, length in enumerate(section.shape):
        um = section.pixel_um[k]
        low = section.origin[k] + np.arange(0, length, CELL) * um
        high = section.origin[k] + np.minimum(np.arange(0, length, CELL) + CELL, length) * um
        axes.append((low < origin[k] - um) | (high > origin[k] + extent_um[k] + um))
    return axes[0][:, None] | axes[1]


def _stands_apart(section: ParticleMap, role: str, part: FillPart) -> bool:
    """Return whether there is a gap between a value and the pixels of the cells beside it."""
    beside = ndimage.binary_dilation(part.cells, np.ones((3, 3), bool)) & ~part.cells
    places = np.argwhere(beside)
    chosen = places[np.linspace(0, len(places) - 1, min(len(places), LOOKED_AT)).astype(int)]
    boxes = (Box(CELL * y, CELL * x, CELL * y + CELL, CELL * x + CELL) for y, x in chosen.tolist())
    pixels = [section.read(role, box.intersect(section.whole)).ravel() for box in boxes]
    if not pixels:
        return True
    values = np.concatenate(pixels).astype(np.float64)
    nearest, further = np.percentile(np.abs(values - part.value), [1, 2])
    step = 1.0 if (values == np.round(values)).all() else 0.0
    return bool(nearest > max(GAP * (further - nearest), GAP * step))


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
                f"the {CALLED.get(role, role)} of {section.name} show nothing in {share} % of the "
                "tissue (beyond the image, or one value or NaN at its border): that part is not "
                f"{what}"
            )
    return said

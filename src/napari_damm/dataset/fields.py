"""Sections on the model's grid: measured once, then read patch by patch.

1. What is tissue, and what may be used: inside the region, and inside all three images, where the
   target is no fill (`target_fill`). Both are masks on cells of 32 model pixels from the section's
   corner.
2. The intensities that become -1 and 1: percentiles over tissue, of the image or, for patches that
   were cut from sections, of their whole folder. The rules are those of Predict.
3. `Field.read` gives any box of any image in [-1, 1], lazily.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_damm.dataset.sections import Section
from napari_damm.dataset.sources import ROLES, Region
from napari_damm.dataset.target_fill import cells_of_fill
from napari_damm.slide import (
    Normalisation,
    intensity_limits,
    model_shape,
    normalise,
    read_region,
    tissue_mask,
    tissue_values,
)
from napari_damm.slide.resample import check_raster_finite
from napari_damm.slide.tissue import count_in_boxes
from napari_damm.util.tiling import CELL, Box

Mask = NDArray[np.bool_]
Limits = dict[str, tuple[float, float]]

PATCH_PX = 512
"""A folder whose images are all at most so large holds patches of sections."""
POOLED_IMAGES = 64
"""Limits of a folder are measured on so many of its images, spread evenly."""
REACH_PX = 2.0
ADVICE = "give another image"


@dataclass(frozen=True, eq=False)
class Field:
    """A section on the grid of a model.

    Parameters
    ----------
    section, model_um
        The images, and the side of a model pixel in um.
    shape
        Height and width in model pixels.
    limits
        Role -> intensities that the model sees as -1 and 1.
    usable, tissue
        Cells of 32 px: those that patches may cover, and those that hold tissue.
    filled_share
        Share of the tissue, 0..1, that may not be used because the target is fill there.
    """

    section: Section
    model_um: float
    shape: tuple[int, int]
    limits: Limits
    usable: Mask
    tissue: Mask
    filled_share: float = 0.0

    def read(self, role: str, box: Box) -> NDArray[np.float32]:
        """Read a box of model pixels of an image, in [-1, 1]; reflected beyond the border.

        Raises
        ------
        ValueError, OSError
            If the pixels are not finite, or cannot be read.
        """
        return normalise(self.read_raw(role, box), *self.limits[role])

    def read_raw(self, role: str, box: Box) -> NDArray[np.float32]:
        """Read a box of model pixels of an image, in its own intensities."""
        raster, origin = self.section.raster(role), self.section.slide.origin
        return read_region(raster, box, self.model_um, origin, self.shape)

    def read_planted(self, box: Box) -> NDArray[np.float32] | None:
        """Read where divergence was planted, 0..1 in a box of model pixels; None: not known."""
        raster = self.section.planted
        if raster is None:
            return None
        origin = self.section.slide.origin
        return np.clip(read_region(raster, box, self.model_um, origin, self.shape), 0, 1)

    def said_of_fill(self, target: str) -> str:
        """Say how much is left out where the image called `target` is fill; "" where nothing is."""
        if not self.filled_share:
            return ""
        percent = max(1, round(100 * self.filled_share))
        return (
            f"the {target} image of {self.section.name} is fill (one value, or NaN, at its border) "
            f"in {percent} % of the tissue: that part is left out"
        )

    @property
    def normalisation(self) -> Normalisation:
        """The limits of the two inputs, as a prediction takes them."""
        return Normalisation(self.limits["primary"], self.limits["secondary"])


def survey(
    sections: Sequence[Section],
    model_um: float | None,
    names: Sequence[str] = ROLES,
    not_blank: Sequence[str] = (),
) -> Iterator[Field]:
    """Measure sections, one after the other.

    `model_um` None takes each section's own pixel size; `names` is what the images of the three
    roles are called in messages. Where a folder shares intensity limits an image may be blank, as
    of a patch without particles; those of the roles `not_blank` must not.

    Raises
    ------
    ValueError, OSError
        If an image is blank, not finite or not readable.
    """
    pooled: dict[str, Limits] = {}
    called = dict(zip(ROLES, names, strict=True))
    for section in sections:
        um = model_um or section.slide.pixel_size_um
        for role in ROLES:
            try:
                check_raster_finite(section.raster(role))
            except (ValueError, OSError) as error:
                text = f"{called[role]} image of {section.name}: {error}"
                raise type(error)(text) from error
        shape = model_shape(section.slide, um)
        mask, cell_px = tissue_mask(section.slide, um)
        cells = -(-shape[0] // CELL), -(-shape[1] // CELL)
        tissue = _on_cells(mask, cell_px, cells)
        if section.folder and section.folder not in pooled:
            family = [other for other in sections if other.folder == section.folder]
            pooled[section.folder] = _pooled_limits(family, model_um, called)
        limits = pooled.get(section.folder)
        if limits:
            _refuse_blank(section, um, (mask, cell_px), {role: called[role] for role in not_blank})
        else:
            limits = _limits(section, um, (mask, cell_px), called)
        usable = _covered(section, um, cells) & _in_region(section, um, cells)
        filled = cells_of_fill(section, um, cells)
        lost, all_of_it = (int((usable & tissue & part).sum()) for part in (filled, True))
        usable &= ~filled
        yield Field(section, um, shape, limits, usable, tissue, lost / max(1, all_of_it))


def _refuse_blank(
    section: Section, um: float, tissue: tuple[Mask, int], called: Mapping[str, str]
) -> None:
    """Refuse an image of one value: the limits of its folder would show it as if it were one."""
    for role, name in called.items():
        values = tissue_values(section.raster(role), section.slide, um, *tissue)
        if values.min() == values.max():
            raise ValueError(
                f"the {name} image of {section.name} is blank, all its pixels are {values[0]:g}: "
                f"{ADVICE}"
            )


def _limits(
    section: Section, um: float, tissue: tuple[Mask, int], called: Mapping[str, str]
) -> Limits:
    return {
        role: intensity_limits(
            tissue_values(section.raster(role), section.slide, um, *tissue),
            f"the {called[role]} image of {section.name}",
            ADVICE,
            section.raster(role).fill,
        )
        for role in ROLES
    }


def _pooled_limits(
    family: Sequence[Section], model_um: float | None, called: Mapping[str, str]
) -> Limits:
    """Return the limits that the images of a folder share; {} where each has its own."""
    mode = family[0].intensities
    if mode == "auto":
        sides = (
            side
            for section in family
            for side in model_shape(section.slide, model_um or section.slide.pixel_size_um)
        )
        mode = "folder" if max(sides) <= PATCH_PX else "image"
    if mode == "image":
        return {}
    step = -(-len(family) // POOLED_IMAGES)
    values: dict[str, list[NDArray[np.float32]]] = {role: [] for role in ROLES}
    problem: Exception | None = None
    for section in family[::step]:
        um = model_um or section.slide.pixel_size_um
        try:
            mask, cell_px = tissue_mask(section.slide, um)
            read = {
                role: tissue_values(section.raster(role), section.slide, um, mask, cell_px)
                for role in values
            }
        except (ValueError, OSError) as error:
            problem = error  # of that section, and told when it is its turn
            continue
        for role, found in read.items():
            values[role].append(found)
    if problem is not None and not values[ROLES[0]]:
        raise problem
    return {
        role: intensity_limits(
            np.concatenate(found), f"every {called[role]} image of {family[0].folder}", ADVICE
        )
        for role, found in values.items()
    }


def _on_cells(mask: Mask, cell_px: int, cells: tuple[int, int]) -> Mask:
    """Return a mask of coarser cells on cells of 32 px."""
    factor = cell_px // CELL
    pairs = zip(cells, mask.shape, strict=True)
    rows, cols = (np.minimum(np.arange(n) // factor, m - 1) for n, m in pairs)
    fine: Mask = mask[np.ix_(rows, cols)]
    return fine


def _covered(section: Section, um: float, cells: tuple[int, int]) -> Mask:
    """Return the cells in which every image has pixels."""
    covered = np.ones(cells, bool)
    origin = section.slide.origin
    for role in ("secondary", "target"):
        raster = section.raster(role)
        for axis in (0, 1):
            low = (raster.origin[axis] - origin[axis]) / um
            high = low + raster.extent_um[axis] / um
            edge = np.arange(cells[axis]) * CELL
            whole = section.slide.vessels.extent_um[axis] / um
            inside = (edge >= low - REACH_PX) & (np.minimum(edge + CELL, whole) <= high + REACH_PX)
            covered &= inside[:, None] if axis == 0 else inside[None, :]
    return covered


def _in_region(section: Section, um: float, cells: tuple[int, int]) -> Mask:
    """Return the cells that lie wholly in the region and the rectangle."""
    inside = np.ones(cells, bool)
    if section.roi is not None:
        scale = section.slide.pixel_size_um / um
        y0, x0, y1, x1 = (value * scale for value in section.roi)
        inside &= _within(cells, (y0, x0), (y1, x1), section, um)
    if section.region is not None:
        inside &= _of_mask(section.region, section, um, cells)
    return inside


def _within(
    cells: tuple[int, int],
    low: tuple[float, float],
    high: tuple[float, float],
    section: Section,
    um: float,
) -> Mask:
    axes = []
    for axis in (0, 1):
        edge = np.arange(cells[axis]) * CELL
        end = np.minimum(edge + CELL, section.slide.vessels.extent_um[axis] / um)
        axes.append((edge >= low[axis] - 1e-6) & (end <= high[axis] + 1e-6))
    return np.outer(axes[0], axes[1])


def _of_mask(region: Region, section: Section, um: float, cells: tuple[int, int]) -> Mask:
    """Return the cells of which the mask holds every pixel."""
    outside = ~np.asarray(region.mask, bool)
    spans, fits = [], []
    for axis in (0, 1):
        start = np.arange(cells[axis]) * CELL
        stop = np.minimum(start + CELL, math.ceil(section.slide.vessels.extent_um[axis] / um))
        shift = section.slide.origin[axis] - region.origin[axis]
        low = (start * um + shift) / region.pixel_size_um
        high = (stop * um + shift) / region.pixel_size_um
        length = outside.shape[axis]
        # within half a pixel of the mask: what was drawn is not more exact than that
        fits.append((low >= -0.5) & (high <= length + 0.5))
        first = np.clip(np.floor(low + 0.5).astype(int), 0, length)
        spans.append((first, np.clip(np.ceil(high - 0.5).astype(int), first, length)))
    rows, cols = spans
    inside: Mask = (count_in_boxes(outside, rows, cols) == 0) & np.outer(*fits)
    return inside

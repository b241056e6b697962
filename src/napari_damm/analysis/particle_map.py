"""A section to measure: a particle map, its vessels and what else there is, on one grid.

1. Images are read box by box, in their own intensities: from files of any size (resampled to the
   grid where they have another), or from arrays.
2. `tissue` and `trusted` are masks of square cells; of what was predicted in areas of any outline,
   only pixels in these are tissue.
3. `depth_um` is how deep in the tissue each cell lies, for bands from its edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.analysis.distance import PixelSize, distance_to
from napari_damm.util.areas import Areas
from napari_damm.util.tiling import CELL, Box

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Read = Callable[[Box], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class LabelImage:
    """Integers (y, x) on a grid of their own: 0 is nothing, each other number one thing.

    `pixel_um` and `origin` (upper left corner, um) place it in the world; None: on the map's grid.
    """

    labels: Any
    pixel_um: PixelSize | None = None
    origin: tuple[float, float] | None = None

    def read(self, section: ParticleMap, box: Box) -> NDArray[Any]:
        """Return the labels at the pixels of a box of a section; 0 where there are none."""
        own = self.pixel_um or section.pixel_um
        corner = self.origin or section.origin
        places = []
        for axis, (start, stop) in enumerate(((box.y0, box.y1), (box.x0, box.x1))):
            centres = section.origin[axis] + (np.arange(start, stop) + 0.5) * section.pixel_um[axis]
            # Centres that fall on a border for all but rounding belong to one side, always.
            places.append(np.floor((centres - corner[axis]) / own[axis] + 1e-9).astype(np.int64))
        inside = [(p >= 0) & (p < n) for p, n in zip(places, self.labels.shape, strict=True)]
        found = np.zeros(box.shape, np.int64)
        if all(axis.any() for axis in inside):
            rows, cols = (p[ok] for p, ok in zip(places, inside, strict=True))
            part = np.asarray(self.labels[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1])
            found[np.ix_(*inside)] = part[np.ix_(rows - rows[0], cols - cols[0])]
        return found


def cells_of(
    shape: tuple[int, int], cell_px: float, cells_origin: tuple[float, float] = (0, 0)
) -> tuple[int, int]:
    """Return how many cells (rows, cols) cover a map; `cells_origin` as in `ParticleMap`."""
    (height, width), (dy, dx) = shape, cells_origin
    return math.ceil((dy + height) / cell_px - 1e-9), math.ceil((dx + width) / cell_px - 1e-9)


@dataclass(frozen=True, eq=False)
class ParticleMap:
    """A section to measure.

    Parameters
    ----------
    name
        What people call it.
    shape
        Height and width in pixels.
    pixel_um, origin
        Height and width of a pixel, and the position of the upper left corner (y, x), in um.
    images
        "particles", and where there are such "vessels", "nuclei", "perfusion" and "imaged" (an
        imaged particle channel that a prediction is compared with): each reads a box.
    tissue
        Cells (rows, cols) of `cell_px` pixels, True = tissue.
    cell_px
        Side of a cell in pixels.
    cells_origin
        Offset (y, x), in pixels, of pixel (0, 0) inside its cell.
    trusted
        Cells whose prediction is to be trusted; None where nothing was predicted.
    ground
        Cells that are tissue whether they are measured or not: where the tissue ends is seen here.
        None: `tissue` is all there is.
    areas
        Where the particles are known, in pixels of the map; None: everywhere.
    unseen
        Cells of 32 pixels from the corner in which an image has no picture, by its role
        (`analysis.unseen`): they are not measured.
    vessel_labels, nucleus_labels
        What the analyst drew or segmented, instead of thresholds.
    samples
        Where a model drew several samples: what reads a box of the particles of each.
    record
        How a predicted map was made; empty for an imaged one.
    about
        How it was read, for the report: file, channels.
    identity
        What tells its files from others, as JSON; empty where that is not known.
    """

    name: str
    shape: tuple[int, int]
    pixel_um: PixelSize
    images: Mapping[str, Read]
    tissue: Mask
    cell_px: float = CELL
    origin: tuple[float, float] = (0.0, 0.0)
    cells_origin: tuple[float, float] = (0, 0)
    trusted: Mask | None = None
    ground: Mask | None = None
    areas: Areas | None = None
    unseen: Mapping[str, Mask] = field(default_factory=dict)
    vessel_labels: LabelImage | None = None
    nucleus_labels: LabelImage | None = None
    samples: Sequence[Read] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that sizes are usable and there is something to measure."""
        if "particles" not in self.images:
            raise ValueError(f"{self.name} has no particle image: choose a channel")
        if not all(math.isfinite(side) and side > 0 for side in self.pixel_um):
            raise ValueError(f"{self.name} has pixels of {self.pixel_um} um: give a pixel size")
        cells = cells_of(self.shape, self.cell_px, self.cells_origin)
        masks = {"tissue": self.tissue, "ground": self.ground, "trusted cells": self.trusted}
        for what, mask in masks.items():
            if mask is not None and mask.shape != cells:
                raise ValueError(f"{what} of {self.name} must have {cells} cells, got {mask.shape}")

    @property
    def whole(self) -> Box:
        """All of it."""
        return Box(0, 0, *self.shape)

    @property
    def predicted(self) -> bool:
        """Whether a model drew the particles."""
        return bool(self.record)

    @property
    def has_vessels(self) -> bool:
        """Whether there is anything to tell vessels by."""
        return "vessels" in self.images or self.vessel_labels is not None

    def read(self, role: str, box: Box) -> Floats:
        """Return the pixels of a box of an image, float32.

        Raises
        ------
        ValueError
            If one is NaN or infinite.
        OSError
            If they cannot be read.
        """
        return self._finite(role, self.images[role], box)

    def read_sample(self, number: int, box: Box) -> Floats:
        """Return the particles of a sample in a box; raises as `read`."""
        return self._finite(f"sample {number}", self.samples[number], box)

    def of_sample(self, number: int) -> ParticleMap:
        """Return the map with nothing but the particles of a sample."""
        return replace(self, images={"particles": self.samples[number]}, samples=())

    def _finite(self, role: str, read: Read, box: Box) -> Floats:
        pixels = np.asarray(read(box), np.float32)
        if not np.isfinite(pixels).all():
            y, x = np.argwhere(~np.isfinite(pixels))[0]
            raise ValueError(
                f"the {role} of {self.name} have NaN or infinite pixels, the first at y "
                f"{box.y0 + y}, x {box.x0 + x}: replace them, for example by 0"
            )
        return pixels

    def tissue_in(self, box: Box) -> Mask:
        """Return the pixels (y, x) of a box that are tissue, and can be measured."""
        inside = self.cells_in(self.tissue, box)
        for role in self.looked_at:
            inside &= ~self.unseen_in(role, box)
        return inside if self.areas is None else inside & self.areas.mask(box)

    @property
    def looked_at(self) -> tuple[str, ...]:
        """The images that tissue must have a picture in to be measured."""
        return "particles", "vessels" if self.vessel_labels is None else "vessel_labels"

    def unseen_in(self, role: str, box: Box) -> Mask:
        """Return the pixels (y, x) of a box in which an image has no picture."""
        cells = self.unseen.get(role)
        if cells is None:
            return np.zeros(box.shape, bool)
        rows, cols = (np.arange(*span) // CELL for span in ((box.y0, box.y1), (box.x0, box.x1)))
        found: Mask = cells[np.ix_(rows, cols)]
        return found

    def cells_in(self, cells: NDArray[Any], box: Box) -> NDArray[Any]:
        """Return the values of cells at the pixels of a box."""
        dy, dx = self.cells_origin
        rows = (np.arange(box.y0, box.y1) + dy + 0.5) // self.cell_px
        cols = (np.arange(box.x0, box.x1) + dx + 0.5) // self.cell_px
        return cells[np.ix_(rows.astype(np.intp), cols.astype(np.intp))]

    def grown(self, box: Box, pixels: Sequence[int]) -> Box:
        """Return a box widened by (y, x) pixels on all sides, as far as the section goes."""
        dy, dx = pixels
        return Box(box.y0 - dy, box.x0 - dx, box.y1 + dy, box.x1 + dx).intersect(self.whole)

    def grown_um(self, box: Box, um: float) -> Box:
        """Return a box widened by a distance."""
        return self.grown(box, [math.ceil(um / side) for side in self.pixel_um])

    @property
    def cell_um(self) -> PixelSize:
        """Height and width of a cell in um."""
        return self.pixel_um[0] * self.cell_px, self.pixel_um[1] * self.cell_px

    @cached_property
    def depth_um(self) -> NDArray[np.float64] | None:
        """Distance (rows, cols) of each cell's middle from the tissue's edge; None: none shows.

        The border of the picture, or of what was predicted, is no edge of the tissue.
        """
        ground = self.tissue if self.ground is None else self.ground
        if ground.all():
            return None
        return distance_to(~ground, self.cell_um)

    def tiles(self, side: int) -> Iterator[Box]:
        """Yield the squares of `side` pixels that hold tissue, row by row."""
        for top in range(0, self.shape[0], side):
            for left in range(0, self.shape[1], side):
                box = Box(top, left, top + side, left + side).intersect(self.whole)
                if self.tissue_in(box).any():
                    yield box

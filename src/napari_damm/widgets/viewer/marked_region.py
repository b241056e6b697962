"""The part of a section that a Shapes or a Labels layer marks, as a mask to train in.

1. Of a Shapes layer every rectangle, polygon and ellipse counts; of a Labels layer every pixel that
   is not 0.
2. At the click it is settled where they lie, in um of the section's world: the corners of the
   shapes, or the plane of labels that is shown.
3. In the worker they become a mask: shapes on the pixels of the primary image, as far as they
   reach; a pixel belongs to them if its centre lies inside. Of a very large area several pixels
   make one of the mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.viewer.layer_slides import (
    Grid,
    World,
    grid_of,
    length_ratio,
    planes,
    units_ratio,
)
from napari_damm.widgets.viewer.roles import RESULT_KEY, Channel
from napari_damm.widgets.viewer.slices import shown_plane

if TYPE_CHECKING:
    from napari.layers import Labels, Layer, Shapes
    from numpy.typing import NDArray

    from napari_damm.dataset.sources import Region

ELLIPSE = "ellipse"
AREAS = ("rectangle", "polygon", ELLIPSE)
ELLIPSE_CORNERS = 64
LARGEST_SIDE = 8192
HINT = (
    "To train on a part only, draw rectangles or polygons in a Shapes layer, or paint a Labels "
    "layer, and pick it here"
)


@dataclass(frozen=True, eq=False)
class MarkedShapes:
    """Areas (corner, yx) in um, in a world whose pixels of `pixel_size_um` begin at `corner_um`."""

    areas: tuple[NDArray[np.float64], ...]
    pixel_size_um: float
    corner_um: tuple[float, float]
    shape: tuple[int, int]

    def region(self) -> Region:
        """Rasterise the areas; slow where they are large."""
        from skimage.draw import polygon

        from napari_damm.dataset.sources import Region

        low, high = self.box()
        factor = max(1, math.ceil((high - low).max() / LARGEST_SIDE))
        mask = np.zeros(tuple(-((low - high) // factor)), bool)
        side = self.pixel_size_um * factor
        origin = np.asarray(self.corner_um) + low * self.pixel_size_um
        for area in self.areas:
            centres = (area - origin) / side - 0.5  # centres of mask pixels at whole numbers
            inside = polygon(centres[:, 0], centres[:, 1], mask.shape)  # type: ignore[no-untyped-call]
            mask[inside] = True
        return Region(mask, side, (float(origin[0]), float(origin[1])))

    def box(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the pixels (y, x) between which all areas lie, cut off at the image."""
        corners = (np.concatenate(self.areas) - self.corner_um) / self.pixel_size_um
        low = np.clip(np.floor(corners.min(0)), 0, self.shape)
        high = np.clip(np.ceil(corners.max(0)), 0, self.shape)
        return low.astype(np.int64), high.astype(np.int64)


@dataclass(frozen=True, eq=False)
class MarkedLabels:
    """A plane of labels, where it lies."""

    labels: Any
    pixel_size_um: float
    corner_um: tuple[float, float]

    def region(self) -> Region:
        """Return what is not 0."""
        from napari_damm.dataset.sources import Region

        return Region(np.asarray(self.labels) != 0, self.pixel_size_um, self.corner_um)


Marked = MarkedShapes | MarkedLabels


def layers_with_areas(layers: Iterable[Layer]) -> list[Shapes | Labels]:
    """List the layers that can mark a part of an image, whether they do or not; results cannot."""
    from napari.layers import Labels, Shapes

    return [
        layer
        for layer in layers
        if RESULT_KEY not in layer.metadata and isinstance(layer, Labels | Shapes)
    ]


def marked_by(layer: Shapes | Labels, primary: Channel, world: World, dims: Any) -> Marked:
    """Freeze what a layer marks on the section of which `primary` is a channel.

    Raises
    ------
    ValueError
        If it marks nothing of the image, or its pixels lie on no usable grid.
    """
    from napari.layers import Labels

    grid = grid_of(primary)
    if isinstance(layer, Labels):
        return _labels(layer, primary, grid, world, dims)
    ratio = length_ratio(primary.layer, layer)
    areas = [
        np.stack([layer.data_to_world(corner)[-2:] for corner in corners])
        * (ratio * world.um_per_unit)
        for corners in outlines_of(layer)
    ]
    if not areas:
        raise ValueError(f"'{layer.name}' has no rectangle, polygon or ellipse: draw one")
    corner = (grid.corner[0] * world.um_per_unit, grid.corner[1] * world.um_per_unit)
    marked = MarkedShapes(tuple(areas), grid.side * world.um_per_unit, corner, grid.shape)
    low, high = marked.box()
    if not (high > low).all():
        raise outside_error(layer, primary)
    return marked


def _labels(layer: Labels, primary: Channel, grid: Grid, world: World, dims: Any) -> MarkedLabels:
    plane, _ = shown_plane(Channel(layer, (0,) * (layer.ndim - 2)), dims)
    own = grid_of(plane)
    ratio = units_ratio(grid, own)
    if not grid.overlaps(own, ratio):
        raise outside_error(layer, primary)
    um = ratio * world.um_per_unit
    corner = (own.corner[0] * um, own.corner[1] * um)
    return MarkedLabels(planes(plane)[0], own.side * um, corner)


def outside_error(layer: Layer, primary: Channel) -> ValueError:
    """Say that a layer marks nothing of an image."""
    return ValueError(
        f"'{layer.name}' marks nothing of '{primary.layer.name}': draw over the image, or pick All"
    )


def outlines_of(shapes: Shapes) -> Iterable[NDArray[np.float64]]:
    """Return the corners (corner, axis) of all areas of a layer."""
    for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind == ELLIPSE:
            # napari keeps an ellipse as the four corners of the box around it.
            centre, (to_y, to_x) = corners.mean(0), (corners[1:3].mean(0), corners[2:4].mean(0))
            turn = np.linspace(0, 2 * np.pi, ELLIPSE_CORNERS, endpoint=False)[:, None]
            yield centre + np.cos(turn) * (to_y - centre) + np.sin(turn) * (to_x - centre)
        elif kind in AREAS:
            yield np.asarray(corners, np.float64)

"""The part of a section that a Shapes or a Labels layer marks, in pixels of the vessels.

1. Of a Shapes layer every rectangle, polygon and ellipse counts; of a Labels layer, every pixel of
   the shown plane that is not 0.
2. Corners go through the layer's transform into the world, from there into pixels of the vessels at
   full resolution.
3. A single upright rectangle is a box (y0, x0, y1, x1), cut off at the image. Anything else is
   areas; of labels they are traced in the worker, for that may take a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.util.areas import Areas, areas_of_mask
from napari_damm.util.text import count
from napari_damm.widgets.viewer.layer_slides import grid_of, length_ratio, planes, units_ratio
from napari_damm.widgets.viewer.marked_region import outlines_of, outside_error
from napari_damm.widgets.viewer.roles import Channel
from napari_damm.widgets.viewer.slices import shown_plane

if TYPE_CHECKING:
    from napari.layers import Labels, Layer, Shapes

UPRIGHT_PX = 1e-3
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class PaintedAreas:
    """A plane of labels whose pixels are `side` of the vessels' wide and begin at `corner`."""

    labels: Any
    side: float
    corner: tuple[float, float]
    name: str

    def areas(self) -> Areas:
        """Trace what is painted.

        Raises
        ------
        ValueError
            If nothing is, or it is scattered too finely.
        """
        return areas_of_mask(np.asarray(self.labels) != 0, self.side, self.corner, self.name)


MarkedPart = Box | Areas | PaintedAreas


def region_of(layer: Shapes | Labels, vessels: Channel, dims: Any = None) -> MarkedPart:
    """Return what a layer marks, in pixels of the vessels.

    Raises
    ------
    ValueError
        In one sentence, if it marks nothing of the image.
    """
    from napari.layers import Labels

    if isinstance(layer, Labels):
        return _painted(layer, vessels, dims)
    grid = grid_of(vessels)
    ratio = length_ratio(vessels.layer, layer)
    # The world that napari shows has pixel centres at whole numbers, the grid knows the corner.
    areas = [
        (np.stack([layer.data_to_world(c)[-2:] for c in corners]) * ratio - grid.corner) / grid.side
        for corners in outlines_of(layer)
    ]
    if not areas:
        raise ValueError(f"'{layer.name}' has no rectangle, polygon or ellipse: draw one")
    corners = np.concatenate(areas)
    low = np.clip(corners.min(0), 0, grid.shape)
    high = np.clip(corners.max(0), 0, grid.shape)
    if not (high > low).all():
        raise outside_error(layer, vessels)
    if len(areas) == 1 and _is_upright(areas[0]):
        y0, x0, y1, x1 = (round(float(value), 3) for value in (*low, *high))
        return y0, x0, y1, x1
    outlines = (tuple((round(float(y), 3), round(float(x), 3)) for y, x in a) for a in areas)
    return Areas(tuple((outline,) for outline in outlines), str(layer.name))


def region_words(part: MarkedPart | None) -> str:
    """Describe a region for people."""
    if part is None:
        return ""
    if isinstance(part, PaintedAreas):
        return f"what is painted in '{part.name}'"
    y0, x0, y1, x1 = part.bounds if isinstance(part, Areas) else part
    box = f"{y1 - y0:.0f} x {x1 - x0:.0f} px from y {y0:.0f}, x {x0:.0f}"
    return f"{count(len(part.areas), 'area')} within {box}" if isinstance(part, Areas) else box


def region_of_record(record: Any) -> str:
    """Describe the region of a job record; "" for the whole image."""
    if record.get("areas"):
        return region_words(Areas.from_json(record["areas"]))
    return region_words(tuple(record["roi"])) if record.get("roi") else ""


def hide_what_covers(layers: Iterable[Layer], name: str | None) -> None:
    """Hide the layer that marks a region, unless it is an outline: the map there is to be seen."""
    from napari.layers import Labels, Shapes

    for layer in layers:
        if layer.name != name:
            continue
        if isinstance(layer, Labels):
            layer.visible = layer.visible and layer.contour > 0
        elif isinstance(layer, Shapes):
            layer.visible = layer.visible and not np.any(np.asarray(layer.face_color)[:, 3])


def _painted(layer: Labels, vessels: Channel, dims: Any) -> PaintedAreas:
    grid = grid_of(vessels)
    plane, _ = shown_plane(Channel(layer, (0,) * (layer.ndim - 2)), dims)
    own = grid_of(plane)
    ratio = units_ratio(grid, own)
    if not grid.overlaps(own, ratio):
        raise outside_error(layer, vessels)
    y, x = ((own.corner[k] * ratio - grid.corner[k]) / grid.side for k in (0, 1))
    return PaintedAreas(planes(plane)[0], own.side * ratio / grid.side, (y, x), str(layer.name))


def _is_upright(corners: NDArray[np.float64]) -> bool:
    """Tell a rectangle along the axes from any other outline."""
    if len(corners) != 4:
        return False
    low, high = corners.min(0), corners.max(0)
    at_a_corner = np.minimum(np.abs(corners - low), np.abs(corners - high)) < UPRIGHT_PX
    return bool(at_a_corner.all() and len(np.unique(np.round(corners, 2), axis=0)) == 4)

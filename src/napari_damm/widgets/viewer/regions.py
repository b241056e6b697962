"""The part of a section that a rectangle marks.

1. A Shapes layer counts if it holds a rectangle. The selected one is meant, else the last drawn.
2. Its corners go through the layer's transform into the world, from there into pixels of the
   vessels at full resolution. One that is turned stands for the upright box around it.
3. What lies outside the image is cut off; with nothing left, a sentence says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from napari_damm.widgets.viewer.layer_slides import grid_of, length_ratio
from napari_damm.widgets.viewer.roles import Channel

if TYPE_CHECKING:
    from napari.layers import Layer, Shapes
    from numpy.typing import NDArray

RECTANGLE = "rectangle"
Box = tuple[float, float, float, float]


def layers_with_rectangles(layers: Iterable[Layer]) -> list[Shapes]:
    """List the Shapes layers that hold at least one rectangle."""
    from napari.layers import Shapes

    return [
        layer for layer in layers if isinstance(layer, Shapes) and RECTANGLE in layer.shape_type
    ]


def region_of(shapes: Shapes, vessels: Channel) -> Box:
    """Return a layer's rectangle as (y0, x0, y1, x1) in pixels of the vessels, half-open.

    Raises
    ------
    ValueError
        If there is no rectangle any more, or it lies outside the image.
    """
    grid = grid_of(vessels)
    corners = np.stack([shapes.data_to_world(corner)[-2:] for corner in _rectangle(shapes)])
    # In the vessels' units; the world that napari shows has pixel centres at whole numbers, the
    # grid knows the corner.
    corners = corners * length_ratio(vessels.layer, shapes)
    pixels = (corners - grid.corner) / grid.side
    low = np.clip(pixels.min(0), 0, grid.shape)
    high = np.clip(pixels.max(0), 0, grid.shape)
    if not (high > low).all():
        raise ValueError(
            f"The rectangle of '{shapes.name}' lies outside '{vessels.layer.name}': "
            "draw it over the image"
        )
    y0, x0, y1, x1 = (round(float(value), 3) for value in (*low, *high))
    return y0, x0, y1, x1


def region_words(box: Box) -> str:
    """Describe a region for people."""
    y0, x0, y1, x1 = box
    return f"{y1 - y0:.0f} x {x1 - x0:.0f} px from y {y0:.0f}, x {x0:.0f}"


def _rectangle(shapes: Shapes) -> NDArray[np.float64]:
    found = [i for i, kind in enumerate(shapes.shape_type) if kind == RECTANGLE]
    if not found:
        raise ValueError(f"'{shapes.name}' has no rectangle: draw one, or pick Whole image")
    selected = [i for i in found if i in shapes.selected_data]
    return np.asarray(shapes.data[(selected or found)[-1]], np.float64)

"""What part of the world the viewer shows, in whatever version of napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer

VIEW = "Current view"
VIEW_COLOUR = "#ffd400"
CANVAS_PX = (600.0, 800.0)
"""Height and width of the canvas, where nobody says."""


def camera_of(viewer: Any) -> Any:
    """Return the viewer's camera; since napari 0.9 it is the scene's."""
    return getattr(viewer, "scene", viewer).camera


def shown_box(viewer: Any) -> tuple[float, float, float, float]:
    """Return the part of the world (y0, x0, y1, x1) that is on the screen."""
    camera = camera_of(viewer)
    height, width = _canvas_size(viewer)
    y, x = (float(v) for v in camera.center[-2:])
    dy, dx = height / camera.zoom / 2, width / camera.zoom / 2
    return y - dy, x - dx, y + dy, x + dx


def draw_view(viewer: Any) -> Layer:
    """Draw a rectangle around what is on the screen, in a layer of its own, and return that."""
    from napari.layers import Shapes

    y0, x0, y1, x1 = shown_box(viewer)
    corners = [[y0, x0], [y0, x1], [y1, x1], [y1, x0]]
    layer = next((each for each in viewer.layers if each.name == VIEW), None)
    if isinstance(layer, Shapes):
        layer.selected_data = set(range(layer.nshapes))
        layer.remove_selected()
        layer.add_rectangles([corners])
        layer.selected_data = set()
        return layer
    units = getattr(viewer.dims, "units", None)  # napari before 0.9 has none
    layer = Shapes(
        [corners],
        shape_type="rectangle",
        name=VIEW,
        face_color="transparent",
        edge_color=VIEW_COLOUR,
        edge_width=2 / camera_of(viewer).zoom,
        **({} if units is None else {"units": tuple(units)[-2:]}),
    )
    active = viewer.layers.selection.active
    viewer.layers.append(layer)
    viewer.layers.selection.active = active
    return layer


def canvas_of(viewer: Any) -> Any:
    """Return napari's canvas, or None: a viewer without a window has none, and it may move."""
    # napari hands out a wrapped viewer, which hides its canvas
    window = getattr(getattr(viewer, "__wrapped__", viewer), "window", None)
    return getattr(getattr(window, "_qt_viewer", None), "canvas", None)


def _canvas_size(viewer: Any) -> tuple[float, float]:
    """Return height and width of the canvas in its own pixels."""
    size = getattr(canvas_of(viewer), "size", None)
    if size is None:
        return CANVAS_PX
    return float(size[0]), float(size[1])

"""From a rectangle on the screen to pixels of the vessels."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Shapes

from napari_damm.widgets.viewer.regions import layers_with_rectangles, region_of
from napari_damm.widgets.viewer.roles import Channel


def vessels(**arguments) -> Channel:
    return Channel(Image(np.zeros((100, 200), np.uint8), name="vessels", **arguments))


def rectangle(y0, x0, y1, x1, **arguments) -> Shapes:
    corners = [[y0, x0], [y0, x1], [y1, x1], [y1, x0]]
    return Shapes([corners], shape_type="rectangle", name="area", **arguments)


def test_pixel_edges_lie_half_a_pixel_beside_the_coordinates():
    # Around the centres of pixels 10..19 and 20..39.
    assert region_of(rectangle(9.5, 19.5, 19.5, 39.5), vessels()) == (10, 20, 20, 40)


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        ({"scale": (2, 2), "units": "um"}, {"units": "um"}),
        ({"scale": (2, 2), "units": "um"}, {"scale": (1000, 1000), "units": "nm"}),
        ({"scale": (2, 2), "units": "um"}, {}),  # a layer without units is shown by its numbers
        ({"scale": (2, 2), "translate": (-5, 7), "units": "um"}, {"translate": (-5, 7)}),
    ],
)
def test_both_layers_transforms_count(layer, shapes):
    assert region_of(rectangle(-1, -1, 39, 19, **shapes), vessels(**layer)) == (0, 0, 20, 10)


def test_what_hangs_over_the_edge_is_cut_off():
    assert region_of(rectangle(-50, 150, 49.5, 500), vessels()) == (0, 150.5, 50, 200)


def test_a_rectangle_beside_the_image_is_refused():
    with pytest.raises(ValueError, match="'area' lies outside 'vessels'"):
        region_of(rectangle(300, 300, 400, 400), vessels())


def test_the_selected_rectangle_counts_else_the_last():
    shapes = rectangle(9.5, 9.5, 19.5, 19.5)
    shapes.add_rectangles([[[29.5, 29.5], [39.5, 49.5]]])
    shapes.add_ellipses([[[0, 0], [5, 5]]])
    shapes.selected_data = set()
    assert region_of(shapes, vessels()) == (30, 30, 40, 50)
    shapes.selected_data = {0}
    assert region_of(shapes, vessels()) == (10, 10, 20, 20)


def test_only_layers_with_a_rectangle_are_offered():
    ellipse = Shapes([[[0, 0], [5, 5]]], shape_type="ellipse")
    box = rectangle(0, 0, 5, 5)
    assert layers_with_rectangles([vessels().layer, ellipse, Shapes(), box]) == [box]
    with pytest.raises(ValueError, match="no rectangle"):
        region_of(ellipse, vessels())

"""From shapes and labels on the screen to pixels of the vessels."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes

from napari_damm.util.areas import Areas
from napari_damm.util.tiling import Box
from napari_damm.widgets.viewer.regions import region_of, region_words
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
    with pytest.raises(ValueError, match="'area' marks nothing of 'vessels'"):
        region_of(rectangle(300, 300, 400, 400), vessels())


def test_all_shapes_of_a_layer_count():
    shapes = rectangle(9.5, 9.5, 19.5, 19.5)
    shapes.add_polygons([[[29.5, 29.5], [39.5, 49.5], [39.5, 29.5]]])
    shapes.add_ellipses([[[59.5, 59.5], [59.5, 79.5], [79.5, 79.5], [79.5, 59.5]]])
    shapes.add_lines([[[0, 0], [99, 99]]])
    areas = region_of(shapes, vessels())
    assert isinstance(areas, Areas)
    mask = areas.mask(Box(0, 0, 100, 200))
    y, x = np.mgrid[:100, :200] + 0.5
    ellipse = (y - 70) ** 2 + (x - 70) ** 2
    wanted = (y > 10) & (y < 20) & (x > 10) & (x < 20)
    wanted |= (y > 30) & (y < 40) & (x > 30) & ((x - 30) < 2 * (y - 30))
    assert mask[ellipse < 97].all()
    np.testing.assert_array_equal(mask[ellipse > 103], wanted[ellipse > 103])
    assert areas.name == "area"
    assert region_words(areas).startswith("3 areas within 70 x 70 px")


def test_a_turned_rectangle_is_what_it_looks_like():
    diamond = Shapes([[[0, 50], [40, 90], [80, 50], [40, 10]]], shape_type="rectangle", name="area")
    areas = region_of(diamond, vessels())
    assert areas.mask(Box(0, 0, 100, 200)).sum() == pytest.approx(3200, abs=60)


def test_a_turned_layer_is_followed():
    layer = rectangle(20, 20, 40, 40, rotate=45)
    assert isinstance(region_of(layer, vessels()), Areas)


def test_a_layer_without_areas_says_what_to_do():
    with pytest.raises(ValueError, match="'area' has no rectangle, polygon or ellipse: draw one"):
        region_of(Shapes(name="area"), vessels())


def test_labels_count_where_they_are_painted():
    painted = np.zeros((50, 100), int)
    painted[10:20, 30:50] = 3
    painted[12:14, 32:34] = 0
    layer = Labels(painted, scale=(2, 2), translate=(0.5, 0.5), name="tumour")
    areas = region_of(layer, vessels()).areas()
    mask = areas.mask(Box(0, 0, 100, 200))
    np.testing.assert_array_equal(mask, painted.repeat(2, 0).repeat(2, 1) != 0)
    with pytest.raises(ValueError, match="'tumour' marks nothing: paint"):
        region_of(Labels(np.zeros((50, 100), int), name="tumour"), vessels()).areas()

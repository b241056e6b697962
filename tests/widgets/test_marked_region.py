"""Which pixels a Shapes or a Labels layer marks."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import Dims
from napari.layers import Image, Labels, Points, Shapes

from napari_damm.widgets.viewer import marked_region
from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.marked_region import layers_with_areas, marked_by
from napari_damm.widgets.viewer.roles import Channel

DIMS = Dims(ndim=2)
PIXELS = World(1.0, "pixel")
SHAPE = (40, 60)


def primary(**place) -> Channel:
    return Channel(Image(np.zeros(SHAPE, np.uint8), name="vessels", **place))


def rectangle(y0: float, x0: float, y1: float, x1: float) -> list[list[float]]:
    """A rectangle over pixels y0..y1, x0..x1, half-open, whose centres are at whole numbers."""
    return [[y - 0.5, x - 0.5] for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]


def on_pixels(region, side: float, corner: tuple[float, float]) -> np.ndarray:
    """The mask on the pixels of the primary image, which begin at `corner`."""
    whole = np.zeros(SHAPE, bool)
    y, x = (round((o - c) / side) for o, c in zip(region.origin, corner, strict=True))
    whole[y : y + region.mask.shape[0], x : x + region.mask.shape[1]] = region.mask
    return whole


def mask_of(layer, channel: Channel, world: World = PIXELS) -> np.ndarray:
    side = channel.layer.scale[-1] * world.um_per_unit
    corner = tuple((channel.layer.translate - channel.layer.scale / 2) * world.um_per_unit)
    return on_pixels(marked_by(layer, channel, world, DIMS).region(), side, corner)


def test_all_shapes_of_a_layer_count_to_the_pixel():
    triangle = [[19.5, 29.5], [19.5, 39.5], [29.5, 29.5]]
    shapes = Shapes(
        [rectangle(2, 3, 7, 11), triangle], shape_type=["rectangle", "polygon"], name="area"
    )
    wanted = np.zeros(SHAPE, bool)
    wanted[2:7, 3:11] = True
    for row in range(10):
        # Centres on the sloping edge are inside or not as the rasteriser likes.
        wanted[20 + row, 30 : 39 - row] = True
    found = mask_of(shapes, primary())
    edge = np.zeros(SHAPE, bool)
    edge[np.arange(20, 30), np.arange(39, 29, -1)] = True
    np.testing.assert_array_equal(found & ~edge, wanted & ~edge)


@pytest.mark.parametrize("unit", ["um", "mm", "pixel"])
def test_it_lies_where_it_is_drawn_in_whatever_unit(unit):
    side = {"um": 2.0, "mm": 0.002, "pixel": 3.0}[unit]
    place = {"scale": (side, side), "translate": (7 * side, -4 * side), "units": unit}
    shapes = Shapes([rectangle(2, 3, 7, 11)], shape_type="rectangle", **place)
    wanted = np.zeros(SHAPE, bool)
    wanted[2:7, 3:11] = True
    np.testing.assert_array_equal(
        mask_of(shapes, primary(**place), World(2.0 / side, unit)), wanted
    )


def test_a_layer_with_a_transform_of_its_own_is_met():
    place = {"scale": (0.5, 0.5), "units": "um"}
    shapes = Shapes(
        [[[1, 1], [1, 3], [4, 3], [4, 1]]], shape_type="polygon", translate=(2.25, 0.25), units="um"
    )
    wanted = np.zeros(SHAPE, bool)
    wanted[7:13, 3:7] = True  # y 3.25..6.25 and x 1.25..3.25, whose pixels begin at -0.25
    np.testing.assert_array_equal(mask_of(shapes, primary(**place), World()), wanted)


def test_an_ellipse_is_round():
    shapes = Shapes([rectangle(0, 0, 40, 60)], shape_type="ellipse")
    found = mask_of(shapes, primary())
    y, x = np.mgrid[:40, :60]
    wanted = ((y - 19.5) / 20) ** 2 + ((x - 29.5) / 30) ** 2
    assert found[wanted < 0.97].all()
    assert not found[wanted > 1.03].any()


def test_what_hangs_over_the_edge_is_cut_off():
    shapes = Shapes([rectangle(-5, 50, 10, 90)], shape_type="rectangle")
    wanted = np.zeros(SHAPE, bool)
    wanted[:10, 50:] = True
    np.testing.assert_array_equal(mask_of(shapes, primary()), wanted)


def test_what_lies_beside_the_image_is_refused():
    shapes = Shapes([rectangle(50, 0, 70, 10)], shape_type="rectangle", name="area")
    with pytest.raises(ValueError, match="'area' marks nothing of 'vessels'"):
        marked_by(shapes, primary(), World(), DIMS)
    labels = Labels(np.ones(SHAPE, int), translate=(0, 100), name="painted")
    with pytest.raises(ValueError, match="'painted' marks nothing"):
        marked_by(labels, primary(), World(), DIMS)


def test_of_labels_everything_but_0_counts():
    labels = np.random.default_rng(0).integers(0, 3, SHAPE)
    found = mask_of(Labels(labels), primary())
    np.testing.assert_array_equal(found, labels != 0)


def test_coarse_labels_say_how_coarse_they_are():
    labels = Labels(np.ones((10, 15), int), scale=(8, 8), translate=(3, 3), units="um")
    marked = marked_by(labels, primary(scale=(2, 2), units="um"), World(), DIMS)
    region = marked.region()
    assert (region.pixel_size_um, region.origin) == (8.0, (-1.0, -1.0))
    assert region.mask.shape == (10, 15)


def test_of_a_labels_stack_the_shown_plane_counts():
    stack = np.zeros((3, *SHAPE), int)
    stack[2, :5] = 1
    dims = Dims(ndim=3, range=((0, 2, 1),) * 3, point=(2, 0, 0))
    layer = Labels(stack, axis_labels=("z", "y", "x"))
    region = marked_by(layer, primary(), PIXELS, dims).region()
    np.testing.assert_array_equal(region.mask, stack[2] != 0)


def test_a_very_large_area_gets_coarser_pixels(monkeypatch):
    monkeypatch.setattr(marked_region, "LARGEST_SIDE", 20)
    shapes = Shapes([rectangle(0, 0, 40, 60)], shape_type="rectangle")
    region = marked_by(shapes, primary(), PIXELS, DIMS).region()
    assert region.pixel_size_um == 3.0
    assert region.mask.shape == (14, 20)
    assert region.mask[:13].all()


def test_all_shapes_and_labels_are_offered_but_results():
    line = Shapes([[[0, 0], [5, 5]]], shape_type="line", name="line")
    area = Shapes([rectangle(0, 0, 5, 5)], shape_type="polygon", name="area")
    branch = Labels(np.zeros(SHAPE, int), name="Branch", metadata={"napari_damm": {}})
    painted = Labels(np.zeros(SHAPE, int), name="painted")
    found = layers_with_areas([line, area, branch, painted, Points([[0, 0]])])
    assert [layer.name for layer in found] == ["line", "area", "painted"]

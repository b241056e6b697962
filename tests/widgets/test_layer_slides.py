"""From layers to a slide, and from the slide's um back to the viewer."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image

from napari_damm.widgets.viewer.layer_slides import (
    World,
    grid_of,
    planes,
    request_channels,
    stated_pixel_size,
)
from napari_damm.widgets.viewer.pixel_sizes import PixelSizes
from napari_damm.widgets.viewer.roles import Channel

UM = {"scale": (0.5, 0.5), "units": "um"}


def channel(name: str = "vessels", shape: tuple[int, int] = (40, 60), **arguments) -> Channel:
    return Channel(Image(np.zeros(shape, np.uint8), name=name, **arguments))


def request_stains(vessels: Channel, nuclei: Channel, pixel_size_um: float):
    return request_channels({"vessels": vessels, "nuclei": nuclei}, pixel_size_um)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({"scale": (0.5, 0.5), "units": "um"}, 0.5),
        ({"scale": (250, 250), "units": "nm"}, 0.25),
        ({"scale": (0.002, 0.002), "units": "mm"}, 2.0),
        ({"scale": (1, 1), "units": "um"}, 1.0),
        ({"scale": (0.65, 0.65)}, 0.65),
        ({"affine": np.diag([3.0, 3.0, 1.0])}, 3.0),
        ({}, None),
    ],
)
def test_the_pixel_size_is_what_the_layer_states(arguments, size):
    assert stated_pixel_size(grid_of(channel(**arguments))) == pytest.approx(size)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"rotate": 10}, "rotated"),
        ({"shear": [0.2]}, "sheared"),
        ({"scale": (-1, 1)}, "flipped"),
        ({"scale": (1, 2)}, "square"),
        ({"units": ("um", "mm")}, "one unit"),
    ],
)
def test_layers_that_cannot_be_resampled_honestly_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        grid_of(channel(**arguments))


def test_pixels_that_are_square_within_a_percent_pass():
    assert grid_of(channel(scale=(1.0, 1.005))).side == 1.0


def test_the_corner_is_half_a_pixel_before_the_first_centre():
    assert grid_of(channel(scale=(4, 4), translate=(10, 20))).corner == (8, 18)


def test_both_channels_are_placed_in_um():
    vessels = channel("vessels", scale=(500, 500), translate=(1000, 0), units="nm")
    nuclei = channel("nuclei", scale=(1, 1), translate=(0.5, 2.5), units="um")
    request = request_stains(vessels, nuclei, 0.5)
    assert request.pixel_sizes_um == pytest.approx({"vessels": 0.5, "nuclei": 1.0})
    assert request.origins_um["vessels"] == pytest.approx((0.75, -0.25))
    assert request.origins_um["nuclei"] == pytest.approx((0.0, 2.0))


def test_an_entered_size_scales_the_whole_world():
    vessels, nuclei = channel("vessels"), channel("nuclei", (20, 30), scale=(2, 2))
    request = request_stains(vessels, nuclei, 0.65)
    assert request.pixel_sizes_um == pytest.approx({"vessels": 0.65, "nuclei": 1.3})
    assert request.origins_um["nuclei"] == pytest.approx((-0.65, -0.65))


@pytest.mark.parametrize(
    ("vessels", "nuclei", "size", "words"),
    [
        (channel(**UM), channel("nuclei", **UM), 0.0, "Enter the pixel size"),
        (channel(**UM), channel("nuclei"), 0.5, r"layer.units = \("),
        (channel(**UM), channel("nuclei", translate=(500, 0), **UM), 0.5, "do not overlap"),
    ],
)
def test_pairs_that_cannot_be_predicted_say_why(vessels, nuclei, size, words):
    with pytest.raises(ValueError, match=words):
        request_stains(vessels, nuclei, size)


def test_one_channel_cannot_play_both_roles():
    with pytest.raises(ValueError, match="same channel"):
        request_stains(vessels := channel(**UM), vessels, 0.5)


def test_two_colours_of_one_picture_are_two_channels():
    photo = Image(np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3), rgb=True)
    green, blue = Channel(photo, rgb=1), Channel(photo, rgb=2)
    request = request_stains(green, blue, 0.65)
    np.testing.assert_array_equal(request.planes["nuclei"][0], photo.data[..., 2])


def test_planes_of_a_lazy_pyramid_stay_lazy():
    levels = [da.zeros((3, 64, 64), chunks=16), da.zeros((3, 32, 32), chunks=16)]
    pyramid = Image(levels, multiscale=True, contrast_limits=(0, 1))
    found = planes(Channel(pyramid, (2,)))
    assert [level.shape for level in found] == [(64, 64), (32, 32)]
    assert all(isinstance(level, da.Array) for level in found)


def test_maps_are_placed_by_their_pixel_centres():
    place = World(um_per_unit=1000.0, units="mm").place(2.0, (10.0, 20.0))
    assert place["scale"] == pytest.approx((0.002, 0.002))
    assert place["translate"] == pytest.approx((0.011, 0.021))


def test_an_entered_size_is_kept_for_its_layer_and_the_one_beside_it():
    sizes, vessels, nuclei = PixelSizes(), channel(), channel("nuclei", (20, 30), scale=(2, 2))
    sizes.enter(vessels, 0.3, beside=nuclei)
    assert sizes.of(vessels) == (0.3, "entered by hand")
    assert sizes.of(nuclei)[0] == pytest.approx(0.6)
    assert sizes.of(channel("another"))[0] is None


def test_a_scale_given_later_outranks_what_was_entered():
    sizes, vessels = PixelSizes(), channel()
    sizes.enter(vessels, 0.3)
    vessels.layer.scale, vessels.layer.units = (0.7, 0.7), "um"
    assert sizes.of(vessels) == (pytest.approx(0.7), "from the layer")


def test_an_entry_of_zero_takes_an_entry_back():
    sizes, vessels = PixelSizes(), channel(**UM)
    sizes.enter(vessels, 0.3)
    sizes.enter(vessels, 0.0)
    assert sizes.of(vessels) == (0.5, "from the layer")


@pytest.mark.parametrize(("shape", "told"), [((3, 2, 40, 60), True), ((3, 40, 60), False)])
def test_a_layer_of_planes_and_stains_is_to_be_split(shape, told):
    stack = Channel(Image(np.zeros(shape, np.uint8), name="s"), (0,) * (len(shape) - 2))
    with pytest.raises(ValueError, match="pick different ones") as refused:
        request_stains(stack, stack, 1.0)
    said = "If 's' holds several stains, right-click it in the layer list: Split Stack"
    assert str(refused.value).endswith(said) is told

"""Of a stack, the plane that the sliders show."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_damm.widgets.viewer.roles import channels_of
from napari_damm.widgets.viewer.slices import in_units_of, in_units_shown, shown_plane


def show(shape, step=None, **arguments):
    """Show a stack, move the sliders to `step`; return its first channel and the sliders."""
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros(shape, np.uint8), **arguments)
    if step is not None:
        viewer.dims.current_step = (*step, 0, 0)
    return channels_of([layer])[0], viewer.dims


@pytest.mark.parametrize(
    ("shape", "labels", "step", "index", "words"),
    [
        ((20, 8, 9), ("z", "y", "x"), (3,), (3,), "z3"),
        ((5, 8, 9), ("t", "y", "x"), (4,), (4,), "t4"),
        ((5, 20, 8, 9), ("time", "z", "y", "x"), (1, 7), (1, 7), "time 1, z7"),
        ((20, 8, 9), None, (3,), (3,), "slice 3"),
        ((7, 2, 8, 9), ("z", "c", "y", "x"), (6, 1), (6, 0), "z6"),
        ((1, 8, 9), None, None, (0,), ""),
        ((3, 8, 9), ("c", "y", "x"), (2,), (0,), ""),  # channels: the picker says which
        ((3, 8, 9), None, (2,), (2,), "slice 2"),
    ],
)
def test_the_sliders_pick_the_plane(shape, labels, step, index, words):
    channel, dims = show(shape, step, axis_labels=labels)
    plane, shown = shown_plane(channel, dims)
    assert (plane.index, shown) == (index, words)


def test_slices_are_found_through_scale_and_units():
    arguments = {"scale": (2.5, 1, 1), "translate": (10, 0, 0), "units": "um"}
    channel, dims = show((20, 8, 9), (6,), axis_labels=("z", "y", "x"), **arguments)
    assert shown_plane(channel, dims)[0].index == (6,)


def test_a_layer_with_fewer_slices_is_met_at_the_same_depth():
    viewer = ViewerModel()
    for name, slices, scale in (("fine", 20, 1.0), ("coarse", 11, 2.0)):
        data = np.zeros((slices, 8, 9), np.uint8)
        labels = ("z", "y", "x")
        viewer.add_image(data, name=name, scale=(scale, 1, 1), axis_labels=labels)
    viewer.dims.set_point(0, 12.0)
    planes = [shown_plane(c, viewer.dims)[0].index for c in channels_of(viewer.layers)]
    assert planes == [(12,), (6,)]


def test_where_no_plane_is_shown_a_sentence_says_so():
    channel, dims = show((20, 8, 9))
    dims.ndisplay = 3
    with pytest.raises(ValueError, match="in the 2-D view"):
        shown_plane(channel, dims)


def test_a_slider_beyond_the_stack_is_refused():
    viewer = ViewerModel()
    stack = viewer.add_image(np.zeros((20, 8, 9), np.uint8), axis_labels=("z", "y", "x"))
    viewer.add_image(np.zeros((50, 8, 9), np.uint8), axis_labels=("z", "y", "x"))
    viewer.dims.set_point(0, 40)
    with pytest.raises(ValueError, match="outside"):
        shown_plane(channels_of([stack])[0], viewer.dims)


def test_a_point_of_the_view_is_told_in_a_layer_s_own_units():
    viewer = ViewerModel()
    coarse = viewer.add_image(np.zeros((8, 9)), scale=(1e-3, 1e-3), units="mm")
    fine = viewer.add_image(np.zeros((8, 9)), units="um")
    shown = [1.0 if unit == "micrometer" else 1e-3 for unit in map(str, viewer.dims.units)]
    centre = [4.0 * factor for factor in shown]  # 4 um
    assert in_units_of(coarse, viewer.dims, centre) == pytest.approx([4e-3, 4e-3])
    assert in_units_of(fine, viewer.dims, centre) == pytest.approx([4.0, 4.0])
    for layer in (coarse, fine):
        own = in_units_of(layer, viewer.dims, centre)
        assert in_units_shown(layer, viewer.dims, own) == pytest.approx(centre)

"""Result layers come one after the other, so that napari never stands still for long."""

from __future__ import annotations

import pytest
from driver import LAYERS
from fake_prediction import FakePredict
from napari.components import ViewerModel

from napari_damm.widgets.viewer.colour_bar import LETTERS
from napari_damm.widgets.viewer.layer_slides import SlideRequest, World
from napari_damm.widgets.viewer.result_layers import ResultLayers
from napari_damm.widgets.viewer.result_maps import Maps


def planned_layers(viewer) -> ResultLayers:
    """The layers of a prediction that has just been planned."""
    planned = next(iter(FakePredict().events()))
    return ResultLayers(viewer, Maps.of_plan(planned), SlideRequest("", {}, {}, {}, World()))


def seen(viewer) -> list[tuple[str, bool]]:
    return [(layer.name, layer.visible) for layer in viewer.layers]


def has_bar(layer) -> bool:
    return bool(getattr(getattr(layer, "colorbar", None), "visible", False))


def test_a_turn_adds_a_layer_or_shows_one_never_both():
    viewer = ViewerModel()
    layers = planned_layers(viewer)
    for count in (1, 2, 3):
        layers.add_next()
        assert len(viewer.layers) == count
        assert not any(visible for _, visible in seen(viewer))
    layers.add_next()
    assert seen(viewer) == list(zip(LAYERS, (True, False, False), strict=True))
    assert not has_bar(viewer.layers[0])
    while layers.incomplete:
        layers.add_next()
    assert has_bar(viewer.layers[0]) or not hasattr(viewer.layers[0], "colorbar")


def test_the_older_map_stays_until_the_new_one_is_shown():
    viewer = ViewerModel()
    for _ in range(2):
        layers = planned_layers(viewer)
        while not viewer.layers or sum(visible for _, visible in seen(viewer)) < 1:
            layers.add_next()
        while layers.incomplete:
            assert [visible for _, visible in seen(viewer)].count(True) == 1
            layers.add_next()


def test_a_run_that_ends_while_its_layers_come_shows_what_there_is(tmp_path):
    viewer = ViewerModel()
    layers = planned_layers(viewer)
    for _ in range(3):
        layers.add_next()
    layers.end_early({"state": "cancelled"}, 0.5)
    assert seen(viewer)[0] == ("NP distribution (partial, 50 %)", True)


def test_a_layer_that_is_thrown_away_meanwhile_stays_away():
    viewer = ViewerModel()
    layers = planned_layers(viewer)
    for _ in range(3):
        layers.add_next()
    viewer.layers.remove("NP distribution")
    while layers.incomplete:
        layers.add_next()
    assert [name for name, _ in seen(viewer)] == LAYERS[1:]


def test_the_letters_of_the_colour_bar_are_made_before_it_is_drawn(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    canvas = viewer.window._qt_viewer.canvas
    if not hasattr(canvas, "font_info"):
        pytest.skip("this napari draws letters otherwise")
    info = canvas.font_info()
    font = info.font_manager.get_font(info.face)
    layers = planned_layers(viewer)
    while layers.incomplete and not any(has_bar(layer) for layer in viewer.layers):
        before = set(font._glyphs)
        layers.add_next()
    assert before >= set("".join(LETTERS))  # the last turn, which showed the bar, made none
    viewer.screenshot(canvas_only=True, flash=False)
    assert set(font._glyphs) == before

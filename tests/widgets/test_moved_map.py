"""What is drawn about a map, or made of it, goes with it when it alone is moved."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Layer

from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.result_maps import FIRST_PIXEL, MAP, NP, Maps, layer_tuples
from napari_damm.widgets.viewer.result_tools import RunLayers, place_of_cells

MOVED = (640.0, -100.0)


@pytest.fixture
def moved(open_widget, fake_predict):
    """A finished prediction whose map was registered by hand: the map alone was moved."""
    fake_predict.familiar = fake_predict.doubts = True
    driver = open_widget()
    driver.run()
    layer = driver.viewer.layers["NP distribution"]
    layer.translate = np.asarray(layer.translate) + MOVED
    return driver


def corner(layer):
    return np.asarray(layer.translate) - np.asarray(layer.scale) / 2


def test_what_is_kept_of_a_moved_map_is_what_its_cells_say(moved):
    moved.hide_by.setCurrentText("less sure than")
    moved.least_sure.setValue(60)
    moved.click("sure_map")
    whole = moved.viewer.layers["NP distribution"]
    kept = moved.viewer.layers["NP distribution, 60 % sure or surer"]
    sure = np.asarray(moved.viewer.layers["Uncertainty"].data) < 0.4
    mask = sure.repeat(32, 0).repeat(32, 1)[:448, :448]
    assert 0 < mask.mean() < 1
    np.testing.assert_array_equal(np.asarray(kept.data), np.where(mask, np.asarray(whole.data), 0))
    np.testing.assert_allclose(kept.translate, whole.translate)


def test_the_cover_and_the_trust_map_lie_on_the_moved_map(moved):
    whole = moved.viewer.layers["NP distribution"]
    moved.least_sure.setValue(1)
    cover = moved.viewer.layers["Not to be used"]
    np.testing.assert_allclose(corner(cover), corner(whole))
    moved.click("trust_map")
    trust = moved.viewer.layers["Trust"]
    np.testing.assert_allclose(corner(trust), corner(whole))
    np.testing.assert_allclose(trust.extent.world, whole.extent.world, atol=4)


def test_the_cover_follows_a_map_that_is_moved_while_it_is_shown(moved):
    whole = moved.viewer.layers["NP distribution"]
    moved.least_sure.setValue(1)
    whole.translate = np.asarray(whole.translate) + MOVED
    moved.least_sure.setValue(2)
    cover = moved.viewer.layers["Not to be used, or with care"]
    np.testing.assert_allclose(corner(cover), corner(whole))


def test_of_a_region_the_first_pixel_lies_within_its_first_cell():
    cells = np.zeros((3, 3))
    branch = cells.astype(np.uint8)
    maps = Maps([np.zeros((64, 64))], cells, branch, 2.0, (20.0, 14.0), (0.0, 0.0), {})
    (values, arguments, _), *others = layer_tuples(maps, World())
    assert arguments["metadata"][FIRST_PIXEL] == (10, 7)
    shown = [Layer.create(data, {**looks}, kind) for data, looks, kind in others]
    run = RunLayers({layer.metadata[MAP]: layer for layer in shown})
    run.maps[NP] = Layer.create(values, arguments, "image")
    there = place_of_cells(run)
    np.testing.assert_allclose(there["translate"], run.maps["Uncertainty"].translate)
    np.testing.assert_allclose(there["scale"], run.maps["Uncertainty"].scale)

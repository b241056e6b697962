"""Where the table of validation windows stands, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_damm.events import ValidationTile
from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.validation_layers import GAP_PX, ValidationLayers, montage

MODALITIES = ("vessels", "nuclei", "nanoparticles")
SIDE = 16


def tiles(count: int = 2, before: bool = True, um: float = 2.0) -> list[ValidationTile]:
    picture = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    return [
        ValidationTile("s", 0, 0, um, (0.0, 0.0), picture, picture, picture,
                       picture if before else None, picture)
        for _ in range(count)
    ]  # fmt: skip


def shown(viewer, world: World, **options) -> ValidationLayers:
    layers = ValidationLayers(viewer, MODALITIES, world)
    layers.show(tiles(**options))
    while layers.incomplete:
        layers.add_next()
    return layers


def test_windows_are_outlined_where_they_lie():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((600, 600)), scale=(2e-3, 2e-3), translate=(1e-3, 1e-3), units="mm")
    layers = ValidationLayers(viewer, MODALITIES, World(1000.0, "mm"), [(0.0, 64.0)])
    layers.show(tiles())
    while layers.incomplete:
        layers.add_next()
    outlines = viewer.layers["Validation windows"]
    corners = np.stack([outlines.data_to_world(corner) for corner in outlines.data[0]])
    np.testing.assert_allclose(corners.min(0), (0, 0.064), atol=1e-9)
    np.testing.assert_allclose(corners.max(0), (0.512, 0.064 + 0.512))
    layers_of_a_second = ValidationLayers(viewer, MODALITIES, World(1000.0, "mm"))
    layers_of_a_second.show(tiles())
    assert "Validation windows" not in viewer.layers


def test_a_montage_stacks_windows_with_gaps():
    picture = montage([np.full((4, 6), 1.0), np.full((4, 6), 2.0)])
    assert picture.dtype == np.float32
    assert picture.shape == (8 + GAP_PX, 6)
    assert (picture[:4] == 1).all()
    assert (picture[4:-4] == 0).all()
    assert (picture[-4:] == 2).all()


@pytest.mark.parametrize(("unit", "um_per_unit"), [("um", 1.0), ("mm", 1000.0), ("pixel", 0.5)])
def test_it_stands_right_of_the_section_in_its_unit_and_scale(unit, um_per_unit):
    viewer = ViewerModel()
    section = viewer.add_image(
        np.zeros((50, 80)), scale=(2 / um_per_unit,) * 2, translate=(7 / um_per_unit, 0), units=unit
    )
    shown(viewer, World(um_per_unit, unit))
    first = viewer.layers["Validation vessels"]
    assert first.units == section.units
    np.testing.assert_allclose(first.scale, section.scale)
    top, left = first.data_to_world((-0.5, -0.5))
    section_top, right = section.data_to_world((-0.5, 79.5))
    assert left == pytest.approx(right + 3 * GAP_PX * 2 / um_per_unit)
    assert top == pytest.approx(section_top)


def test_in_an_empty_viewer_it_begins_at_the_origin():
    viewer = ViewerModel()
    shown(viewer, World())
    first = viewer.layers["Validation vessels"]
    np.testing.assert_allclose(first.data_to_world((-0.5, -0.5)), (0, 0), atol=1e-9)


def test_columns_stand_side_by_side_with_a_heading_each():
    viewer = ViewerModel()
    shown(viewer, World())
    headings = viewer.layers["Validation headings"]
    names = list(headings.features["heading"])
    assert names == ["vessels", "nuclei", "truth", "before", "now"]
    for name, point in zip(names, headings.data, strict=True):
        left = viewer.layers[f"Validation {name}"].data_to_world((0, 0))[1]
        assert headings.data_to_world(point)[1] == pytest.approx(left)


def test_from_scratch_there_is_no_before():
    viewer = ViewerModel()
    layers = shown(viewer, World(), before=False)
    assert "Validation before" not in viewer.layers
    assert "base model" not in layers.explain()
    assert "nanoparticles as measured" in layers.explain()


def test_a_refresh_leaves_selection_view_and_looks_alone():
    viewer = ViewerModel()
    mine = viewer.add_image(np.zeros((50, 80)), name="mine")
    layers = shown(viewer, World())
    assert viewer.layers.selection == {mine}
    camera = viewer.scene.camera if hasattr(viewer, "scene") else viewer.camera  # napari < 0.9
    camera.zoom = 17.0
    now = viewer.layers["Validation now"]
    now.visible, now.colormap = False, "gray"
    layers.show(tiles(3))
    assert not layers.incomplete
    assert camera.zoom == 17.0
    assert viewer.layers.selection == {mine}
    assert (now.visible, now.colormap.name) == (False, "gray")
    assert now.data.shape == (3 * SIDE + 2 * GAP_PX, SIDE)


def test_the_next_training_takes_the_place_of_the_last():
    viewer = ViewerModel()
    viewer.add_image(np.zeros((50, 80)), name="mine")
    shown(viewer, World())
    place = viewer.layers["Validation vessels"].translate
    shown(viewer, World())
    assert len(viewer.layers) == 7
    np.testing.assert_allclose(viewer.layers["Validation vessels"].translate, place)


def test_an_empty_layer_is_in_nobody_s_way():
    viewer = ViewerModel()
    viewer.add_shapes(None, ndim=2, name="drawn later", units="um")
    viewer.add_image(np.zeros((60, 60)), units="um")
    table = shown(viewer, World(1.0, "um"))
    corner = viewer.layers["Validation truth"].translate
    assert np.isfinite(corner).all()
    assert corner[1] > 60
    assert not table.incomplete

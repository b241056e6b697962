"""A layer that was saved as OME-TIFF lies where it lay, when it is opened again."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels, Layer

from napari_damm.widgets.viewer.reader import get_reader
from napari_damm.widgets.viewer.writer import write_tiff


def reopened(path, layer: Layer) -> Layer:
    data, attributes, _ = layer.as_layer_data_tuple()
    write_tiff(str(path), data, attributes)
    read = get_reader(str(path))
    assert read is not None
    (again,) = (Layer.create(*each) for each in read(str(path)))
    return again


def corners(layer: Layer):
    """Return the outer corners of a layer in um."""
    factor = [float((1.0 * unit).to("micrometer").magnitude) for unit in layer.units]
    ends = np.array([[-0.5, -0.5], np.array(layer.data.shape) - 0.5])
    return (ends * layer.scale + layer.translate) * factor


@pytest.mark.parametrize(
    "placed",
    [
        # the cells of a map: more um than a microscope's pixels have
        {"scale": (32.0, 32.0), "translate": (208.0, -16.0), "units": ("um", "um")},
        {"scale": (2.0, 2.0), "translate": (11.0, 21.0), "units": ("um", "um")},
        {"scale": (0.001, 0.002), "translate": (3.0, 4.0), "units": ("mm", "mm")},
        {"scale": (0.65, 0.65), "units": ("um", "um")},
    ],
)
@pytest.mark.parametrize("kind", [Image, Labels])
def test_it_lies_there_again_and_is_of_the_same_kind(tmp_path, kind, placed):
    layer = kind(np.eye(20, 30, dtype=np.uint8), name="Branch", **placed)
    again = reopened(tmp_path / "map.ome.tif", layer)
    assert type(again) is kind
    assert again.name == "Branch"
    np.testing.assert_allclose(corners(again), corners(layer))
    np.testing.assert_array_equal(np.asarray(again.data), layer.data)


def test_the_maps_of_a_prediction_lie_on_each_other_again(open_widget, fake_predict, tmp_path):
    driver = open_widget()
    driver.run()
    for name in ("NP distribution", "Uncertainty", "Branch"):
        layer = driver.viewer.layers[name]
        again = reopened(tmp_path / f"{name}.ome.tif", layer)
        assert type(again) is type(layer)
        np.testing.assert_allclose(again.scale, layer.scale)
        np.testing.assert_allclose(again.translate, layer.translate)
        assert [str(unit) for unit in again.units] == ["micrometer", "micrometer"]


def test_where_nobody_said_how_large_pixels_are_it_has_no_place(tmp_path):
    again = reopened(tmp_path / "map.ome.tif", Image(np.eye(20), translate=(5, 5)))
    np.testing.assert_allclose(again.scale, 1)
    assert [str(unit) for unit in again.units] == ["pixel", "pixel"]


@pytest.mark.parametrize("creator", ["tifffile.py", "napari-dammed 2"])
def test_other_people_s_files_are_read_as_before(tmp_path, creator):
    path = tmp_path / "theirs.ome.tif"
    size = {"PhysicalSizeX": 352.8, "PhysicalSizeY": 352.8}
    place = {"Plane": {"PositionX": [70.0], "PositionY": [80.0]}, "Description": "labels"}
    tifffile.imwrite(path, np.eye(20), ome=True, metadata={"Creator": creator, **size, **place})
    (layer,) = (Layer.create(*each) for each in get_reader(str(path))(str(path)))
    assert isinstance(layer, Image)
    np.testing.assert_allclose(layer.scale, 1)
    np.testing.assert_allclose(layer.translate, 0)


@pytest.mark.parametrize(
    ("stated", "scale", "translate"),
    [
        ({"PhysicalSizeX": "nan", "PhysicalSizeY": 2.0}, 1, 0),
        ({"PhysicalSizeX": -32.0, "PhysicalSizeY": 32.0}, 1, 0),
        ({"PhysicalSizeX": 32.0, "PhysicalSizeY": 32.0}, 32, 16),
        ({"PhysicalSizeX": 32, "PhysicalSizeY": 32, "Plane": {"PositionX": ["inf"]}}, 32, 16),
    ],
)
def test_numbers_that_are_none_are_not_taken(tmp_path, stated, scale, translate):
    path = tmp_path / "odd.ome.tif"
    tifffile.imwrite(
        path, np.eye(20), ome=True, metadata={"Creator": "napari-damm 0.1.0", **stated}
    )
    (layer,) = (Layer.create(*each) for each in get_reader(str(path))(str(path)))
    np.testing.assert_allclose(layer.scale, scale)
    np.testing.assert_allclose(layer.translate, translate)

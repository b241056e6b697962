"""How large pixels are in what is saved: also where somebody entered it, or nobody said."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import tifffile
from napari.layers import Image, Layer

from napari_damm.slide.readers import open_image
from napari_damm.widgets.viewer.reader import get_reader
from napari_damm.widgets.viewer.result_figure import draw
from napari_damm.widgets.viewer.result_maps import MAP, MASKED
from napari_damm.widgets.viewer.result_tools import runs_in
from napari_damm.widgets.viewer.writer import write_tiff


@pytest.fixture
def by_hand(open_widget, fake_predict):
    """A prediction of layers that state no pixel size; 0.5 um was entered."""
    fake_predict.doubts = True
    driver = open_widget(empty=True)
    driver.add_stains(units="pixel")
    driver.pixel_size.setValue(0.5)
    driver.run()
    return driver


def sides(path):
    with tifffile.TiffFile(path) as file:
        return [float(v) for v in re.findall(r'PhysicalSize[XY]="([^"]+)"', file.ome_metadata)]


def saved(path, layer):
    data, attributes, _ = layer.as_layer_data_tuple()
    write_tiff(str(path), data, attributes)
    return path


def test_what_was_predicted_at_a_size_entered_by_hand_is_saved_in_um(by_hand, tmp_path):
    um = 2.0  # of the model
    (run,) = runs_in(by_hand.viewer.layers)
    assert str(run.np.units[-1]) == "pixel"
    assert run.np.scale[-1] == pytest.approx(um / 0.5)
    assert sides(saved(tmp_path / "np.ome.tif", run.np)) == pytest.approx([um, um])
    cells = saved(tmp_path / "unsure.ome.tif", run.maps["Uncertainty"])
    assert sides(cells) == pytest.approx([32 * um] * 2)
    by_hand.least_sure.setValue(60)
    by_hand.click("sure_map")
    kept = next(each for each in by_hand.viewer.layers if each.metadata.get(MAP) == MASKED)
    assert sides(saved(tmp_path / "kept.ome.tif", kept)) == pytest.approx([um, um])


def test_so_is_the_scale_bar_of_a_figure(by_hand):
    (run,) = runs_in(by_hand.viewer.layers)
    left, right, *_ = draw(run).axes[0].get_images()[0].get_extent()
    assert right - left == pytest.approx(run.np.data.shape[-1] * 2.0)


def test_where_nobody_said_how_large_pixels_are_no_size_is_written(tmp_path):
    unknown = saved(tmp_path / "unknown.ome.tif", Image(np.ones((64, 64)), name="CD31"))
    assert sides(unknown) == []
    bare = saved(tmp_path / "scale.ome.tif", Image(np.ones((64, 64)), scale=(0.65, 0.65)))
    assert sides(bare) == pytest.approx([0.65, 0.65])  # as pickers take it
    placed = Image(np.ones((64, 64)), scale=(0.001, 0.001), units=("mm", "mm"))
    assert sides(saved(tmp_path / "mm.ome.tif", placed)) == pytest.approx([1.0, 1.0])


def place(path):
    """The numbers and units that the file states for its place: y, x, in um."""
    with tifffile.TiffFile(path) as file:
        found = dict(re.findall(r'Position([YX](?:Unit)?)="([^"]+)"', file.ome_metadata))
    assert {found.pop("YUnit"), found.pop("XUnit")} == {"µm"}
    return float(found["Y"]), float(found["X"])


@pytest.mark.parametrize(
    ("units", "um_per_unit"), [(("um", "um"), 1.0), (("mm", "mm"), 1000.0)], ids=["um", "mm"]
)
def test_a_part_is_saved_with_its_place_and_opened_there_again(tmp_path, units, um_per_unit):
    corner, side = np.array([1024.0, -70.5]), 0.5
    scale = np.array([side, side]) / um_per_unit
    layer = Image(
        np.random.default_rng(0).random((64, 96), np.float32),
        name="NP distribution",
        scale=scale,
        translate=corner / um_per_unit + scale / 2,
        units=units,
    )
    path = saved(tmp_path / "part.ome.tif", layer)
    assert place(path) == pytest.approx(tuple(corner))
    ((data, arguments, kind),) = get_reader(str(path))(str(path))
    again = Layer.create(data, arguments, kind)
    np.testing.assert_allclose(again.translate, layer.translate * um_per_unit)
    np.testing.assert_allclose(again.scale, [side, side])
    np.testing.assert_array_equal(np.asarray(again.data), layer.data)


def test_a_predicted_part_is_saved_where_it_lies(by_hand, tmp_path):
    (run,) = runs_in(by_hand.viewer.layers)
    run.np.translate = np.add(run.np.translate, (200.0, 0.0))  # units of 0.5 um
    assert place(saved(tmp_path / "np.ome.tif", run.np)) == pytest.approx((100.0, 0.0))


def test_what_is_turned_or_without_a_size_is_saved_without_a_place(tmp_path):
    for name, layer in {
        "turned": Image(np.ones((64, 64)), scale=(0.5, 0.5), rotate=30),
        "unknown": Image(np.ones((64, 64)), translate=(9, 9)),
    }.items():
        with tifffile.TiffFile(saved(tmp_path / f"{name}.ome.tif", layer)) as file:
            assert "Position" not in file.ome_metadata


@pytest.mark.parametrize(
    ("creator", "x", "placed"),
    [
        ("napari-damm 0.1", 7.0, True),
        ("somebody 1", 7.0, False),
        ("napari-damm 0.1", math.nan, False),
        ("napari-damm 0.1", 1e12, False),
    ],
)
def test_only_of_our_own_files_a_believable_place_is_read(tmp_path, creator, x, placed):
    plane = {f"Position{axis}": [value] for axis, value in (("Y", 3.0), ("X", x))}
    about = {"axes": "YX", "Creator": creator, "Plane": plane}
    about |= {f"PhysicalSize{axis}": 1.0 for axis in "XY"}
    tifffile.imwrite(tmp_path / "a.ome.tif", np.ones((64, 64), np.uint8), metadata=about)
    file = open_image(tmp_path / "a.ome.tif")
    assert (file.placed, file.origin) == (placed, (3.0, 7.0) if placed else (0.0, 0.0))

"""How large pixels are in what is saved: also where somebody entered it, or nobody said."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile
from napari.layers import Image

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

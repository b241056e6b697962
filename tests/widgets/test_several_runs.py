"""Runs beside each other: what one has and another lacks, layers made of them, layers removed."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_damm.util.areas import Areas
from napari_damm.widgets.viewer.hiding import predicted_pixels
from napari_damm.widgets.viewer.result_layers import hide_older
from napari_damm.widgets.viewer.result_maps import MAP, MASKED, NP, PREVIEW, UNCERTAINTY
from napari_damm.widgets.viewer.result_tools import runs_in
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.writer import write_store


def test_what_one_run_did_not_predict_is_no_difference(predicted):
    predicted.run()
    first, _ = runs_in(predicted.viewer.layers)
    branch = np.asarray(first.maps["Branch"].data).copy()
    branch[:, :3] = 0
    first.maps["Branch"].data = branch
    predicted.click("difference")
    layer = predicted.viewer.layers[-1]
    missing = (
        (branch == 0).repeat(32, 0).repeat(32, 1)[: layer.data.shape[0], : layer.data.shape[1]]
    )
    np.testing.assert_array_equal(np.isnan(layer.data), missing)
    assert missing.any()


def test_of_areas_the_pixels_inside_were_predicted(predicted):
    (run,) = runs_in(predicted.viewer.layers)
    outline = ((10.0, 20.0), (10.0, 50.0), (40.0, 50.0), (40.0, 20.0))
    asked = {"areas": Areas(((outline,),)).to_json()}
    sizes = {"slide_pixel_size_um": 1.0, "pixel_size_um": 1.0}
    run.np.metadata = {**run.np.metadata, RESULT_KEY: {"mode": "expected", **asked, **sizes}}
    found = predicted_pixels(run)
    assert found[:30, :30].all()  # the map begins at the box around them
    assert found.sum() == 30 * 30


def test_the_panel_stays_with_the_run_that_a_layer_was_kept_of(predicted):
    predicted.run()
    first, _ = runs_in(predicted.viewer.layers)
    predicted.viewer.layers.selection.active = first.np
    predicted.least_sure.setValue(60)
    predicted.click("sure_map")
    kept = next(each for each in predicted.viewer.layers if each.metadata.get(MAP) == MASKED)
    for active in (first.np, kept):
        predicted.viewer.layers.selection.active = active
        assert predicted.least_sure.value() == 60


def test_without_its_map_a_run_has_one_cover_at_most(predicted):
    predicted.viewer.layers.remove("NP distribution")
    for value in (60, 70, 90):
        predicted.least_sure.setValue(value)
        covers = [each for each in predicted.viewer.layers if "% sure" in each.name]
        assert len(covers) == 1
    predicted.least_sure.setValue(0)
    assert not [each for each in predicted.viewer.layers if "% sure" in each.name]


def test_the_cover_follows_a_run_that_goes_on(predicted):
    predicted.least_sure.setValue(60)
    (run,) = runs_in(predicted.viewer.layers)
    cover = predicted.viewer.layers["Less than 60 % sure"]
    run.maps[UNCERTAINTY].data = np.ones_like(np.asarray(run.maps[UNCERTAINTY].data))
    assert cover.data.mean() == 0.5
    predicted.least_sure.parent().refresh()
    assert cover.data.mean() == 1.0


def test_values_are_said_where_branch_was_removed(predicted):
    (run,) = runs_in(predicted.viewer.layers)
    assert run.values_at((100.0, 100.0)).endswith("nuclei not trusted")
    predicted.viewer.layers.remove("Branch")
    (run,) = runs_in(predicted.viewer.layers)
    assert run.values_at((100.0, 100.0)) == "NP 0.25, 80 % sure"


@pytest.mark.parametrize("shows", [PREVIEW, MASKED, NP])
def test_of_all_that_shows_particles_at_a_place_the_newest_is_seen(shows):
    older, newer, elsewhere = (
        Image(np.ones((8, 8)), translate=(corner, 0), metadata={RESULT_KEY: {}, MAP: kind})
        for corner, kind in ((0, shows), (0, NP), (100, shows))
    )
    hide_older([older, newer, elsewhere], newer)
    assert [each.visible for each in (older, newer, elsewhere)] == [False, True, True]


def test_a_part_of_a_map_is_not_saved_as_the_whole_prediction(predicted, tmp_path):
    predicted.least_sure.setValue(60)
    predicted.click("sure_map")
    kept = next(each for each in predicted.viewer.layers if each.metadata.get(MAP) == MASKED)
    data, attributes, _ = kept.as_layer_data_tuple()
    with pytest.raises(ValueError, match=r"save this layer as \.ome\.tif"):
        write_store(str(tmp_path / "r.ome.zarr"), data, attributes)
    assert not (tmp_path / "r.ome.zarr").exists()

"""Areas of any outline: which pixels lie in them, and predictions of nothing else."""

from __future__ import annotations

import json

import jobs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_damm import api
from napari_damm.events import Planned
from napari_damm.store import ShardStatus
from napari_damm.util import areas
from napari_damm.util.areas import (
    MOST_POINTS,
    Areas,
    areas_of_geojson,
    areas_of_mask,
    named_areas_of_geojson,
)
from napari_damm.util.tiling import Box

SQUARE = ((10.0, 20.0), (10.0, 50.0), (40.0, 50.0), (40.0, 20.0))
HOLE = ((20.0, 30.0), (20.0, 40.0), (30.0, 40.0), (30.0, 30.0))
ALL = Box(0, 0, 64, 64)


def rectangle(y0, x0, y1, x1):
    return ((y0, x0), (y0, x1), (y1, x1), (y1, x0))


# ---------------------------------------------------------------- outlines and pixels


def test_a_square_holds_the_pixels_whose_centres_it_holds():
    mask = Areas(((SQUARE,),)).mask(ALL)
    assert mask.sum() == 30 * 30
    assert mask[10:40, 20:50].all()


def test_an_outline_inside_another_is_a_hole_and_areas_add_up():
    with_hole = Areas(((SQUARE, HOLE),)).mask(ALL)
    assert with_hole.sum() == 30 * 30 - 10 * 10
    assert not with_hole[20:30, 30:40].any()
    assert Areas(((SQUARE,), (HOLE,))).mask(ALL).sum() == 30 * 30


def test_a_slanted_outline_is_where_geometry_says():
    triangle = ((0.0, 0.0), (64.0, 0.0), (64.0, 64.0))
    y, x = np.mgrid[:64, :64] + 0.5
    np.testing.assert_array_equal(Areas(((triangle,),)).mask(ALL), x < y)


outlines = st.lists(st.tuples(st.floats(-20, 80), st.floats(-20, 80)), min_size=3, max_size=8).map(
    tuple
)


@given(
    st.lists(outlines, min_size=1, max_size=3).map(tuple), st.integers(0, 40), st.integers(0, 40)
)
def test_a_box_of_the_mask_is_the_mask_of_the_box(area, y, x):
    areas = Areas((area,))
    box = Box(y, x, y + 20, x + 24)
    np.testing.assert_array_equal(areas.mask(box), areas.mask(ALL)[box.slices])


def test_geojson_becomes_areas_with_holes_and_points_turned(tmp_path):
    outer, hole = [[0, 0], [9, 0], [9, 5], [0, 5], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 1]]
    path = tmp_path / "mine.geojson"
    shapes = [
        {"type": "Polygon", "coordinates": [outer, hole]},
        {"type": "MultiPolygon", "coordinates": [[hole], [hole]]},
        {"type": "Point", "coordinates": [3, 3]},
    ]
    features = [{"type": "Feature", "geometry": shape} for shape in shapes]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    areas = areas_of_geojson(path)
    assert areas.name == "mine"
    assert areas.areas[0][0] == ((0.0, 0.0), (0.0, 9.0), (5.0, 9.0), (5.0, 0.0))
    assert [len(area) for area in areas.areas] == [2, 1, 1]


@pytest.mark.parametrize("text", ["{}", "[1]", '{"type": "Polygon", "coordinates": 3}', "[]"])
def test_what_is_no_geojson_of_polygons_is_refused(tmp_path, text):
    path = tmp_path / "odd.geojson"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"odd\.geojson (is no GeoJSON|holds no polygon)"):
        areas_of_geojson(path)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([[0, 0], [9, 0]], "three points or more"),
        ([[0, 0], [9, 0], [9, 1e308]], "must be points"),
        ([[k % 90, k % 70] for k in range(MOST_POINTS + 1)], "simpler outlines"),
    ],
)
def test_what_is_wrong_with_points_of_geojson_is_said(tmp_path, points, said):
    path = tmp_path / "odd.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [points]}))
    with pytest.raises(ValueError, match=said):
        areas_of_geojson(path)


@given(st.integers(0, 2**32 - 1))
def test_a_mask_becomes_areas_and_comes_back(seed):
    mask = np.random.default_rng(seed).random((13, 17)) < 0.4
    mask[0, 0] = True
    areas = areas_of_mask(mask, 2.0, (4.0, 6.0), "spots")
    back = areas.mask(Box(4, 6, 4 + 26, 6 + 34))
    np.testing.assert_array_equal(back, mask.repeat(2, 0).repeat(2, 1))


def test_areas_survive_json():
    areas = Areas(((SQUARE, HOLE), (HOLE,)), "tumour")
    assert Areas.from_json(areas.to_json()) == areas


@pytest.mark.parametrize(
    ("areas", "words"),
    [
        ((), "three points or more"),
        (((SQUARE[:2],),), "three points or more"),
        (((SQUARE * 50_001,),), "or fewer, got 200,004"),
        (((((0.0, 0.0), (1.0, float("nan")), (2.0, 0.0)),),), "nan"),
    ],
)
def test_what_is_no_area_is_refused(areas, words):
    with pytest.raises(ValueError, match=words):
        Areas(areas)


def test_a_mask_of_nothing_is_refused():
    with pytest.raises(ValueError, match="'spots' marks nothing"):
        areas_of_mask(np.zeros((3, 3), bool), 1.0, (0.0, 0.0), "spots")


# ---------------------------------------------------------------- predictions

TWO = Areas(
    (
        (((20.0, 30.0), (180.0, 60.0), (90.0, 200.0)),),
        (rectangle(300.0, 500.0, 430.0, 620.0),),
    ),
    "two parts",
)


@pytest.fixture(scope="module")
def whole(folder):
    return jobs.run(folder, None)[-1].result


@pytest.mark.usefixtures("quick_first_stages")
def test_what_is_selected_is_what_is_predicted(folder, whole, tmp_path):
    events = jobs.run(folder, tmp_path / "r.ome.zarr", areas=TWO)
    planned, result = jobs.of(Planned, events)[0], events[-1].result
    assert planned.windows < 6
    box = Box(20, 30, 430, 620)
    assert result.np.shape == box.shape
    assert result.origin == (20.0, 30.0)
    mask = TWO.mask(box)
    expected = np.where(mask, np.asarray(whole.np)[box.slices], 0)
    np.testing.assert_array_equal(np.asarray(result.np), expected)
    cells = TWO.cells(box.cells())
    for name in ("uncertainty", "branch"):
        expected = np.where(cells, np.asarray(getattr(whole, name))[box.cells().slices], 0)
        np.testing.assert_array_equal(np.asarray(getattr(result, name)), expected)
    assert ShardStatus.BACKGROUND in result.status
    reopened = api.open_result(tmp_path / "r.ome.zarr")
    assert Areas.from_json(reopened.record["areas"]) == TWO


@pytest.mark.usefixtures("quick_first_stages")
def test_tiles_show_nothing_outside(folder):
    from napari_damm.events import Tile

    mask = TWO.mask(Box(20, 30, 430, 620))
    tiles = jobs.of(Tile, jobs.run(folder, None, areas=TWO))
    assert tiles
    for tile in tiles:
        here = Box(0, 0, *tile.np.shape).shifted(tile.y, tile.x)
        assert not tile.np[~mask[here.slices]].any()


@pytest.mark.usefixtures("quick_first_stages")
def test_other_areas_are_another_job(folder, tmp_path):
    jobs.run(folder, tmp_path / "r.ome.zarr", areas=TWO)
    other = Areas(((rectangle(20.0, 30.0, 430.0, 620.0),),))
    with pytest.raises(ValueError, match="another job"):
        jobs.run(folder, tmp_path / "r.ome.zarr", resume=True, areas=other)


def test_areas_that_hold_no_pixel_are_refused(folder):
    tiny = Areas(((rectangle(10.0, 10.6, 10.4, 10.9),),))
    with pytest.raises(ValueError, match="areas must hold a pixel of the model"):
        jobs.run(folder, None, areas=tiny)


def test_a_box_and_areas_do_not_go_together():
    with pytest.raises(ValueError, match="roi must be left out"):
        api.PredictConfig(areas=TWO, roi=(0, 0, 10, 10))


def test_in_how_many_portions_edges_are_taken_does_not_matter(monkeypatch):
    zigzag = tuple((0.0 if k % 2 else 40.0, 0.7 * k) for k in range(100))
    expected = Areas(((zigzag,),)).mask(Box(3, 2, 30, 60))
    for most in (1, 7, 50):
        monkeypatch.setattr(areas, "MOST_CROSSINGS", most)
        assert np.array_equal(Areas(((zigzag,),)).mask(Box(3, 2, 30, 60)), expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("far", [1e10, -1e308, float("inf"), float("nan")])
def test_points_beyond_any_section_are_refused(far):
    with pytest.raises(ValueError, match="areas must be points"):
        Areas((((((0.0, 0.0), (0.0, far), (9.0, 9.0))),),))


def test_features_are_kept_apart_under_their_own_or_their_class_s_name(tmp_path):
    square = [[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]]
    known = [
        {"name": "rim", "classification": {"name": "Tumor"}},
        {"classification": {"name": "Tumor"}},
        {"classification": {"name": "Tumor"}},
        None,
    ]
    shape = {"type": "Polygon", "coordinates": square}
    features = [{"type": "Feature", "geometry": shape, "properties": each} for each in known]
    features.append({"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}})
    path = tmp_path / "found.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert list(named_areas_of_geojson(path)) == ["rim", "Tumor", "Tumor 2", "area"]
    assert len(areas_of_geojson(path).areas) == 4

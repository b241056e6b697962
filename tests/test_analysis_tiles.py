"""Tiles give the numbers of the whole picture, and both those of scipy alone."""

from __future__ import annotations

import csv
import io
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from particle_maps import measured
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.io import imread
from skimage.measure import label

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.distance import distance_to, signed_distance
from napari_damm.analysis.particle_map import LabelImage
from napari_damm.analysis.structures import Structures
from napari_damm.analysis.thresholds import Histogram
from napari_damm.util.tiling import Box

SIDE = 700
PICTURES = Path(__file__).parents[2] / "shared" / "real" / "dextran"


@pytest.fixture(scope="module")
def section():
    """Round, winding vessels of all sizes with particles around them, nuclei, and empty corners."""
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), 8)
    vessels = (smooth > 1.7 * smooth.std()).astype(np.float32)
    vessels[:, 400] = 0
    vessels += 0.02 * rng.random((SIDE, SIDE), np.float32)
    vessels[rng.random((SIDE, SIDE)) > 0.9995] = 1  # specks
    distance = ndimage.distance_transform_edt(vessels < 0.5)
    particles = np.exp(-distance / 25) + 0.05 * rng.random((SIDE, SIDE))
    spots = rng.random((SIDE, SIDE)) > 0.998
    nuclei = ndimage.gaussian_filter(spots.astype(np.float32), 2.5) * 40
    tissue = np.ones((SIDE, SIDE), bool)
    tissue[:300, :256] = tissue[-100:] = False  # a tile of glass among others, cells on its edge
    images = {"particles": particles.astype(np.float32), "vessels": vessels, "nuclei": nuclei}
    return images, tissue


@pytest.fixture(scope="module")
def whole(section):
    images, tissue = section
    return measured(images, tissue=tissue, config=AnalyzeConfig(tile_px=4096))[0]


@pytest.mark.parametrize("tile_px", [256])
def test_tiles_give_the_numbers_of_the_whole(section, whole, tile_px):
    images, tissue = section
    tiled, _ = measured(images, tissue=tissue, config=AnalyzeConfig(tile_px=tile_px))
    assert [row.n for row in tiled.rows] == [row.n for row in whole.rows]
    assert [p.pixels for p in tiled.profiles] == [p.pixels for p in whole.profiles]
    assert tiled.sections[0].thresholds == whole.sections[0].thresholds
    for a, b in zip(tiled.rows, whole.rows, strict=True):
        same = a.value is b.value is None or a.value == pytest.approx(b.value, rel=1e-9)
        assert same, a.measure
    for a, b in zip(tiled.profiles, whole.profiles, strict=True):
        assert (a.distance_um, a.signal) == pytest.approx((b.distance_um, b.signal), rel=1e-9)


def test_the_profile_is_that_of_scipy_alone(section, whole):
    """Written from the definitions in docs/analyze.md, with nothing of ours."""
    images, tissue = section
    blurred = ndimage.gaussian_filter(images["vessels"].astype(float), 1.0)
    values = blurred[tissue]
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    mask = blurred > threshold_otsu(hist=(counts, centres))
    found, n = ndimage.label(mask, np.ones((3, 3)))
    sizes = ndimage.sum_labels(mask, found, np.arange(1, n + 1))
    mask = np.isin(found, 1 + np.flatnonzero(sizes >= 30))
    outside = ndimage.distance_transform_edt(~mask) - 0.5
    inside = ndimage.distance_transform_edt(mask) - 0.5
    distance = np.where(mask, -inside, outside)
    rows = iter(whole.profiles)
    for low, high in pairwise(np.arange(-10, 255, 5)):
        shell = tissue & (distance >= low) & (distance < high)
        if shell.sum() < 200:
            break
        row = next(rows)
        assert row.pixels == shell.sum()
        assert row.distance_um == pytest.approx(distance[shell].mean())
        assert row.signal == pytest.approx(images["particles"][shell].mean(dtype=float))
    assert next(rows, None) is None


def test_the_tables_have_the_contract_s_columns(whole):
    measures = list(csv.DictReader(io.StringIO(whole.measures_csv())))
    assert list(measures[0]) == [
        "section", "animal", "group", "region", "measure", "value", "unit", "low", "high",
        "level", "n", "trusted_share",
    ]  # fmt: skip
    assert {row["region"] for row in measures} == {"tissue"}
    assert (measures[0]["low"], measures[0]["trusted_share"]) == ("", "")
    profile = list(csv.DictReader(io.StringIO(whole.profile_csv())))
    assert list(profile[0]) == [
        "section", "region", "distance_um", "signal", "low", "high", "pixels",
    ]  # fmt: skip


@pytest.mark.parametrize("tile", [7, 16, 40])
def test_structures_over_several_tiles_count_once(tile):
    mask = np.random.default_rng(0).random((120, 90)) > 0.65
    structures = Structures()
    for top in range(0, 120, tile):
        for left in range(0, 90, tile):
            box = Box(top, left, top + tile, left + tile).intersect(Box(0, 0, 120, 90))
            structures.add(mask[box.slices], box)
    assert structures.count() == label(mask, connectivity=2).max()


def test_a_tile_is_forgotten_once_its_structures_are_counted():
    structures = Structures()
    tracemalloc.start()
    for row in range(4):
        structures.add(np.ones((256, 256), bool), Box(256 * row, 0, 256 * row + 256, 256))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 256 * 256 * 8  # bytes of the labels of one tile: their sides are kept
    assert structures.count() == 1


def test_the_threshold_of_counted_pixels_is_otsu_s_of_all_at_once():
    values = np.random.default_rng(1).gamma(2.0, size=5000)
    histogram = Histogram(values.min(), values.max())
    for part in np.array_split(values, 7):
        histogram.add(part)
    assert histogram.threshold().value == pytest.approx(threshold_otsu(values))


def test_separability_is_1_of_two_levels_and_low_of_one_hump():
    two = Histogram(0.0, 1.0)
    two.add([0.0] * 50 + [1.0] * 50)
    assert two.threshold().eta == pytest.approx(1.0)
    hump = Histogram(-5.0, 5.0)
    hump.add(np.random.default_rng(2).normal(size=20_000))
    assert hump.threshold().eta == pytest.approx(2 / np.pi, abs=0.02)  # of halves of a normal


def test_distances_inside_vessels_are_negative_and_end_at_the_limit():
    mask = np.zeros((40, 90), bool)
    mask[10:21, :30] = True
    distance = signed_distance(mask, (2.0, 2.0), 20.0)
    assert distance[15, 5] == -11.0  # the middle of 11 rows of 2 um
    assert distance[9, 5] == 1.0  # a pixel's centre is half a pixel from the edge
    assert distance[15, 35] == 11.0
    assert np.isinf(distance[15, 60])


def test_in_oblong_pixels_half_a_pixel_is_that_along_the_way():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    distance = distance_to(mask, (3.0, 1.0))
    assert distance[4, 6] == pytest.approx(1.5)
    assert distance[2, 4] == pytest.approx(4.5)


@pytest.mark.parametrize("number", range(1, 8))
def test_areas_are_those_of_the_published_macro_for_dextran(number):
    """As Dextran_Analysis defines them (doi 10.5281/zenodo.15866463): fixed thresholds.

    Vessels: red of 30 or more, holes filled. Dextran: green of 25 or more. Extravascular dextran:
    the latter without the former.
    """
    path = PICTURES / f"{number:02d}.jpg"
    if not path.exists():
        pytest.skip(f"the real picture {path} is not here")
    red, green, _ = np.moveaxis(imread(path), -1, 0)
    vessels = ndimage.binary_fill_holes(red >= 30)
    outside = (green >= 25) & ~vessels
    report, _ = measured(
        {"particles": green},
        0.69,
        vessel_labels=LabelImage(vessels.astype(np.int64)),
        config=AnalyzeConfig(particle_threshold=24.5, tile_px=400),
    )
    assert report.value("extravasated_area") == pytest.approx(100 * outside.mean())
    assert report.value("vessel_area") == pytest.approx(100 * vessels.mean())

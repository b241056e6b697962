"""Regions: what belongs to them, whichever tile asks."""

from __future__ import annotations

import numpy as np
import pytest
from particle_maps import measured, straight_vessel
from skimage.draw import disk

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.particle_map import LabelImage
from napari_damm.analysis.regions import Band, Labelled, Outline, labelled_regions
from napari_damm.analysis.sources import array_map
from napari_damm.util.tiling import Box

TRIANGLE = np.array([[10.0, 10.0], [10.0, 150.0], [180.0, 80.0]])


@pytest.fixture
def section():
    return array_map({"particles": np.ones((200, 200), np.float32)}, 1.0)


def test_an_outline_holds_the_pixels_whose_centres_it_encloses(section):
    square = Outline("square", (np.array([[10, 20], [10, 60], [50, 60], [50, 20]], float),))
    mask = square.mask(section, section.whole)
    assert mask.sum() == 40 * 40
    assert mask[10:50, 20:60].all()


def test_a_region_over_several_tiles_is_cut_nowhere(section):
    region = Outline("triangle", (TRIANGLE,))
    whole = region.mask(section, section.whole)
    assert whole.sum() == pytest.approx(140 * 170 / 2, rel=0.01)
    for top in range(0, 200, 64):
        box = Box(top, 30, top + 64, 130).intersect(section.whole)
        np.testing.assert_array_equal(region.mask(section, box), whole[box.slices])


def test_labels_on_a_grid_of_their_own_are_placed_in_the_world(section):
    labels = np.zeros((20, 20), np.int64)
    labels[5:10, 5:10] = 3
    region = Labelled("three", LabelImage(labels, (4.0, 4.0), (100.0, 100.0)), 3)
    mask = region.mask(section, section.whole)
    assert mask.sum() == 20 * 20
    assert mask[120:140, 120:140].all()


def test_each_label_is_a_region():
    labels = np.zeros((30, 30), np.int64)
    labels[:5], labels[9:12] = 2, 7
    found = list(labelled_regions(LabelImage(labels)))
    assert [(region.name, region.value) for region in found] == [("label 2", 2), ("label 7", 7)]


def test_a_band_lies_between_two_depths_of_tissue():
    tissue = np.zeros((300, 300), bool)
    tissue[disk((150, 150), 120)] = True
    section = array_map({"particles": np.ones((300, 300), np.float32)}, 2.0, tissue=tissue)
    mask = Band(0.0, 40.0).mask(section, section.whole)
    assert mask.sum() == pytest.approx(np.pi * (120**2 - 100**2), rel=0.03)


def test_every_region_has_its_rows_and_parts_add_up():
    signal, vessels = straight_vessel()
    halves = np.ones(signal.shape, np.int64)
    halves[:, 350:] = 2
    regions = list(labelled_regions(LabelImage(halves)))
    report, _ = measured(
        {"particles": signal, "vessels": vessels}, regions=regions,
        config=AnalyzeConfig(vessel_threshold=0.5, tile_px=256),
    )  # fmt: skip
    for measure in ("l50", "auc_100", "vessel_area", "tissue_distance"):
        left, right, whole = (
            report.value(measure, region=name) for name in ("label 1", "label 2", "tissue")
        )
        assert left == pytest.approx(whole, rel=1e-6)
        assert right == pytest.approx(whole, rel=1e-6)


def test_a_region_without_tissue_is_told_and_its_rows_say_why():
    signal, vessels = straight_vessel()
    tissue = np.ones(signal.shape, bool)
    tissue[:, 500:] = False
    glass = Outline("glass", (np.array([[10, 550], [10, 650], [90, 650], [90, 550]], float),))
    report, warnings = measured(
        {"particles": signal, "vessels": vessels}, regions=[glass], tissue=tissue
    )
    assert warnings == ["region 'glass' of arrays holds no tissue: its measures are left empty"]
    rows = [row for row in report.rows if row.region == "glass"]
    assert {row.value for row in rows} == {None}
    assert {row.reason for row in rows} == {"the region holds no tissue"}


def test_two_regions_of_one_name_are_refused(section):
    signal, vessels = straight_vessel()
    twice = [Outline("a", (TRIANGLE,)), Outline("a", (TRIANGLE + 5,))]
    with pytest.raises(ValueError, match="two regions are called 'a'"):
        measured({"particles": signal, "vessels": vessels}, regions=twice)


def test_a_band_of_tissue_without_an_edge_says_so():
    signal, vessels = straight_vessel()
    _, warnings = measured({"particles": signal, "vessels": vessels}, regions=[Band(0, 50)])
    assert any("fills the picture and shows no edge" in str(each) for each in warnings)

"""Distances and profiles against geometry and integrals worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_damm.util import extravasation


def straight_vessel(width=800, height=200, vessel=(390, 410)):
    """A vessel from top to bottom, and the distance from its edge in px, by hand."""
    mask = np.zeros((height, width), bool)
    mask[:, vessel[0] : vessel[1]] = True
    centre = np.arange(width) + 0.5
    distance = np.maximum(np.maximum(vessel[0] - centre, centre - vessel[1]), 0.0)
    return mask, np.broadcast_to(distance, mask.shape)


@pytest.fixture(scope="module")
def vessel():
    return straight_vessel()


def reach(signal, distance, **options):
    return extravasation.extravasation_distance(
        extravasation.extravasation_profile(signal, distance, **options)
    )


@pytest.mark.parametrize("um", [0.5, 1.0, 2.0])
def test_distances_run_from_the_vessel_s_edge_in_um(vessel, um):
    mask, by_hand = vessel
    distance = extravasation.vessel_distance(mask, um)
    np.testing.assert_allclose(distance, by_hand * um)
    assert distance[mask].max() == 0


def test_the_nearest_vessel_counts():
    mask = np.zeros((1, 12), bool)
    mask[0, [0, 11]] = True
    expected = [0, 0.5, 1.5, 2.5, 3.5, 4.5, 4.5, 3.5, 2.5, 1.5, 0.5, 0]
    np.testing.assert_allclose(extravasation.vessel_distance(mask, 1.0)[0], expected)


@pytest.mark.parametrize("decay", [10.0, 20.0, 30.0])
def test_signal_that_decays_exponentially_reaches_its_decay_length(vessel, decay):
    mask, _ = vessel
    distance = extravasation.vessel_distance(mask, 1.0)
    found = reach(np.exp(-distance / decay), distance, limit_um=300.0)
    assert found == pytest.approx(decay, rel=0.03)


def test_signal_that_falls_along_a_line_reaches_a_third_of_its_range(vessel):
    # w(d) = 1 - d / 60 on 0..60: integral of d w over that of w = (60^2 / 6) / (60 / 2) = 20.
    mask, _ = vessel
    distance = extravasation.vessel_distance(mask, 1.0)
    found = reach(np.maximum(1 - distance / 60, 0), distance, bin_um=2.0, limit_um=120.0)
    assert found == pytest.approx(20.0, abs=0.2)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0.01, 100), offset=st.floats(-50, 50))
def test_offset_and_gain_of_the_camera_change_no_distance(scale, offset):
    mask, distance = straight_vessel(height=60)
    noise = np.random.default_rng(0).normal(0, 0.02, mask.shape)
    signal = np.exp(-distance / 15) + noise
    found = reach(scale * signal + offset, distance)
    assert found == pytest.approx(reach(signal, distance), rel=1e-6)


def test_distances_count_alike_however_much_tissue_is_that_far_away(vessel):
    mask, distance = vessel
    signal = np.exp(-distance / 20)
    half = np.ones(mask.shape, bool)
    half[:100, :300] = False  # a quarter of the far tissue is missing
    assert reach(signal, distance, inside=half) == pytest.approx(reach(signal, distance), rel=1e-6)


def test_a_profile_gives_mean_signal_and_distance_of_each_bin(vessel):
    _, distance = vessel
    profile = extravasation.extravasation_profile(
        3 * distance, distance, bin_um=10.0, limit_um=30.0
    )
    np.testing.assert_array_equal(profile.pixels, [2 * 10 * 200] * 3)  # both sides, 200 rows
    np.testing.assert_allclose(profile.distance_um, [5.0, 15.0, 25.0])
    np.testing.assert_allclose(profile.signal, [15.0, 45.0, 75.0])
    assert profile.background == pytest.approx(75.0)


def test_a_profile_ends_where_too_few_pixels_are_left(vessel):
    _, distance = vessel
    inside = distance < 42
    profile = extravasation.extravasation_profile(distance, distance, inside, 10.0, 100.0)
    assert len(profile.signal) == 5
    inside = inside & ((distance < 40) | (np.arange(200)[:, None] < 20))
    profile = extravasation.extravasation_profile(distance, distance, inside, 10.0, 100.0)
    assert len(profile.signal) == 4  # the fifth has 2 x 2 x 20 pixels


def test_vessels_are_bright_and_larger_than_a_speck():
    rng = np.random.default_rng(1)
    image = rng.normal(10, 1, (120, 160))
    image[:, 70:80] += 60
    image[20:24, 20:24] += 60  # 16 um2, below 30
    mask = extravasation.vessel_mask(image, 1.0)
    assert mask[:, 71:79].all()
    assert not mask[:, :66].any()
    assert not mask[:, 84:].any()
    assert extravasation.vessel_mask(image, 2.0)[20:24, 20:24].any()  # now 64 um2


def test_the_threshold_is_chosen_inside_only():
    image = np.random.default_rng(0).normal(0, 1, (40, 40))
    image[:, 20:] += 100.0
    image[10:20, 5:10] += 15.0
    assert extravasation.otsu_mask(image)[10:20, 5:10].mean() < 0.1
    left = np.zeros(image.shape, bool)
    left[:, :20] = True
    assert extravasation.otsu_mask(image, left)[10:20, 5:10].all()


def test_areas_are_counted_tile_by_tile_in_um2():
    mask = np.zeros((8, 8), bool)
    mask[:2, :2] = True
    mask[5, 5] = True
    np.testing.assert_allclose(extravasation.signal_areas(mask, 0.5, 2.0), [1.0, 0.0, 0.0, 0.25])


def test_tiles_that_mostly_do_not_count_are_left_out():
    mask, inside = np.ones((8, 8), bool), np.ones((8, 8), bool)
    inside[:, :2] = False  # half of the left tiles
    np.testing.assert_allclose(extravasation.signal_areas(mask, 1.0, 4.0, inside), [16.0, 16.0])


def test_tile_means_leave_out_what_fills_no_tile():
    np.testing.assert_allclose(
        extravasation.tile_means(np.arange(15).reshape(3, 5), 2), [[3.0, 5.0]]
    )  # (0 + 1 + 5 + 6) / 4 and (2 + 3 + 7 + 8) / 4


ONES = np.ones((30, 30))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: extravasation.vessel_mask(ONES, 1.0), "constant"),
        (lambda: extravasation.vessel_mask(ONES * np.nan, 1.0), "finite"),
        (lambda: extravasation.vessel_mask(ONES, 0.0), "pixel_um must be above 0, got 0.0"),
        (lambda: extravasation.otsu_mask(ONES[0]), r"shape \(30,\)"),
        (lambda: extravasation.otsu_mask(ONES, ONES[:5]), r"shape \(30, 30\), got \(5, 30\)"),
        (lambda: extravasation.vessel_distance(np.zeros((5, 5)), 1.0), "with a vessel"),
        (lambda: extravasation.extravasation_profile(ONES, ONES[:5]), "one shape"),
        (lambda: extravasation.extravasation_profile(ONES, ONES, bin_um=-1), "bin_um"),
        (lambda: extravasation.extravasation_profile(ONES, ONES), "two distances of 200 pixels"),
        (lambda: extravasation.signal_areas(ONES, 1.0, 0.0), "tile_um"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_flat_signal_has_no_distance(vessel):
    _, distance = vessel
    with pytest.raises(ValueError, match="flat"):
        reach(np.ones(distance.shape), distance)

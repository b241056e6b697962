"""Measures against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from particle_maps import measured, straight_vessel
from skimage.draw import disk

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.measures import MEASURES
from napari_damm.analysis.page import _parts
from napari_damm.analysis.particle_map import LabelImage
from napari_damm.analysis.profile import confinement, edge_ratio
from napari_damm.util.extravasation import (
    Profile,
    extravasation_distance,
    extravasation_profile,
    vessel_distance,
    vessel_mask,
)

L = 20.0
HALF = AnalyzeConfig(vessel_threshold=0.5)
"""Of a blurred step this finds the step itself; Otsu's threshold lies lower."""


@pytest.fixture(scope="module")
def straight():
    signal, vessels = straight_vessel(length_um=L)
    return measured({"particles": signal, "vessels": vessels}, config=HALF)[0]


def test_every_measure_has_its_row_in_the_order_of_the_contract(straight):
    assert [row.measure for row in straight.rows] == list(MEASURES)


def test_the_profile_of_an_exponential_is_its_mean_in_each_shell(straight):
    outside = [row for row in straight.profiles if row.distance_um > 0]
    for row in outside:
        near = 5.0 * np.floor(row.distance_um / 5.0)
        centres = near + 0.5 + np.arange(5)  # five rows of pixels in a shell
        # Distances run from pixel centres to the edge, half a pixel before: 0.5, 1.5 ...
        assert row.distance_um == pytest.approx(centres.mean())
        assert row.signal == pytest.approx(np.exp(-centres / L).mean(), rel=1e-5)
    assert outside[0].pixels == 2 * 5 * 700  # on both sides of the vessel
    inside = [row for row in straight.profiles if row.distance_um < 0]
    assert [row.signal for row in inside] == pytest.approx([1.0, 1.0])


def test_half_distance_of_an_exponential_is_its_length_times_ln_2(straight):
    assert straight.value("l50") == pytest.approx(L * np.log(2), rel=0.01)


def test_exposure_of_an_exponential_is_its_integral(straight):
    exact = L * (1 - np.exp(-100 / L))
    assert straight.value("auc_100") == pytest.approx(exact, rel=1e-3)


def test_extravasation_distance_is_that_of_evaluate():
    signal, vessels = straight_vessel(length_um=L)
    report, _ = measured({"particles": signal, "vessels": vessels})
    distance = vessel_distance(vessel_mask(vessels, 1.0), 1.0)
    profile = extravasation_profile(signal.astype(float), distance)
    expected = extravasation_distance(profile)
    assert report.value("extravasation_distance") == pytest.approx(expected, rel=1e-9)


def test_vessel_supply_of_a_straight_vessel(straight):
    assert straight.value("vessel_area") == pytest.approx(100 * 11 / 600)
    assert straight.value("vessel_density") == pytest.approx(1 / (600 * 700 * 1e-6))
    # At the picture's border the middle line may leave the middle.
    assert straight.value("vessel_diameter") == pytest.approx(11.0, abs=0.02)
    # Of 589 rows outside, the first 95 lie on both sides: half of them end 247 rows off.
    assert straight.value("tissue_distance") == pytest.approx((589 / 2) - 95, abs=0.5)


def test_extravasated_area_counts_bright_pixels_outside_vessels():
    signal, vessels = straight_vessel(length_um=L)
    report, _ = measured({"particles": signal, "vessels": vessels}, config=AnalyzeConfig(0.5, 0.5))
    # exp(-d / 20) > 0.5 for d < 13.86: the rows at 0.5 .. 13.5, on both sides.
    assert report.value("extravasated_area") == pytest.approx(100 * 28 / 600)


def test_tissue_access_reaches_from_positive_spots_beside_vessels():
    signal, vessels = straight_vessel(length_um=L)
    report, _ = measured({"particles": signal, "vessels": vessels}, config=AnalyzeConfig(0.5, 0.5))
    # Spots: the vessel and the rows at 0.5 .. 4.5 um. 50 um beyond the last row's edge, on both
    # sides: 11 + 2 * (5 + 50) rows; the vessel lies 95 rows from the upper border.
    assert report.value("tissue_access_50") == pytest.approx(100 * (11 + 2 * 55) / 600)
    assert report.value("tissue_access_100") == pytest.approx(100 * (11 + 95 + 105) / 600)


def test_spots_far_from_vessels_give_no_access():
    signal, vessels = straight_vessel(length_um=L)
    signal = np.where(np.arange(600)[:, None] > 400, 1.0, 0.0 * signal).astype(np.float32)
    report, _ = measured({"particles": signal, "vessels": vessels}, config=AnalyzeConfig(0.5, 0.5))
    assert report.value("tissue_access_100") == 0.0


def test_a_disc_has_its_area_diameter_and_distances():
    image = np.zeros((500, 500), np.float32)
    image[disk((250, 250), 30.5)] = 1
    truth = LabelImage(image.astype(np.int64))
    report, _ = measured({"particles": image + 1, "vessels": image}, vessel_labels=truth)
    assert report.value("vessel_area") == pytest.approx(100 * image.mean())
    assert report.value("vessel_area") == pytest.approx(100 * np.pi * 30.5**2 / 500**2, rel=0.01)
    assert report.value("vessel_density") == pytest.approx(1 / 0.25)
    innermost = min(row.distance_um for row in report.profiles)
    assert innermost == pytest.approx(-7.5, abs=0.6)  # the shell from -10 to -5 um


@pytest.mark.parametrize("pixel_um", [(2.0, 1.0), (1.0, 2.0), (0.5, 0.5)])
def test_lengths_are_physical_whatever_the_pixels(pixel_um):
    """One vessel 10 um wide across a field of 600 x 600 um, in oblong or small pixels."""
    height, width = (round(600 / side) for side in pixel_um)
    y = (np.arange(height)[:, None] + 0.5) * pixel_um[0]
    distance = np.maximum(np.maximum(100 - y, y - 110), 0)
    signal = np.broadcast_to(np.exp(-distance / L), (height, width)).astype(np.float32)
    labels = LabelImage(np.broadcast_to((distance == 0).astype(np.int64), (height, width)))
    report, _ = measured({"particles": signal}, pixel_um, vessel_labels=labels)
    assert report.value("l50") == pytest.approx(L * np.log(2), rel=0.02)
    # A shell of 5 um holds two or three rows of 2 um.
    assert report.value("auc_100") == pytest.approx(L * (1 - np.exp(-100 / L)), rel=0.03)
    assert report.value("vessel_area") == pytest.approx(100 * 10 / 600)
    assert report.value("vessel_density") == pytest.approx(1 / 0.36)
    # Where the middle line runs between two pixels, it is a pixel off.
    assert report.value("vessel_diameter") == pytest.approx(10.0, abs=2 * pixel_um[0])


def test_uniformity_of_a_checkerboard():
    board = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((32, 32))).astype(np.float32)
    report, _ = measured({"particles": board, "vessels": 0 * board})
    # Blocks of 0 and 1: mean 1/2, standard deviation 1/2; of two values 0 and 1, Gini 1/2.
    assert report.value("cv") == pytest.approx(1.0)
    assert report.value("gini") == pytest.approx(0.5)
    even, _ = measured({"particles": board * 0 + 3, "vessels": 0 * board})
    assert even.value("cv") == pytest.approx(0.0)
    assert even.value("gini") == pytest.approx(0.0)


def test_periphery_against_core_of_a_disc_of_tissue():
    tissue = np.zeros((400, 400), bool)
    tissue[disk((200, 200), 150)] = True
    y, x = np.indices(tissue.shape)
    depth = 150 - np.hypot(y - 200, x - 200)
    signal = np.where(depth < 30, 3.0, 1.0).astype(np.float32)  # the outer fifth is 3, the rest 1
    report, _ = measured({"particles": signal, "vessels": 0 * signal}, tissue=tissue)
    assert report.value("rim_core") == pytest.approx(3.0, rel=0.02)


def test_tissue_that_fills_the_picture_has_no_periphery(straight):
    assert straight.value("rim_core") is None
    reason = next(row.reason for row in straight.rows if row.measure == "rim_core")
    assert "shows no edge" in reason


def test_perfused_fraction_is_the_marked_share_of_vessel_area():
    signal, vessels = straight_vessel()
    marker = np.zeros_like(signal)
    marker[:, :210] = 9.0  # 30 % of the width
    report, _ = measured(
        {"particles": signal, "vessels": vessels, "perfusion": marker}, config=HALF
    )
    assert report.value("perfused_fraction") == pytest.approx(30.0)


def test_dose_of_drawn_nuclei_includes_a_rim_of_2_um():
    signal, vessels = straight_vessel()
    nuclei = np.zeros(signal.shape, np.int64)
    nuclei[300:307, 300:307], nuclei[400:403, 40:43] = 7, 12
    dose = np.zeros_like(signal)
    dose[298:309, 298:309] = 2.0
    report, _ = measured(
        {"particles": dose, "vessels": vessels},
        nucleus_labels=LabelImage(nuclei),
        config=AnalyzeConfig(particle_threshold=1.0),
    )
    # All of the first cell (7 px and 2 um around) is 2, all of the second 0.
    assert report.value("cell_dose") == pytest.approx(1.0)
    assert report.value("positive_cells") == pytest.approx(50.0)
    row = next(row for row in report.rows if row.measure == "cell_dose")
    assert (row.n, row.of) == (2, "cells")


def test_round_nuclei_are_found_and_counted():
    signal, vessels = straight_vessel()
    nuclei = np.zeros_like(signal)
    places = [(y, x) for y in range(30, 600, 60) for x in range(30, 700, 50)]
    for place in places:
        nuclei[disk(place, 4)] = 1.0
    report, _ = measured({"particles": signal, "vessels": vessels, "nuclei": nuclei})
    assert next(r.n for r in report.rows if r.measure == "cell_dose") == len(places)


@pytest.mark.parametrize("offset", [0.0, 50.0, -3.0])
@pytest.mark.parametrize(("inside", "told"), [(16.0, False), (24.0, True)])
def test_particles_that_stay_in_the_vessels_are_told_of(inside, told, offset):
    signal = np.array([90.0, inside, 10.0, 4.0, 0.0]) + offset
    profile = Profile(np.array([-7.0, -2.0, 2.0, 7.0, 12.0]), signal, np.full(5, 500))
    found = confinement(profile)
    assert found.startswith("the signal above the far field falls to less" if told else "")
    assert bool(found) == told


def test_a_signal_that_is_alike_everywhere_stays_nowhere():
    noise = np.array([100.3, 100.1, 100.2, 100.0])
    assert confinement(Profile(np.array([-2.0, 2.0, 7.0, 12.0]), noise, np.full(4, 500))) == ""


def test_a_signal_that_does_not_rise_outside_stays_in_the_vessels():
    signal = np.array([30.0, 10.0, 11.0, 15.0])  # as of bright things far from vessels
    whole = Profile(np.array([-2.0, 2.0, 7.0, 12.0]), signal, np.full(4, 500))
    assert edge_ratio(whole) == np.inf
    assert "15 far away" in confinement(whole)


def test_a_map_without_particles_stays_nowhere():
    dark = Profile(np.array([-2.0, 2.0]), np.zeros(2), np.full(2, 500))
    assert confinement(dark) == ""


def test_without_a_profile_inside_vessels_nothing_is_told():
    outside = Profile(np.array([2.0, 7.0]), np.array([1.0, 0.5]), np.full(2, 500))
    assert confinement(outside) == confinement(None) == ""


def test_where_particles_stay_in_the_vessels_no_distance_is_given():
    signal, vessels = straight_vessel(length_um=60.0)
    left = np.where(vessels > 0, 1.0, 0.3 * signal)  # autofluorescence, of a range of its own
    report, _ = measured({"particles": left, "vessels": vessels}, config=HALF)
    rows = {row.measure: row for row in report.rows}
    for measure in ("l50", "extravasation_distance"):
        assert rows[measure].value is None
        assert "it stays in them" in rows[measure].reason
    assert rows["auc_100"].value > 0
    assert len(report.profiles) > 10
    assert report.notes[0].startswith("arrays: the signal above the far field falls to")
    written = report.reasons_csv(), report.to_json(), "".join(_parts(report, []))
    assert all("it stays in them" in text for text in written)


def test_a_signal_that_does_not_fall_has_no_half_distance():
    signal, vessels = straight_vessel()
    report, _ = measured({"particles": 2 - signal, "vessels": vessels})
    row = next(row for row in report.rows if row.measure == "l50")
    assert row.value is None
    assert row.reason.startswith("not reached")


def test_a_profile_that_ends_early_has_no_exposure_and_says_where_it_ends():
    signal, vessels = straight_vessel(shape=(60, 700), rows=(20, 30))
    report, _ = measured({"particles": signal, "vessels": vessels}, config=HALF)
    row = next(row for row in report.rows if row.measure == "auc_100")
    assert row.value is None
    assert row.reason.startswith("the profile ends at 30 um")

"""Statistics of a window: what they measure, and that they stay finite."""

from __future__ import annotations

import numpy as np
import pytest
from trusting import section

from napari_damm.slide import normalise
from napari_damm.trust.statistics import (
    GROUPS,
    LAG_PX,
    NAMES,
    agreement,
    cross_correlogram,
    window_statistics,
)


def at(row: np.ndarray, name: str) -> float:
    return float(row[NAMES.index(name)])


def seen(image: np.ndarray) -> np.ndarray:
    return normalise(image, *(float(v) for v in np.percentile(image, (0.1, 99.9))))


def discs(diameter: float, seed: int = 0) -> np.ndarray:
    """Bright discs on black, none touching the next."""
    rng = np.random.default_rng(seed)
    image = np.full((256, 256), -1.0, np.float32)
    y, x = np.mgrid[:256, :256]
    for top in range(20, 250, 40):
        for left in range(20, 250, 40):
            cy, cx = top + rng.uniform(-5, 5), left + rng.uniform(-5, 5)
            image[np.hypot(y - cy, x - cx) < diameter / 2] = 1.0
    return image


def test_the_groups_cover_every_statistic_once():
    covered = sorted(k for part in GROUPS.values() for k in range(*part.indices(len(NAMES))))
    assert covered == list(range(len(NAMES)))
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("diameter", [6.0, 10.0, 16.0])
def test_the_width_is_that_of_discs(diameter):
    row = window_statistics(discs(diameter), discs(diameter))
    assert 2 ** at(row, "primary width") == pytest.approx(diameter, rel=0.2)


def test_an_image_that_shows_nothing_has_finite_statistics():
    blank = np.full((256, 256), -1.0, np.float32)
    for pair in ((blank, blank), (blank, discs(8)), (discs(8), blank)):
        assert np.isfinite(window_statistics(*pair)).all()


def test_windows_need_not_be_square():
    row = window_statistics(discs(8)[:120], discs(8)[:120])
    assert np.isfinite(row).all()


def test_an_image_correlates_with_itself_and_not_with_noise():
    noise = np.random.default_rng(0).uniform(-1, 1, (256, 256)).astype(np.float32)
    assert at(window_statistics(discs(8), discs(8)), "correlation") == pytest.approx(1, abs=1e-4)
    assert abs(at(window_statistics(discs(8), noise), "correlation")) < 0.1


def test_saturation_is_the_share_of_the_brightest():
    image = discs(16)
    row = window_statistics(image, image)
    inner = image[32:-32, 32:-32]  # which no other window has
    assert 10 ** at(row, "primary saturated") - 1e-3 == pytest.approx((inner == 1).mean(), abs=1e-3)


def test_squares_of_eight_pixels_are_found_wherever_they_begin():
    rng = np.random.default_rng(1)
    tiles = np.kron(rng.uniform(-0.5, 0.5, (40, 40)), np.ones((8, 8))).astype(np.float32)
    tiles += 0.05 * rng.standard_normal(tiles.shape).astype(np.float32)
    for offset in (0, 3):
        cut = tiles[offset : offset + 256, offset : offset + 256]
        assert at(window_statistics(cut, cut), "primary squares") > 1
    smooth = seen(section()[0])
    assert at(window_statistics(smooth, smooth), "primary squares") < 0.3


def test_stains_of_one_section_agree_until_one_is_moved():
    vessels, nuclei = (seen(image) for image in section())
    moved = np.roll(nuclei, 30, 0)
    assert agreement(cross_correlogram(vessels, nuclei)) > 2
    assert agreement(cross_correlogram(vessels, moved)) < 1
    fit = cross_correlogram(vessels, moved)
    assert agreement(np.roll(fit, -30 // LAG_PX, 0)) > 2  # it says by how much

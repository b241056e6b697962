"""A few pixels far off all others decide nothing."""

from __future__ import annotations

import numpy as np
import pytest
from particle_maps import measured
from scipy import ndimage

from napari_damm.analysis.config import AnalyzeConfig
from napari_damm.analysis.methods import methods_paragraph
from napari_damm.analysis.thresholds import OTSU, WITHOUT_FEW, histogram_of

SHAPE = (400, 500)
MEASURED = ("extravasated_area", "vessel_area", "tissue_access_50")


def images(hot=0):
    """Two vessels and what leaks from them, as a camera of 16 bits sees it."""
    rng = np.random.default_rng(0)
    vessels = np.zeros(SHAPE)
    vessels[:, 100:110] = vessels[:, 400:412] = 1
    near = np.exp(-ndimage.distance_transform_edt(vessels == 0) / 40)
    found = {
        "particles": 100 + 300 * near + rng.normal(0, 10, SHAPE),
        "vessels": 100 + 300 * vessels + rng.normal(0, 20, SHAPE),
    }
    found = {role: image.clip(0).astype(np.uint16) for role, image in found.items()}
    for k in range(hot):
        found["particles"][50 + 37 * k, 250] = found["vessels"][70 + 41 * k, 220] = 65535
    return found


@pytest.mark.parametrize("hot", [1, 5])
@pytest.mark.parametrize("tile_px", [128, 2048])
def test_hot_pixels_move_no_threshold(hot, tile_px):
    config = AnalyzeConfig(tile_px=tile_px)
    plain, disturbed = measured(images())[0], measured(images(hot), config=config)[0]
    for measure in MEASURED:
        assert disturbed.value(measure) == pytest.approx(plain.value(measure), rel=0.01)
    thresholds = disturbed.sections[0].thresholds
    assert {thresholds[role]["method"] for role in ("particles", "vessels")} == {WITHOUT_FEW}
    assert "hot ones, were left aside" in methods_paragraph(disturbed)
    assert "left aside" not in methods_paragraph(plain)


def test_dark_pixels_are_left_aside_too():
    image = images()["particles"].astype(np.float32)
    plain = histogram_of(image).threshold().value
    image[3, 3], image[5, 5] = 1e9, -1e7
    assert histogram_of(image).threshold().value == pytest.approx(plain, rel=0.01)


def test_the_few_stand_out_where_all_else_is_alike():
    image = np.full(SHAPE, 5.0)
    image[100:103, 300:303] = 900
    found = histogram_of(image).threshold()
    assert found.method == OTSU
    assert (image > found.value).sum() == 9
    assert histogram_of(np.full(SHAPE, 5.0)) is None


def test_bright_spots_that_are_more_than_a_few_count():
    image = images()["particles"].astype(float)
    image[::40, ::40] = 65535  # 130 pixels, 6 in 10,000
    assert histogram_of(image).threshold().method == OTSU

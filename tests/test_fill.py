"""Borders that hold no picture: no tissue, and no part of intensity limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_damm.engine.planning import plan
from napari_damm.slide import (
    check_finite,
    measure_normalisation,
    slide_from_arrays,
    tissue_mask,
)
from napari_damm.slide.fill import Fill, border_fill

SIDE, BORDER = 900, 260
INNER = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
CARD = {"pixel_size_um": 1.0}


def picture(seed):
    rng = np.random.default_rng(seed)
    blobs = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 4)
    return (
        400 + 2000 * np.clip(blobs / blobs.std(), 0, None) + rng.normal(0, 20, blobs.shape)
    ).astype(np.float32)


IMAGES = {"vessels": picture(0), "nuclei": picture(1)}


def framed(value, names=("vessels", "nuclei")):
    images = {}
    for name, image in IMAGES.items():
        images[name] = image.copy()
        if name in names:
            images[name][...] = value
            images[name][INNER] = image[INNER]
    return slide_from_arrays(images, 1.0)


def cropped():
    return slide_from_arrays({name: image[INNER] for name, image in IMAGES.items()}, 1.0)


@pytest.mark.parametrize("value", [0.0, -9999.0, 255.0, np.nan])
def test_a_filled_border_changes_no_intensity_limit_and_is_background(value):
    framed_plan, alone = plan(framed(value), CARD), plan(cropped(), CARD)
    for role in ("vessels", "nuclei"):
        got, expected = getattr(framed_plan.normalisation, role), getattr(alone.normalisation, role)
        span = expected[1] - expected[0]
        np.testing.assert_allclose(got, expected, atol=0.03 * span)
    assert framed_plan.background_windows > 0
    boxes = [framed_plan.lattice.window_box(*w) for w in framed_plan.windows]
    assert all(b.y1 > BORDER and b.x1 > BORDER for b in boxes)


def test_a_border_of_the_nuclei_alone_keeps_the_tissue_and_their_limits():
    got, alone = plan(framed(0.0, ("nuclei",)), CARD), plan(cropped(), CARD)
    assert got.background_windows == 0
    np.testing.assert_allclose(got.normalisation.nuclei, alone.normalisation.nuclei, rtol=0.03)


def test_without_a_border_nothing_is_fill():
    slide = slide_from_arrays(IMAGES, 1.0)
    assert slide.vessels.fill == Fill()
    assert slide.nuclei.fill == Fill()


def test_the_same_value_inside_the_picture_stays_tissue():
    slide = framed(0.0)
    slide.vessels.planes[0][400:500, 400:500] = 0.0
    boxes = [plan(slide, CARD).lattice.window_box(*w) for w in plan(slide, CARD).windows]
    assert any(b.y0 <= 400 and b.y1 >= 500 and b.x0 <= 400 and b.x1 >= 500 for b in boxes)


def test_nan_inside_the_picture_is_still_refused():
    slide = framed(np.nan)
    check_finite(slide)
    slide.vessels.planes[0][450, 460] = np.nan
    with pytest.raises(ValueError, match="inside the picture, the first at y 450, x 460"):
        check_finite(slide)


def test_a_few_equal_pixels_on_the_edge_are_no_fill():
    image = IMAGES["vessels"].copy()
    image[0, 100:120] = 7.0
    assert border_fill([image]) == Fill()
    image[0, 100:140] = 7.0
    assert border_fill([image]).values == (7.0,)


def test_single_pixels_of_the_fill_s_value_in_tissue_are_part_of_the_limits():
    fill, rng = Fill((2.0,)), np.random.default_rng(0)
    pixels = rng.integers(0, 8, (64, 64)).astype(np.float32)  # as lossy compression leaves tissue
    assert not fill.solid(pixels, (False,) * 4).any()
    pixels[20:30, 20:30] = 2.0
    found = fill.solid(pixels, (False,) * 4)
    assert found[18:32, 18:32].all()
    assert found.sum() < 16 * 16
    pixels[0] = 2.0
    assert fill.solid(pixels, (True, False, False, False))[:3].all()


@pytest.mark.parametrize("fill", [0.0, 255.0, -9999.0, 65535.0])
@pytest.mark.parametrize("model_um", [1.0, 1.37, 3.0])
def test_a_border_moves_no_limit_and_deletes_no_tissue_at_any_resolution(fill, model_um):
    bare = slide_from_arrays(IMAGES, 1.0)
    around = ((0, 100), (BORDER, 0))
    images = {n: np.pad(i, around, constant_values=fill) for n, i in IMAGES.items()}
    slide = slide_from_arrays(images, 1.0)
    mask, cell_px = tissue_mask(slide, model_um)
    inside = mask[: int(SIDE / model_um) // cell_px, -int(SIDE / model_um) // cell_px + 1 :]
    assert inside.all()
    expected = measure_normalisation(bare, *tissue_mask(bare, model_um), model_um)
    found = measure_normalisation(slide, mask, cell_px, model_um)
    assert found.vessels == pytest.approx(expected.vessels, rel=0.03)
    assert found.nuclei == pytest.approx(expected.nuclei, rel=0.03)


def test_glass_beside_a_border_is_still_told_from_tissue():
    rng = np.random.default_rng(3)
    images = {}
    for name, image in IMAGES.items():
        glass = rng.normal(100, 5, (1600, 1600)).astype(np.float32)
        glass[:SIDE, :SIDE] += image
        images[name] = np.pad(glass, ((0, 320), (0, 320)), constant_values=65535.0)
    mask, cell_px = tissue_mask(slide_from_arrays(images, 1.0), 1.0)
    assert mask[: SIDE // cell_px, : SIDE // cell_px].all()
    assert mask.mean() < 0.45  # the section is 0.22 of it

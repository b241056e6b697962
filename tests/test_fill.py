"""Borders that hold no picture: no tissue, and no part of intensity limits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_damm.engine.planning import plan
from napari_damm.slide import check_finite, slide_from_arrays
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

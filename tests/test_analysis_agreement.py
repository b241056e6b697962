"""Agreement of a predicted with an imaged map: by formulas written here, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from napari_damm.analysis.agreement import BLOCK_PX, compare_maps
from napari_damm.analysis.sources import array_map

SHAPE = (330, 410)  # no multiple of a block
NUMBERS = ("r", "ssim", "psnr", "r2", "icc", "bias", "low", "high")


def smooth(seed):
    """Lumps of 0..1."""
    noise = np.random.default_rng(seed).random(SHAPE)
    lumps = ndimage.gaussian_filter(noise, 6)
    return (lumps - lumps.min()) / np.ptp(lumps)


@pytest.fixture(scope="module")
def pair():
    """An imaged map in a camera's units, a predicted one, and tissue with a ragged border."""
    imaged = 300 + 4000 * smooth(1)
    predicted = 0.15 + 0.6 * smooth(1) + 0.2 * smooth(2)
    return imaged.astype(np.float32), predicted.astype(np.float32), smooth(3) > 0.3


def compared(imaged, predicted, tissue=None):
    images = {"particles": predicted, "imaged": imaged}
    return compare_maps(array_map(images, 1.0, tissue))


def by_hand(imaged, predicted, tissue):
    """The same numbers by numpy and scipy alone."""
    low, high = np.percentile(imaged[tissue].astype(float), [0.1, 99.9])
    x = np.clip((imaged.astype(float) - low) / (high - low), 0, 1)
    y = predicted.astype(float)
    error, total = x[tissue] - y[tissue], x[tissue] - x[tissue].mean()
    blocks = block_means(x, y, tissue)
    gaps = blocks[:, 1] - blocks[:, 0]
    half = 1.96 * np.sqrt(((gaps - gaps.mean()) ** 2).sum() / (len(gaps) - 1))
    return {
        "r": stats.pearsonr(x[tissue], y[tissue]).statistic,
        "ssim": wang_2004(x, y, tissue),
        "psnr": -10 * np.log10((error**2).mean()),
        "r2": 1 - (error**2).sum() / (total**2).sum(),
        "icc": icc_by_f(blocks),
        "bias": gaps.mean(),
        "low": gaps.mean() - half,
        "high": gaps.mean() + half,
    }


def block_means(x, y, tissue):
    found = []
    for top in range(0, SHAPE[0] - BLOCK_PX + 1, BLOCK_PX):
        for left in range(0, SHAPE[1] - BLOCK_PX + 1, BLOCK_PX):
            here = np.s_[top : top + BLOCK_PX, left : left + BLOCK_PX]
            inside = tissue[here]
            if inside.mean() > 0.5:
                found.append((x[here][inside].mean(), y[here][inside].mean()))
    return np.array(found)


def icc_by_f(ratings):
    """ICC(3,1) = (F - 1) / (F + k - 1), F of subjects in a two-way analysis of variance."""
    n, k = ratings.shape
    grand = ratings.mean()
    between = k * ((ratings.mean(1) - grand) ** 2).sum()
    raters = n * ((ratings.mean(0) - grand) ** 2).sum()
    residual = ((ratings - grand) ** 2).sum() - between - raters
    f = (between / (n - 1)) / (residual / ((n - 1) * (k - 1)))
    return (f - 1) / (f + k - 1)


def wang_2004(x, y, tissue):
    """Equation 13 with an 11 px Gaussian window of 1.5 px, where it overhangs nothing."""

    def mean(image):
        return ndimage.gaussian_filter(image, 1.5, truncate=5 / 1.5)

    c1, c2 = 0.01**2, 0.03**2
    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    values = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    inside = np.s_[5:-5, 5:-5]
    return values[inside][tissue[inside]].mean()


def test_every_number_is_that_of_its_formula(pair):
    found, expected = compared(*pair), by_hand(*pair)
    for name in NUMBERS:
        assert getattr(found, name) == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name
    assert found.pixels == pair[2].sum()
    assert len(found.blocks) == len(block_means(*pair)) > 10
    assert found.low < found.bias < found.high


def test_limits_of_agreement_hold_19_of_20_blocks_of_normal_differences():
    rng = np.random.default_rng(4)
    shape = (40 * BLOCK_PX, 25 * BLOCK_PX)
    imaged = np.tile(np.linspace(0, 1, BLOCK_PX), (shape[0], 25))
    off = np.kron(rng.normal(0.1, 0.05, (40, 25)), np.ones((BLOCK_PX, BLOCK_PX)))
    found = compared(imaged, imaged + off)
    gaps = found.blocks[:, 1] - found.blocks[:, 0]
    assert ((gaps >= found.low) & (gaps <= found.high)).mean() == pytest.approx(0.95, abs=0.02)
    assert found.bias == pytest.approx(0.1, abs=0.005)
    assert found.high - found.bias == pytest.approx(1.96 * 0.05, rel=0.05)


@pytest.fixture(scope="module")
def truth():
    """A map that its percentiles scale to itself: two of 1000 pixels or more at either end."""
    image = smooth(5)
    image[:4], image[-4:] = 0.0, 1.0
    return image


def test_equal_maps_agree_wholly(truth):
    found = compared(2000 * truth + 100, truth)
    for name, value in {
        "r": 1,
        "ssim": 1,
        "r2": 1,
        "icc": 1,
        "bias": 0,
        "low": 0,
        "high": 0,
    }.items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-4), name
    assert found.psnr is None or found.psnr > 100


def test_an_offset_is_a_bias_and_20_db_and_no_loss_of_consistency(truth):
    found = compared(truth, truth + 0.1)
    assert (found.bias, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1), abs=1e-4)
    assert found.psnr == pytest.approx(20.0, abs=0.01)
    assert found.r2 == pytest.approx(1 - 0.01 / truth.var(), abs=1e-3)
    assert (found.r, found.icc) == pytest.approx((1.0, 1.0), abs=1e-4)


def test_a_reversed_map_is_as_far_off_as_can_be(truth):
    found = compared(truth, 1 - truth)
    assert found.r == pytest.approx(-1.0, abs=1e-4)
    assert found.icc == pytest.approx(-1.0, abs=1e-4)  # no variance between blocks at all
    assert found.ssim < 0


def test_the_difference_is_predicted_minus_imaged_and_nothing_off_tissue(pair):
    imaged, predicted, tissue = pair
    found = compared(imaged, predicted, tissue)
    low, high = found.scaled_by
    expected = predicted - np.clip((imaged - low) / (high - low), 0, 1)
    np.testing.assert_allclose(found.difference[tissue], expected[tissue], atol=1e-5)
    assert np.isnan(found.difference[~tissue]).all()

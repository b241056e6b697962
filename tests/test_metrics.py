"""Measures of agreement against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_damm.util import metrics

A = np.array([[0.0, 0.5], [1.0, 0.5]])
B = np.array([[0.1, 0.5], [0.9, 0.7]])


def test_mse_is_the_mean_of_squared_differences() -> None:
    assert metrics.mse(A, B) == pytest.approx((0.01 + 0 + 0.01 + 0.04) / 4)


def test_psnr_is_ten_log_ten_of_peak_squared_over_mse() -> None:
    assert metrics.psnr([0.0, 0.0], [0.1, 0.1]) == pytest.approx(20.0)
    assert metrics.psnr([0.0, 0.0], [10.0, 10.0], data_range=100.0) == pytest.approx(20.0)
    assert metrics.psnr(A, A) == float("inf")


def test_r2_is_one_less_the_unexplained_share() -> None:
    # Residuals 0, 0, 1 and total 1 + 0 + 1 about the mean 2.
    assert metrics.r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]) == pytest.approx(0.5)
    assert metrics.r2(A, np.full_like(A, A.mean())) == pytest.approx(0.0)


def test_pearson_r_by_hand() -> None:
    # Deviations (-1, 0, 1) and (-1/3, -4/3, 5/3): 2 / sqrt(2 * 14/3).
    assert metrics.pearson_r([1.0, 2.0, 3.0], [2.0, 1.0, 4.0]) == pytest.approx(0.6546537)
    assert metrics.pearson_r([1.0, 2.0], [5.0, 5.0]) == 0.0


def test_pearson_r_ignores_scale_and_offset() -> None:
    assert metrics.pearson_r(A, 3.0 * A + 7.0) == pytest.approx(1.0)
    assert metrics.pearson_r(A, -A) == pytest.approx(-1.0)


def test_ssim_of_two_flat_images_is_the_luminance_term() -> None:
    flat = np.ones((16, 16))
    c1 = 0.01**2
    expected = (2 * 0.5 * 0.6 + c1) / (0.25 + 0.36 + c1)
    assert metrics.ssim(0.5 * flat, 0.6 * flat) == pytest.approx(expected)
    assert metrics.ssim(0.5 * flat, 0.5 * flat) == pytest.approx(1.0)


def test_ssim_agrees_with_scikit_image_over_several_bands() -> None:
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(0)
    truth = rng.random((1100, 40))
    prediction = truth + rng.normal(0, 0.1, truth.shape)
    expected = structural_similarity(
        truth, prediction, data_range=1.0, gaussian_weights=True, use_sample_covariance=False
    )
    assert metrics.ssim(truth, prediction) == pytest.approx(expected, abs=1e-12)
    assert metrics.ssim_map(truth, prediction).shape == (1090, 30)


def test_ssim_of_a_mask_counts_its_pixels_only() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((40, 60))
    prediction = truth.copy()
    prediction[:, 30:] = rng.random((40, 30))
    left = np.zeros(truth.shape, bool)
    left[:, :25] = True  # five pixels short of the change: windows see none of it
    assert metrics.ssim(truth, prediction, mask=left) == pytest.approx(1.0)
    assert metrics.ssim(truth, prediction, mask=~left) < 0.5
    everywhere = np.ones(truth.shape, bool)
    assert metrics.ssim(truth, prediction, mask=everywhere) == metrics.ssim(truth, prediction)


def test_std_ratio_is_spread_over_spread() -> None:
    assert metrics.std_ratio([0.0, 2.0], [5.0, 6.0]) == pytest.approx(0.5)


def test_bootstrap_interval_of_two_values_is_theirs() -> None:
    # Of four draws of two, one in four is twice the low value and one in four twice the high one.
    assert metrics.bootstrap_interval([1.0, 3.0]) == (1.0, 3.0)


def test_bootstrap_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)
    low, high = metrics.bootstrap_interval(values, seed=1)
    error = values.std() / 20  # of the mean of 400
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
    assert metrics.bootstrap_interval(values, seed=1) == (low, high)
    assert metrics.bootstrap_interval(values, seed=2) != (low, high)


def test_one_value_has_no_interval() -> None:
    assert metrics.bootstrap_interval([1.0]) is None
    assert metrics.bootstrap_interval([]) is None


def test_icc31_reproduces_shrout_and_fleiss_1979() -> None:
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert metrics.icc31(ratings) == pytest.approx(0.7148, abs=5e-5)


def test_icc31_forgives_a_constant_offset() -> None:
    assert metrics.icc31([[1, 6], [2, 7], [4, 9]]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.mse([1.0], [1.0, 2.0]), r"one shape, got \(1,\) and \(2,\)"),
        (lambda: metrics.mse([np.nan], [1.0]), "finite"),
        (lambda: metrics.psnr(A, B, data_range=0.0), "got 0.0"),
        (lambda: metrics.r2([2.0, 2.0], [1.0, 2.0]), "constant"),
        (lambda: metrics.ssim(A, B), "11 px"),
        (lambda: metrics.ssim(np.ones((20, 20)), np.ones((20, 21))), "one shape"),
        (lambda: metrics.ssim(np.ones((20, 20)), np.ones((20, 20)), mask=A), r"got \(2, 2\)"),
        (
            lambda: metrics.ssim(np.ones((20, 20)), np.ones((20, 20)), mask=np.zeros((20, 20))),
            "leaves no pixel",
        ),
        (lambda: metrics.std_ratio([2.0, 2.0], [1.0, 2.0]), "constant"),
        (lambda: metrics.bootstrap_interval([1.0, np.nan]), "finite"),
        (lambda: metrics.icc31([[1, 2]]), r"got shape \(1, 2\)"),
        (lambda: metrics.icc31([[1, np.nan], [1, 2]]), "finite"),
        (lambda: metrics.icc31([[1, 1], [1, 1]]), "differ"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()

"""The measures of benchmarks against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from section_metrics import affine_fit, auroc, best_blur, paired_difference


def test_paired_difference_cancels_what_sections_have_in_common() -> None:
    hard = np.array([10.0, 20.0, 30.0])
    mean, interval = paired_difference(hard + np.array([1.0, 2.0, 3.0]), hard)
    assert mean == pytest.approx(2.0)
    assert interval is not None
    assert 1.0 <= interval[0] < 2.0 < interval[1] <= 3.0
    assert paired_difference([3.0], [1.0]) == (2.0, None)


def test_affine_fit_by_hand() -> None:
    # Deviations (-1, 0, 1) of the prediction and (-1, -1, 2) of the truth: slope 3 / 2.
    assert affine_fit([1.0, 1.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx((1.5, -1.0))
    assert affine_fit([1.0, 1.0, 4.0], [7.0, 7.0, 7.0]) == pytest.approx((0.0, 2.0))


def test_auroc_counts_ordered_pairs_and_half_the_ties() -> None:
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == pytest.approx(0.75)
    assert auroc([0, 1], [0.5, 0.5]) == pytest.approx(0.5)


def test_best_blur_finds_the_width_that_made_the_truth() -> None:
    vessels = np.random.default_rng(0).random((64, 64))
    from scipy.ndimage import gaussian_filter

    sigma, r = best_blur(vessels, gaussian_filter(vessels, 4.0), sigmas=(0, 2, 4, 8))
    assert sigma == 4.0
    assert r == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: paired_difference([1.0], [1.0, 2.0]), "one shape"),
        (lambda: affine_fit([1.0], [np.inf]), "finite"),
        (lambda: auroc([1, 1], [0.1, 0.2]), "both classes"),
        (lambda: auroc([1, 0], [0.1]), "one shape"),
        (lambda: auroc([1, 0], [0.1, np.inf]), "finite"),
        (lambda: best_blur([[1.0]], [[1.0]], sigmas=[]), "sigmas"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()

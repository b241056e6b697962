"""Calibration against numbers worked out by hand."""

from __future__ import annotations

import calibration
import numpy as np
import pytest

Z = 1.6448536  # of the normal distribution: 5 % lie above


def test_normal_width_is_the_textbooks() -> None:
    assert calibration.normal_width(0.9) == pytest.approx(Z)
    assert calibration.normal_width(0.6826895) == pytest.approx(1.0)


def test_coverage_counts_errors_within_z_times_std() -> None:
    error, std = [-1.6, 1.7, 3.2, 0.0], [1.0, 1.0, 2.0, 0.0]
    assert calibration.coverage(error, std) == pytest.approx(3 / 4)
    assert calibration.coverage(error, std, factor=2.0) == 1.0
    assert calibration.coverage(error, std, factor=0.5) == pytest.approx(1 / 4)


def test_the_factor_is_the_smallest_that_covers_the_nominal_share() -> None:
    error = np.arange(1.0, 11.0)
    factor = calibration.spread_factor(error, np.full(10, 2.0))
    assert factor == pytest.approx(9 / (2 * Z))  # nine of ten errors are 9 or less
    assert calibration.coverage(error, np.full(10, 2.0), factor=factor * 1.0001) == 0.9
    assert calibration.coverage(error, np.full(10, 2.0), factor=factor * 0.9999) == 0.8


def test_the_factor_of_normal_errors_is_how_far_their_spread_is_off() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 2.0, 100_000)
    error = 3.0 * std * rng.normal(size=std.size)
    assert calibration.spread_factor(error, std) == pytest.approx(3.0, rel=0.02)
    curve = calibration.calibration_curve(error, std, [0.1, 0.5, 0.95], factor=3.0)
    assert curve == pytest.approx([0.1, 0.5, 0.95], abs=0.01)


def test_no_factor_repairs_a_spread_of_zero() -> None:
    assert calibration.spread_factor([1.0, 1.0], [0.0, 0.0]) == float("inf")
    assert calibration.spread_factor([0.0, 0.0], [0.0, 0.0]) == 0.0


def test_rank_correlation_by_hand() -> None:
    # Ranks (1, 2, 3, 4) and (2, 1, 4, 3): 1 - 6 x 4 / (4 x 15).
    assert calibration.rank_correlation([1, 2, 5, 9], [0.2, 0.1, 8, 7]) == pytest.approx(0.6)
    assert calibration.rank_correlation([1, 2, 3], [1, 8, 27]) == pytest.approx(1.0)
    # Ties share a rank: (1.5, 1.5, 3) and (1, 2, 3) correlate with 1.5 / sqrt(1.5 x 2).
    assert calibration.rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(0.8660254)
    assert calibration.rank_correlation([1, 1], [1, 2]) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration.coverage([1.0], [1.0, 2.0]), r"got \(1,\) and \(2,\)"),
        (lambda: calibration.coverage([], []), "got none"),
        (lambda: calibration.coverage([np.nan], [1.0]), "finite"),
        (lambda: calibration.coverage([1.0], [-1.0]), "got -1.0"),
        (lambda: calibration.coverage([1.0], [1.0], factor=-2.0), "got -2.0"),
        (lambda: calibration.coverage([1.0], [1.0], nominal=1.0), "between 0 and 1, got 1.0"),
        (lambda: calibration.spread_factor([1.0], [1.0], nominal=0.0), "got 0.0"),
        (lambda: calibration.rank_correlation([1.0], [1.0, 2.0]), "one shape"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(call, message) -> None:
    with pytest.raises(ValueError, match=message):
        call()

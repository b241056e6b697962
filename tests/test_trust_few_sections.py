"""Intervals of few sections: as wide as another section may need them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from napari_damm.trust.few_sections import COUNTS_AS, SPREAD, factor_of_few
from napari_damm.trust.intervals import FEWEST, Intervals
from napari_damm.trust.widths import LEVEL


def errors(count, spread, seed, pixels=2000):
    """Errors of sections in half widths: normal, in each times another factor."""
    rng = np.random.default_rng(seed)
    factors = np.exp(spread * rng.standard_normal((count, 1)))
    return list(np.abs(factors * rng.standard_normal((count, pixels)) / stats.norm.ppf(0.95)))


@pytest.mark.parametrize("count", [1, 2, 4, 12])
@pytest.mark.parametrize("spread", [0.1, 0.2, 0.3])
def test_nine_in_ten_pixels_of_other_sections_lie_inside_on_average(count, spread):
    held, alone = [], []
    for seed in range(60):
        *known, other = errors(count + 1, spread, seed)
        held.append(np.mean(other <= factor_of_few(known)))
        alone.append(np.mean(other <= np.quantile(np.concatenate(known), LEVEL)))
    assert np.mean(held) == pytest.approx(LEVEL, abs=0.045)
    if spread == 0.3 and count < 4:
        assert np.mean(alone) < np.mean(held) - 0.01


def test_of_one_section_nobody_has_seen_how_far_others_differ():
    """The mean over Student's t, computed by drawing from it."""
    (one,) = errors(1, 0.0, 1)
    factor = factor_of_few([one])
    needed = np.quantile(one, LEVEL)
    t = stats.t.rvs(COUNTS_AS, size=20_000, random_state=np.random.default_rng(0))
    others = needed * np.exp(SPREAD * np.sqrt(2) * t)
    relative = np.sort(one / needed)
    held = np.searchsorted(relative, factor / others, side="right") / relative.size
    assert held.mean() == pytest.approx(LEVEL, abs=0.005)


def test_sections_that_differ_widen_it_more_than_such_as_are_alike():
    same = errors(3, 0.0, 0)
    apart = [times * each for times, each in zip((0.5, 1, 2), same, strict=True)]
    assert 1.0 < factor_of_few(same) < 1.1
    assert factor_of_few(apart) > 1.3


def test_the_fewer_sections_the_wider():
    factors = [factor_of_few(errors(count, 0.0, 0)) for count in (1, 2, 4, 12)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] > 1.1


def test_sections_without_an_error_have_a_factor():
    assert 0 < factor_of_few([np.zeros(10)]) < 1e-6


def test_windows_say_of_which_section_they_are():
    rng = np.random.default_rng(0)
    pairs = []
    for k in range(FEWEST):
        predicted = rng.random((32, 32))
        sd = 0.05 if k < FEWEST // 2 else 0.2
        pairs.append((predicted, predicted + sd * rng.standard_normal((32, 32))))
    plain = Intervals.fit(pairs, "windows", "image as taken", "")
    of_one, of_two = (
        Intervals.fit(pairs, "windows", "image as taken", "", of)
        for of in ([0] * FEWEST, [k // (FEWEST // 2) for k in range(FEWEST)])
    )
    assert of_one.widths == of_two.widths == plain.widths
    assert of_one.factor > 1.05 * plain.factor
    assert of_two.factor != of_one.factor

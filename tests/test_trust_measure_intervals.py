"""Intervals of measures: what nine in ten sections are off by, and what that hangs on."""

from __future__ import annotations

import numpy as np
import pytest

from napari_damm.trust.measure_intervals import (
    DIFFERENCE,
    RATIO,
    MeasureInterval,
    fit_factor,
    fit_measure,
)
from napari_damm.trust.widths import LEVEL


@pytest.mark.parametrize(("kind", "same"), [(RATIO, 1.0), (DIFFERENCE, 0.0)])
@pytest.mark.parametrize("biased", [0.5, 2.0])
def test_a_predicted_measure_lies_in_its_own_interval_however_biased_it_is(kind, same, biased):
    predicted = np.linspace(1, 2, 40)
    found = fit_measure(biased * predicted, predicted, kind)
    (least,), (most,) = found.low, found.high
    assert least <= same <= most
    assert min(most - same, same - least) == 0
    low, high = found.around(1.5)
    assert low <= 1.5 <= high


@pytest.mark.parametrize("kind", [RATIO, DIFFERENCE])
def test_a_measure_of_nine_in_ten_new_sections_lies_inside(kind):
    rng = np.random.default_rng(0)

    def drawn(count):
        predicted = rng.uniform(10, 40, count)
        if kind == RATIO:
            return predicted, predicted * np.exp(0.2 * rng.standard_normal(count))
        return predicted, predicted + 3 * rng.standard_normal(count)

    predicted, true = drawn(60)
    found = fit_measure(true, predicted, kind)
    predicted, true = drawn(2000)
    low, high = found.around(predicted)
    assert np.mean((low <= true) & (true <= high)) == pytest.approx(LEVEL, abs=0.06)


def test_too_few_sections_give_a_measure_no_interval():
    assert fit_measure(np.ones(19), np.ones(19), DIFFERENCE) is None
    missing = np.r_[np.ones(19), np.nan]
    assert fit_measure(missing, np.ones(20), DIFFERENCE) is None


@pytest.mark.parametrize("kind", [RATIO, DIFFERENCE])
def test_limits_follow_a_measure_that_tells_how_far_sections_are_off(kind):
    rng = np.random.default_rng(0)

    def drawn(count):
        predicted, other = rng.uniform(10, 40, count), rng.uniform(0, 1, count)
        off = other * rng.standard_normal(count)
        return predicted, other, predicted * np.exp(0.1 * off) if kind == RATIO else predicted + off

    predicted, other, true = drawn(600)
    found = fit_measure(true, predicted, kind, by=("gini", other))
    same = fit_measure(true, predicted, kind)
    assert (found.by, len(found.at), found.count) == ("gini", 3, 600)
    predicted, other, true = drawn(3000)
    shares = {}
    for interval in (found, same):
        low, high = interval.around(predicted, other)
        inside = (low <= true) & (true <= high)
        shares[interval.by] = [np.mean(inside[part]) for part in (other < 0.5, other >= 0.5)]
    assert shares["gini"] == pytest.approx([LEVEL, LEVEL], abs=0.04)
    assert shares[""][0] > 0.97 > 0.86 > shares[""][1]


@pytest.mark.parametrize("other", [np.ones(90), np.r_[np.zeros(60), np.ones(30)]])
def test_what_hardly_differs_parts_no_sections(other):
    found = fit_measure(np.ones(90), np.ones(90), RATIO, by=("gini", other))
    assert (found.by, found.at) == ("", (float(np.median(other)),))


def test_few_sections_are_parted_into_fewer():
    rng = np.random.default_rng(0)
    for count, parts in ((39, 1), (45, 2), (65, 3)):
        true, predicted, other = rng.uniform(1, 2, (3, count))
        assert len(fit_measure(true, predicted, RATIO, by=("gini", other)).at) == parts


def test_a_section_without_the_other_measure_parts_nothing():
    other = np.r_[np.linspace(0, 1, 60), np.nan]
    found = fit_measure(np.ones(61), np.ones(61), RATIO, by=("gini", other))
    assert found.count == 60


def test_cards_of_models_made_earlier_have_one_limit():
    values = {"low": 0.8, "high": 1.3, "kind": RATIO, "count": 40}
    assert MeasureInterval.from_json(values) == MeasureInterval((0.8,), (1.3,), RATIO, 40)


def test_limits_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="low must be at most high"):
        MeasureInterval.from_json({"low": 1.3, "high": 0.8, "kind": RATIO, "count": 40})


def test_the_spread_of_samples_is_widened_until_nine_tenths_of_sections_lie_within():
    off = np.arange(1.0, 21.0)  # of 20 sections the ceil(21 * 0.9) = 19th smallest
    assert fit_factor(off[::-1]) == 19.0
    assert fit_factor([*off, np.nan]) == 19.0
    assert fit_factor(off[:19]) is None

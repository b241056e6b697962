"""Intervals of an expected map: they hold on new sections of the same kind, and cross a card."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models import CARD

from napari_damm.trust.intervals import (
    DIFFERENCE,
    FEWEST,
    KEY,
    RATIO,
    Intervals,
    MeasureInterval,
    fit_factor,
    fit_measure,
)
from napari_damm.trust.score_rules import interval_score, normal_crps
from napari_damm.trust.widths import LEVEL, NORMAL_90, Widths

SIDE = 64


def sections(count, seed=0, wider=0.15):
    """Maps whose error spreads with the intensity, in each section by another factor."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        predicted = rng.random((SIDE, SIDE), np.float32)
        sd = (0.02 + 0.2 * predicted) * np.exp(wider * rng.standard_normal())
        yield predicted, predicted + (sd * rng.standard_normal((SIDE, SIDE))).astype(np.float32)


def fitted(count=40, **more):
    return Intervals.fit(list(sections(count, **more)), "sections", "noise-free field", "drawn")


def covered(intervals, pairs):
    return [np.mean(np.abs(t - p) <= intervals.half_width(p)) for p, t in pairs]


@pytest.mark.parametrize(("kind", "same"), [(RATIO, 1.0), (DIFFERENCE, 0.0)])
@pytest.mark.parametrize("biased", [0.5, 2.0])
def test_a_predicted_measure_lies_in_its_own_interval_however_biased_it_is(kind, same, biased):
    predicted = np.linspace(1, 2, 40)
    found = fit_measure(biased * predicted, predicted, kind)
    assert found.low <= same <= found.high
    assert min(found.high - same, same - found.low) == 0
    low, high = found.around(1.5)
    assert low <= 1.5 <= high


def test_they_cover_nine_of_ten_of_sections_that_they_never_saw():
    assert np.mean(covered(fitted(), sections(60, seed=1))) == pytest.approx(LEVEL, abs=0.04)


def test_they_are_narrower_where_errors_are_smaller():
    intervals = fitted()
    assert intervals.half_width(0.1) < 0.6 * intervals.half_width(0.5)
    np.testing.assert_allclose(
        intervals.half_width([0.05, 0.5]) / NORMAL_90, [0.03, 0.12], rtol=0.35
    )


def test_they_follow_errors_of_any_shape():
    """Of a map that is surest in the middle, and of one that is less sure the brighter it is."""
    rng = np.random.default_rng(0)
    for sd in (lambda x: 0.02 + 0.3 * np.abs(x - 0.5), lambda x: 0.01 + 0.3 * x**3):
        maps = [rng.random((SIDE, SIDE)) for _ in range(2 * FEWEST)]
        pairs = [(p, p + sd(p) * rng.standard_normal(p.shape)) for p in maps]
        found = Intervals.fit(pairs, "sections", "noise-free field", "")
        at = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
        np.testing.assert_allclose(found.half_width(at) / NORMAL_90, sd(at), rtol=0.2, atol=0.02)


def test_a_few_pixels_of_an_intensity_have_no_width_of_their_own():
    rng = np.random.default_rng(0)
    predicted = np.r_[rng.uniform(0.1, 0.3, 9990), rng.uniform(0.8, 0.9, 10)]
    found = Widths.fit(predicted, rng.standard_normal(predicted.size))
    assert max(found.intensities) < 0.3
    assert len(found.intensities) > 3


def test_a_model_that_is_far_off_has_a_card_that_can_be_read():
    """After a training that went astray, say: what is written must not be called damaged."""
    predicted = np.concatenate([np.full(500, -30.0), np.linspace(0, 1, 500), np.full(500, 50.0)])
    found = Widths.fit(predicted, 40 * predicted)
    again = Widths.from_json(json.loads(json.dumps(found.to_json())))
    assert again.at(50.0) == again.at(1e30) == 10
    close = Widths((0.1, 0.1000001), (0.2, 0.3))
    assert Widths.from_json(close.to_json()) == close


def test_what_an_earlier_version_wrote_is_read():
    plain = fitted().to_json()
    del plain["intensities"], plain["half_widths"]
    found = Intervals.of_card({KEY: plain | {"weights": [-2.0, 0.3, 0.5], "factor": 1.2}})
    x = np.array([0.0, 0.033, 0.4, 1.2, 1.5, 9.0])
    upto = x.clip(0, 1.5)
    sd = np.exp(-2.0 + 0.3 * np.log(upto + 0.05) + 0.5 * upto)
    np.testing.assert_allclose(found.half_width(x), 1.2 * NORMAL_90 * sd, rtol=2e-3)
    assert Intervals.of_card({KEY: found.to_json()}) is not None


def test_sections_that_differ_more_need_wider_ones():
    assert fitted(wider=0.5).half_width(0.5) > 1.2 * fitted(wider=0.0).half_width(0.5)


def test_few_sections_are_refused():
    with pytest.raises(ValueError, match=f"at least {FEWEST} windows, got 3"):
        Intervals.fit(list(sections(3)), "windows", "image as taken", "")


def test_maps_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="of one size, got 4 and 5"):
        Intervals.fit([(np.zeros(4), np.zeros(5))] * FEWEST, "windows", "image as taken", "")
    with pytest.raises(ValueError, match="finite"):
        Intervals.fit([(np.zeros(4), np.full(4, np.nan))] * FEWEST, "windows", "image", "")


def test_a_perfect_prediction_has_intervals_too():
    perfect = [(np.full((8, 8), 0.5),) * 2] * FEWEST
    found = Intervals.fit(perfect, "windows", "image as taken", "")
    assert 0 < found.half_width(0.5) < 0.01


def test_a_card_brings_them_back():
    measures = {"l50": MeasureInterval(0.8, 1.3, RATIO, 40)}
    made = fitted()
    made = Intervals(
        made.widths, made.factor, made.count, made.unit, made.truth, made.fitted_on, measures
    )
    card = json.loads(json.dumps({**CARD, KEY: made.to_json()}))
    again = Intervals.of_card(card)
    assert again is not None
    assert again.measures == measures
    np.testing.assert_allclose(again.half_width(0.3), made.half_width(0.3), rtol=1e-3)
    assert Intervals.of_card(CARD) is None


@pytest.mark.parametrize(
    "change",
    [
        {"weights": [1, 2]},
        {"weights": [1, 2, float("inf")]},
        {"weights": "abc"},
        {"intensities": []},
        {"intensities": "abc"},
        {"half_widths": [0.1]},
        {"intensities": [0.5, 0.5], "half_widths": [0.1, 0.1]},
        {"intensities": [0.5, 0.1], "half_widths": [0.1, 0.1]},
        {"intensities": [0.1], "half_widths": [-0.1]},
        {"intensities": [0.1], "half_widths": [float("nan")]},
        {"factor": float("nan")},
        {"factor": -1},
        {"count": None},
        {"measures": [1]},
        {"measures": {"l50": {"low": 1, "high": 2, "kind": "other", "count": 3}}},
        {"measures": {"l50": 4}},
    ],
)
def test_damaged_ones_are_refused(change):
    with pytest.raises(ValueError, match="what the model says of its intervals is damaged"):
        Intervals.of_card({KEY: fitted().to_json() | change})
    with pytest.raises(ValueError, match="damaged"):
        Intervals.of_card({KEY: [1, 2]})


# ---------------------------------------------------------------- measures


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


# ---------------------------------------------------------------- score rules


def test_crps_is_that_of_its_definition():
    # the integral of (F(x) - 1[x >= truth])^2
    from scipy.stats import norm

    x = np.linspace(-10, 10, 200_001)
    by_hand = np.trapezoid((norm.cdf(x, 0.3, 0.5) - (x >= 1.0)) ** 2, x)
    assert normal_crps([1.0], [0.3], [0.5]) == pytest.approx(by_hand, abs=1e-4)


def test_crps_is_best_for_who_knows_how_sure_to_be():
    rng = np.random.default_rng(0)
    truth = 0.3 * rng.standard_normal(20_000)
    scores = [normal_crps(truth, np.zeros_like(truth), np.full(truth.shape, sd))
              for sd in (0.1, 0.3, 0.9)]  # fmt: skip
    assert scores[1] < min(scores[0], scores[2])


def test_the_interval_score_is_width_and_what_lies_outside():
    assert interval_score([0.0, 1.0], [0.0, 0.0], [0.25, 0.25]) == pytest.approx(
        0.5 + 20 * 0.75 / 2
    )


def test_the_spread_of_samples_is_widened_until_nine_tenths_of_sections_lie_within():
    off = np.arange(1.0, 21.0)  # of 20 sections the ceil(21 * 0.9) = 19th smallest
    assert fit_factor(off[::-1]) == 19.0
    assert fit_factor([*off, np.nan]) == 19.0
    assert fit_factor(off[:19]) is None

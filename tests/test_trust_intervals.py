"""Intervals of an expected map: they hold on new sections of the same kind, and cross a card."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models import CARD

from napari_damm.trust.intervals import FEWEST, KEY, Intervals
from napari_damm.trust.measure_intervals import DIFFERENCE, RATIO, MeasureInterval
from napari_damm.trust.score_rules import interval_score, normal_crps
from napari_damm.trust.widths import LEVEL, NORMAL_90, Widths

SIDE = 64
PARTED = MeasureInterval((0.8, 0.7), (1.2, 1.3), RATIO, 60, "gini", (10.0, 20.0)).__dict__


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
    measures = {
        "l50": MeasureInterval((0.8,), (1.3,), RATIO, 40),
        "gini": MeasureInterval((-0.1, -0.2), (0.1, 0.3), DIFFERENCE, 60, "l50", (10.0, 20.0)),
    }
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
        {"measures": {"l50": PARTED | {"low": [0.8]}}},
        {"measures": {"l50": PARTED | {"high": [1.2, float("nan")]}}},
        {"measures": {"l50": PARTED | {"at": [20.0, 10.0]}}},
        {"measures": {"l50": PARTED | {"at": [10.0, float("nan")]}}},
        {"measures": {"l50": PARTED | {"by": ""}}},
        {"measures": {"l50": PARTED | {"low": [], "high": [], "at": []}}},
    ],
)
def test_damaged_ones_are_refused(change):
    with pytest.raises(ValueError, match="what the model says of its intervals is damaged"):
        Intervals.of_card({KEY: fitted().to_json() | change})
    with pytest.raises(ValueError, match="damaged"):
        Intervals.of_card({KEY: [1, 2]})


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

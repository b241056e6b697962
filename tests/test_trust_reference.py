"""Distributions of statistics: calibrated, small, and read with suspicion."""

from __future__ import annotations

import json

import numpy as np
import pytest
from models import CARD
from trusting import card, known

from napari_damm.trust.known import KEY, Known
from napari_damm.trust.reference import Reference
from napari_damm.trust.statistics import NAMES


def drawn(count: int, seed: int) -> np.ndarray:
    """Rows with correlated statistics."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((count, 1))
    return 0.5 * common + rng.standard_normal((count, len(NAMES)))


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference.fit(drawn(300, 0), np.arange(300))


def test_one_in_twenty_of_what_is_known_falls_below_five_percent(reference):
    familiar = np.array([reference.familiarity(row) for row in drawn(1000, 1)])
    assert 0.02 < (familiar < 0.05).mean() < 0.09
    assert 0.4 < np.median(familiar) < 0.6


def test_what_is_further_off_is_less_familiar_without_end(reference):
    direction = np.ones(len(NAMES))
    familiar = [reference.familiarity(k * direction) for k in (0, 2, 5, 20, 100)]
    assert familiar == sorted(familiar, reverse=True)
    assert len(set(familiar)) == 5
    assert 0 < familiar[-1] < familiar[-2] < 0.005


def test_it_survives_the_card(reference):
    again = Reference.from_json(json.loads(json.dumps(reference.to_json())))
    for row in drawn(20, 2):
        assert again.familiarity(row) == pytest.approx(reference.familiarity(row), abs=0.02)
    assert again.count == 300


def test_it_is_small():
    assert len(json.dumps(known().to_json())) < 100_000


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="at least 20"):
        Reference.fit(drawn(10, 0), np.arange(10))


def test_few_sections_spread_as_their_windows_do():
    rows = [drawn(8, k) for k in range(4)]
    found = Known.fit(rows, "four")
    one = Reference.fit(np.concatenate(rows), np.repeat(range(4), 8))
    np.testing.assert_array_equal(found.sections.quantiles, one.quantiles)


@pytest.mark.parametrize(("count", "factor"), [(1, 3), (2, 3), (3, 2.535), (4, 1.815), (12, 1.169)])
def test_of_few_sections_windows_of_others_are_expected_further_off(count, factor):
    """Student's t with count - 1 degrees of freedom, over 1.96; times sqrt(1 + 1 / count)."""
    found = Known.fit([drawn(30, k) for k in range(count)], "few")
    np.testing.assert_allclose(
        found.windows.quantiles, factor * found.sections.quantiles, rtol=1e-3
    )
    strange = next(
        row for k in range(1, 99)
        if 0.005 < found.sections.familiarity(row := 0.1 * k * np.ones(len(NAMES))) < 0.05
    )  # fmt: skip
    assert found.windows.familiarity(strange) > found.sections.familiarity(strange)


def base(between=1.0, within=0.5, count=40):
    """What a model knows of many sections that differ so much, and their windows by so much."""
    rng = np.random.default_rng(9)
    means = between * rng.standard_normal((count, 1, len(NAMES)))
    return Known.fit(list(means + within * rng.standard_normal((count, 8, len(NAMES)))), "many")


def few(count, between=0.5, within=0.5, seed=3):
    rng = np.random.default_rng(seed)
    means = 5 + between * rng.standard_normal((count, 1, len(NAMES)))
    return list(means + within * rng.standard_normal((count, 30, len(NAMES))))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_of_few_sections_the_base_says_how_far_others_lie_off(count):
    """Others of the same tissue are known although they lie apart; what lies elsewhere is not."""
    learnt, others = few(count), few(60, seed=4)
    found, alone = Known.fit(learnt, "few", base()), Known.fit(learnt, "few")
    familiar = [found.sections.familiarity(rows.mean(axis=0)) for rows in others]
    assert np.mean(np.array(familiar) >= 0.05) > 0.8
    if count == 1:
        lonely = [alone.sections.familiarity(rows.mean(axis=0)) for rows in others]
        assert np.mean(np.array(lonely) >= 0.05) < 0.1
    windows = [found.windows.familiarity(row) for rows in others for row in rows[:2]]
    assert np.mean(np.array(windows) >= 0.05) > 0.75
    of_base = np.zeros(len(NAMES))
    assert found.sections.familiarity(of_base) < 0.005
    assert found.sections.familiarity(np.concatenate(learnt).mean(axis=0)) > 0.9


def test_the_more_sections_the_less_the_base_says():
    """Sections that lie apart by a tenth: the base's spread of 1 fades."""
    sd = [
        float(Known.fit(few(count, between=0.1), "", base()).sections.sd.mean())
        for count in (1, 3, 8, 19)
    ]
    assert sd == sorted(sd, reverse=True)
    assert sd[0] > 0.75 > 0.5 > sd[-1] > 0.1


@pytest.mark.parametrize(("count", "usual", "furthest"), [(1, 1.312, 1.525), (4, 1.177, 1.284)])
def test_places_of_other_sections_lie_further_off_the_strangest_by_most(count, usual, furthest):
    """Student's t with 5 more degrees of freedom than sections - 1, over the normal distribution.

    The furthest of 40 sections is the one in 80 on either side.
    """
    many = base()
    found = Known.fit(few(count), "few", many)
    ratio = found.windows.quantiles / many.windows.quantiles
    assert (np.diff(ratio) >= 0).all()
    assert ratio[95] == pytest.approx(usual, abs=1e-3)
    assert ratio[100] == pytest.approx(furthest, abs=1e-3)
    np.testing.assert_array_equal(found.sections.quantiles, many.sections.quantiles)


def test_few_sections_that_lie_apart_say_so_themselves():
    near, far = (
        float(Known.fit(few(6, between=b), "", base()).sections.sd.mean()) for b in (0.1, 3.0)
    )
    assert far > 2.5 * near


def test_of_many_sections_the_base_says_nothing():
    rows = few(20)
    assert Known.fit(rows, "", base()).to_json() == Known.fit(rows, "").to_json()


def told(found: Known, base_of: Known) -> Known:
    """A model of the same few sections that was made from another, by way of their cards."""
    handed = Known.of_card({KEY: base_of.to_json()})
    assert handed is not None
    return Known.fit(few(found.sections.count), "again", handed)


@pytest.mark.parametrize("count", [1, 4])
def test_trained_again_and_again_on_few_sections_it_knows_the_same(count):
    """What a model of few took from its base is handed on, and does not drift."""
    once = Known.fit(few(count), "few", base())
    again = told(once, told(once, once))
    for part in ("windows", "sections"):
        first, third = getattr(once, part), getattr(again, part)
        np.testing.assert_allclose(third.sd, first.sd, atol=1e-4)
        np.testing.assert_allclose(third.quantiles, first.quantiles, atol=1e-4)


def test_a_base_that_knows_few_and_had_no_base_does_not_tell_how_far_others_lie_off():
    alone = Known.fit(few(4), "four")
    assert Known.fit(few(1), "", alone).to_json() == Known.fit(few(1), "").to_json()


@pytest.mark.parametrize(
    "damage",
    [{"sd": [0.0] * len(NAMES)}, {"sd": [1.0]}, {"count": 3}, {"quantiles": [-1.0] * 101}],
)
def test_what_was_handed_on_must_be_numbers_of_many(damage):
    card = Known.fit(few(2), "few", base()).to_json()
    card["of_many"] |= damage
    with pytest.raises(ValueError, match="is damaged"):
        Known.of_card({KEY: card})


def test_a_section_of_one_window_tells_nothing_of_how_windows_differ():
    large = few(2)
    small = [large[0], large[1][:1]]
    sd = [float(Known.fit(each, "", base()).windows.sd.mean()) for each in (large, small)]
    assert sd[1] == pytest.approx(sd[0], rel=0.03)


def test_the_range_that_is_known_follows_the_spread():
    found = Known.fit(few(2), "few", base()).sections
    np.testing.assert_allclose(found.high - found.low, 2 * 1.96 * found.sd)
    assert found.count == 2


def test_of_many_they_are_as_far_off_as_they_are():
    rows = [drawn(8, k) for k in range(20)]
    one = Reference.fit(np.concatenate(rows), np.repeat(range(20), 8))
    np.testing.assert_array_equal(Known.fit(rows, "").windows.quantiles, one.quantiles)


def test_a_card_without_it_says_nothing():
    assert Known.of_card(CARD) is None


def test_statistics_that_were_taken_otherwise_are_not_compared():
    values = known().to_json()
    assert values.pop("version") == 2
    assert Known.of_card({**CARD, KEY: values}) is None
    assert Known.of_card({**CARD, KEY: {**values, "version": 3}}) is None


@pytest.mark.parametrize(
    "damage",
    [
        {"windows": None},
        {"windows": {**known().windows.to_json(), "sd": [0.0] * len(NAMES)}},
        {"windows": {**known().windows.to_json(), "mean": [1.0]}},
        {"windows": {**known().windows.to_json(), "mean": ["x"] * len(NAMES)}},
        {"windows": {**known().windows.to_json(), "statistics": ["others"]}},
        {"windows": {**known().windows.to_json(), "quantiles": [1.0] * 100 + [0.5]}},
        {"windows": {**known().windows.to_json(), "usual": {}}},
        {"sections": {**known().sections.to_json(), "correlation": [5.0] * 666}},
        {"sections": 3},
    ],
)
def test_a_damaged_card_is_refused_in_one_sentence(damage):
    values = {**known().to_json(), **damage}
    with pytest.raises(ValueError, match=r"^what the model says of images that it knows"):
        Known.of_card({**CARD, KEY: values})
    with pytest.raises(ValueError, match="damaged"):
        Known.of_card({**CARD, KEY: "text"})
    assert Known.of_card(card()) is not None


def test_one_small_section_beside_a_large_one_leaves_trust_on():
    sections = np.repeat([0, 1], [200, 1])
    lopsided = Reference.fit(drawn(201, 0), sections)
    assert lopsided.familiarity(3.0 * np.ones(len(NAMES))) < 0.05
    assert max(lopsided.usual.values()) < 20

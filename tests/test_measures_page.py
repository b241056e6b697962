"""Which measures a prediction gives, told from rows whose answer is known."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    import measures_page
finally:
    sys.path.remove(str(BENCHMARKS))


def rows(pairs, low=0.0, high=10.0, name="l50"):
    nothing = {each: [None, None, None, None] for each in measures_page.OF_PARTICLES}
    return [{"measures": {**nothing, name: [t, p, low, high]}} for t, p in pairs]


def test_bias_spread_and_coverage_are_those_of_the_pairs():
    found = measures_page.summary(rows([(1, 3), (5, 6), (12, 15)]), "l50")
    assert found.bias == 2.0
    assert found.spread == 1.0
    assert (found.inside, found.asked) == (2, 3)  # 12 is above 10


def test_a_constant_offset_is_no_disagreement_in_icc_3_1_and_a_single_value_has_none():
    assert measures_page.summary(rows([(1, 3), (5, 7), (9, 11)]), "l50").icc == pytest.approx(1.0)
    assert measures_page.summary(rows([(1, 3), (5, 7)]), "l50").icc is None
    assert measures_page.summary(rows([]), "l50").icc is None


def test_the_worst_kind_of_section_decides():
    good = rows([(k, k) for k in range(5)])
    bad = rows([(k, 4 - k) for k in range(5)])
    (given, *_) = measures_page.verdicts({"a": good})
    assert given.startswith(f"- **{measures_page.GIVES}**: half-distance L50")
    lines = measures_page.verdicts({"a": good, "b": bad})
    assert lines[0].startswith(f"- **{measures_page.CANNOT}**: half-distance L50")


def test_missing_numbers_and_intervals_do_not_count():
    found = measures_page.summary(rows([(1, None), (None, 2), (3, 4)], low=None), "l50")
    assert np.array_equal(found.pairs, [[3.0, 4.0]])
    assert found.asked == 0

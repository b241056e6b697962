"""What each cell is worth, the shares of the tissue, and the line that says them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_damm.trust.cells import after, before, shares, shares_in_words, trust_cells
from napari_damm.trust.verdict import Assessment

FAMILIARITY = np.array([[0.5, 0.5, 0.01, 0.001, 0.0]])
UNCERTAINTY = np.array([[0.1, 0.9, 0.1, 0.1, 0.0]])
BRANCH = np.array([[2, 1, 2, 2, 0]])


def test_cells_are_judged_by_the_worse_of_familiarity_and_agreement():
    assert trust_cells(FAMILIARITY, UNCERTAINTY, BRANCH).tolist() == [[1, 2, 2, 3, 0]]


def test_a_wide_interval_asks_for_care_and_one_of_the_whole_range_says_nothing():
    familiar, sure, branch = np.full((1, 4), 0.5), np.zeros((1, 4)), np.array([[2, 2, 2, 0]])
    width = np.array([[0.3, 0.7, 1.2, 2.0]])
    assert trust_cells(familiar, sure, branch, width).tolist() == [[1, 2, 3, 0]]
    trust = after(before(Assessment("use", 0.5)), familiar, sure, branch, width)
    assert trust["interval_width"] == pytest.approx(2.2 / 3, abs=1e-4)
    assert shares_in_words(trust) == (
        "33 % of the tissue: use; 33 % with care (wide interval); "
        "33 % do not use (the interval says nothing)"
    )


def test_images_that_disagree_ask_for_no_care_where_the_interval_is_narrow():
    familiar, unsure, branch = np.full((1, 2), 0.5), np.full((1, 2), 0.9), np.array([[1, 1]])
    assert trust_cells(familiar, unsure, branch, np.array([[0.1, 0.3]])).tolist() == [[1, 2]]
    assert trust_cells(familiar, unsure, branch).tolist() == [[2, 2]]


def test_unusual_images_ask_for_no_care_where_the_interval_is_narrow_but_unknown_ones_do():
    familiarity, sure, branch = (
        np.array([[0.01, 0.01, 0.001]]),
        np.zeros((1, 3)),
        np.full((1, 3), 2),
    )
    narrow = np.array([[0.1, 0.3, 0.1]])
    assert trust_cells(familiarity, sure, branch, narrow).tolist() == [[1, 2, 3]]


def test_errors_of_few_windows_rank_places_and_are_not_called_an_interval():
    familiar, sure, branch = np.full((1, 3), 0.5), np.zeros((1, 3)), np.full((1, 3), 2)
    width = np.array([[0.3, 0.7, 1.2]])
    trust = after(before(Assessment("use", 0.5)), familiar, sure, branch, width, calibrated=False)
    assert "interval_width" not in trust
    assert shares_in_words(trust) == (
        "33 % of the tissue: use; 33 % with care (large errors expected); "
        "33 % do not use (errors of the whole range expected)"
    )


def test_a_record_of_before_has_shares_without_a_cause():
    trust = {"shares": {"use": 0.5, "with care": 0.5, "do not use": 0.0}, "mostly_unusual": True}
    assert shares_in_words(trust) == "50 % of the tissue: use; 50 % with care"


def test_shares_are_of_what_was_predicted():
    found = shares(trust_cells(FAMILIARITY, UNCERTAINTY, BRANCH))
    assert found == {"use": 0.25, "with care": 0.5, "do not use": 0.25}
    assert shares(np.zeros((2, 2), np.uint8)) == {}


def test_the_line_says_the_shares_and_why():
    trust = before(Assessment("use", 0.5), "sections")
    assert shares_in_words(trust) == ""
    trust = after(trust, FAMILIARITY, UNCERTAINTY, BRANCH)
    assert shares_in_words(trust) == (
        "25 % of the tissue: use; 50 % with care (unusual images); "
        "25 % do not use (unlike training images)"
    )
    unusable = {**trust, "verdict": "do not use"}
    assert shares_in_words(unusable).startswith("Place by place 25 % of the tissue: use; 50 %")
    disagreeing = after(trust, np.full((1, 5), 0.5), UNCERTAINTY, BRANCH)
    assert shares_in_words(disagreeing) == (
        "75 % of the tissue: use; 25 % with care (the two images disagree)"
    )


@pytest.mark.parametrize("trust", [None, {}, before(None)])
def test_nothing_is_said_where_nothing_is_known(trust):
    assert shares_in_words(trust) == ""

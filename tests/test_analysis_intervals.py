"""Intervals of measures of predicted maps: of whole sections, by what the record says."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from napari_damm.analysis import intervals
from napari_damm.analysis.measures import Measured
from napari_damm.analysis.regions import Band, Tissue
from napari_damm.trust.intervals import DIFFERENCE, KEY, RATIO, Intervals, MeasureInterval

KNOWN = Intervals(
    (-2.0, 0.3, 0.5), 1.2, 40, "sections", "noise-free field", "drawn",
    {
        "l50": MeasureInterval(0.8, 1.5, RATIO, 40),
        "extravasated_area": MeasureInterval(-6.0, 8.0, DIFFERENCE, 38),
    },
)  # fmt: skip


def section(predicted=True, record=None):
    kept = {KEY: KNOWN.to_json()} if record is None else record
    return SimpleNamespace(predicted=predicted, record=kept)


def found(measure, value, region=None, **more):
    known = intervals.intervals_of(section(**more))
    return intervals.interval(known, region or Tissue(), Measured(measure, value, 100))


def test_a_distance_is_off_by_a_factor_and_a_share_by_a_difference():
    assert found("l50", 20.0) == (pytest.approx(16.0), pytest.approx(30.0), 0.9)
    assert found("extravasated_area", 30.0) == (24.0, 38.0, 0.9)


def test_a_share_stays_within_0_and_100_percent():
    assert found("extravasated_area", 2.0) == (0.0, 10.0, 0.9)
    assert found("extravasated_area", 97.0)[1] == 100.0


@pytest.mark.parametrize(
    ("measure", "value", "more"),
    [
        ("vessel_area", 5.0, {}),
        ("l50", None, {}),
        ("l50", 20.0, {"predicted": False}),
        ("l50", 20.0, {"record": {}}),
        ("l50", 20.0, {"region": Band(0.0, 50.0)}),
    ],
)
def test_there_is_none_where_nobody_has_measured_it(measure, value, more):
    assert found(measure, value, **more) == (None, None, None)


def test_the_report_says_what_they_rest_on():
    assert "from 40 sections that the model had not learnt from (drawn)" in intervals.note(KNOWN)
    assert intervals.note(None) == intervals.NOT_CALIBRATED
    assert intervals.OF_PARTICLES[0] == "l50"


def test_a_damaged_record_is_refused():
    with pytest.raises(ValueError, match="damaged"):
        intervals.intervals_of(section(record={KEY: 3}))

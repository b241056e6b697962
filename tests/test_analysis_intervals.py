"""Intervals of measures of predicted maps: of whole sections, by what the record says."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from particle_maps import measured, straight_vessel

from napari_damm.analysis import intervals
from napari_damm.analysis.measures import Measured
from napari_damm.analysis.regions import Band, Outline, Tissue
from napari_damm.trust.intervals import KEY, Intervals
from napari_damm.trust.measure_intervals import DIFFERENCE, RATIO, MeasureInterval
from napari_damm.trust.widths import Widths

KNOWN = Intervals(
    Widths((0.0,), (0.3,)), 1.2, 40, "sections", "noise-free field", "drawn",
    {
        "l50": MeasureInterval((0.8,), (1.5,), RATIO, 40),
        "extravasated_area": MeasureInterval((-6.0,), (8.0,), DIFFERENCE, 38),
        "cell_dose": MeasureInterval((0.8, 0.5), (1.1, 2.0), RATIO, 40, "gini", (0.2, 0.4)),
    },
)  # fmt: skip


def section(predicted=True, record=None):
    kept = {KEY: KNOWN.to_json()} if record is None else record
    return SimpleNamespace(predicted=predicted, record=kept)


def found(measure, value, region=None, gini=None, **more):
    known = intervals.intervals_of(section(**more))
    here = region or Tissue()
    return intervals.interval(known, here, Measured(measure, value, 100), {"gini": gini})


def test_a_distance_is_off_by_a_factor_and_a_share_by_a_difference():
    assert found("l50", 20.0) == (pytest.approx(16.0), pytest.approx(30.0), 0.9)
    assert found("extravasated_area", 30.0) == (24.0, 38.0, 0.9)


def test_it_hangs_on_another_measure_of_the_section():
    at = [found("cell_dose", 2.0, gini=gini)[:2] for gini in (0.1, 0.2, 0.3, 0.5)]
    np.testing.assert_allclose(at, [(1.6, 2.2), (1.6, 2.2), (1.3, 3.1), (1.0, 4.0)])


def test_where_that_is_not_known_the_widest_holds():
    assert found("cell_dose", 2.0)[:2] == (1.0, 4.0)


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
        ("l50", 0.0, {}),  # a factor tells nothing of what is not above 0
        ("l50", -2.0, {}),
    ],
)
def test_there_is_none_where_nobody_has_measured_it(measure, value, more):
    assert found(measure, value, **more) == (None, None, None)


def test_the_report_says_what_they_rest_on():
    assert "from 40 sections that the model had not learnt from (drawn)" in intervals.note(KNOWN)
    assert intervals.note(None) == intervals.NOT_CALIBRATED
    assert intervals.OF_PARTICLES[0] == "l50"
    assert "None was fitted for exposure AUC(0-100 um), " in intervals.note(KNOWN)
    whole = dict.fromkeys(intervals.OF_PARTICLES, KNOWN.measures["l50"])
    assert "None was fitted" not in intervals.note(replace(KNOWN, measures=whole))


def test_a_model_that_is_calibrated_for_the_map_alone_says_so():
    said = intervals.note(replace(KNOWN, measures={}))
    assert "calibrated for the map" in said
    assert "(not calibrated)" not in said
    assert intervals.note(replace(KNOWN, measures={}), left_out=intervals.PART) == intervals.PART


def unlike(known=KNOWN):
    return {KEY: known.to_json(), "trust": {"verdict": "do not use", "reasons": ["unusual"]}}


def test_of_images_unlike_all_that_the_model_knows_there_is_none():
    """On a real field the 90 % interval was 23 to 32 % of the tissue, and the truth 0.6 %."""
    assert found("l50", 20.0, record=unlike()) == (None, None, None)
    careful = unlike() | {"trust": {"verdict": "with care"}}
    assert found("l50", 20.0, record=careful)[2] == 0.9


def test_each_section_says_for_itself_why_it_has_none():
    signal, vessels = straight_vessel()
    report, _ = measured({"particles": signal, "vessels": vessels}, record=unlike())
    assert {(row.low, row.high) for row in report.rows} == {(None, None)}
    (said,) = [note for note in report.notes if "intervals" in note]
    assert said == f"{report.sections[0].name}: {intervals.UNLIKE}"


def test_a_section_says_which_intervals_are_the_widest_or_cannot_be_given():
    here = SimpleNamespace(name="a", samples=(), record={})
    values = {"l50": 0.0, "extravasated_area": 3.0, "cell_dose": 2.0, "gini": None}
    _, widest, none = intervals.notes_of(here, KNOWN, values)
    assert widest == (
        "a: the intervals of dose per cell are the widest that were fitted: how wide they must "
        "be, Gini coefficient would tell, and there is none"
    )
    assert none == (
        "a: no interval of half-distance L50: what is not above 0 cannot be off by a factor"
    )
    assert len([*intervals.notes_of(here, KNOWN, values | {"gini": 0.3, "l50": 9.0})]) == 1


def test_a_damaged_record_is_refused():
    with pytest.raises(ValueError, match="damaged"):
        intervals.intervals_of(section(record={KEY: 3}))


# ---------------------------------------------------------------- several samples

LENGTHS = 15.0, 20.0, 25.0
LN2 = np.log(2)


def of_three_samples(**more):
    """A straight vessel; in each sample the signal decays over another length."""
    drawn = [straight_vessel(length_um=length)[0] for length in LENGTHS]
    mean, vessels = np.mean(drawn, axis=0), straight_vessel()[1]
    reads = tuple(partial(pixels_of, image) for image in drawn)
    report, _ = measured({"particles": mean, "vessels": vessels}, samples=reads, **more)
    return report


def pixels_of(image, box):
    return image[box.slices]


def row_of(report, measure, region="tissue"):
    (row,) = [r for r in report.rows if (r.measure, r.region) == (measure, region)]
    return row


def test_each_sample_is_measured_on_its_own():
    row = row_of(of_three_samples(), "l50")
    assert row.value == pytest.approx(20 * LN2, rel=0.02)  # L50 = L ln 2 of each
    half = 1.645 * 5 * LN2  # the standard deviation of 15, 20, 25 is 5
    assert (row.low, row.high) == pytest.approx((20 * LN2 - half, 20 * LN2 + half), rel=0.05)
    assert row.level is None  # not calibrated


def test_the_card_s_factor_widens_the_spread_and_gives_a_level(monkeypatch):
    monkeypatch.setattr(intervals, "FITTED_SAMPLES", 3)
    known = replace(KNOWN, samples={"l50": 2.0})
    report = of_three_samples(record={KEY: known.to_json()})
    plain, wide = row_of(of_three_samples(), "l50"), row_of(report, "l50")
    assert wide.high - wide.low == pytest.approx(2 * (plain.high - plain.low))
    assert (wide.value, wide.level) == (plain.value, 0.9)
    assert row_of(report, "auc_100").level is None
    assert "Those of half-distance L50" in report.notes[0]


def test_of_images_unlike_all_that_the_model_knows_samples_are_not_calibrated(monkeypatch):
    monkeypatch.setattr(intervals, "FITTED_SAMPLES", 3)
    report = of_three_samples(record=unlike(replace(KNOWN, samples={"l50": 2.0})))
    row, plain = row_of(report, "l50"), row_of(of_three_samples(), "l50")
    assert (row.low, row.high, row.level) == (plain.low, plain.high, None)


def test_fewer_samples_than_the_factor_was_fitted_with_give_no_level():
    known = replace(KNOWN, samples={"l50": 2.0})
    report = of_three_samples(record={KEY: known.to_json()})
    row, plain = row_of(report, "l50"), row_of(of_three_samples(), "l50")
    assert row.level is None
    assert row.high - row.low == pytest.approx(2 * (plain.high - plain.low))
    assert "fitted with 8 samples of each section; 3 tell too little" in report.notes[0]
    drawn = [Measured("l50", 10.0 + k, 5) for k in range(8)]
    assert intervals.of_samples(drawn[0], drawn, known)[1][2] == 0.9
    assert intervals.of_samples(drawn[0], drawn[:7], known)[1][2] is None


def test_regions_have_the_spread_of_samples_too_and_what_was_imaged_has_none():
    square = Outline("left", (np.array([[0.0, 0.0], [600, 0], [600, 350], [0, 350]]),))
    report = of_three_samples(regions=[square])
    assert row_of(report, "auc_100", "left").low < row_of(report, "auc_100", "left").high
    for measure in ("vessel_area", "tissue_distance"):
        assert row_of(report, measure).low is None


def test_the_profile_has_limits_shell_by_shell():
    report = of_three_samples()
    near, far = (next(p for p in report.profiles if p.distance_um > d) for d in (0, 40))
    assert near.low < near.signal < near.high
    signals = [np.exp(-far.distance_um / length) for length in LENGTHS]
    assert far.high - far.low == pytest.approx(2 * 1.645 * np.std(signals, ddof=1), rel=0.05)


def test_a_measure_that_one_sample_does_not_give_has_no_limits():
    drawn = [Measured("l50", 10.0, 5), Measured("l50", None, 0), Measured("l50", 12.0, 5)]
    found = Measured("l50", 11.0, 5)
    assert intervals.of_samples(found, drawn, None) == (found, (None, None, None))
    assert intervals.of_samples(found, drawn[::2], None)[0].value == 11.0


def test_a_result_of_samples_says_so_and_a_factor_survives_the_card():
    assert "means over 8 samples" in intervals.note(None, 8)
    assert "not calibrated" in intervals.note(None, 8)
    known = replace(KNOWN, samples={"gini": 1.5}, samples_fitted_on="24 of another size")
    assert Intervals.of_card({KEY: known.to_json()}) == known
    assert "Gini coefficient are widened" in intervals.note(known, 8)
    assert "(24 of another size); the others" in intervals.note(known, 8)


def test_an_analysis_gives_each_the_other_measure_of_its_section():
    signal, vessels = straight_vessel()
    gini = float("nan")
    lows = {}
    for edge in (0.1, 0.9):
        limits = MeasureInterval((0.5, 0.9), (1.5, 1.1), RATIO, 60, "gini", (edge, edge + 0.05))
        record = {KEY: replace(KNOWN, measures={"l50": limits}).to_json()}
        report, _ = measured({"particles": signal, "vessels": vessels}, record=record)
        rows = {row.measure: row for row in report.rows if row.region == "tissue"}
        gini = rows["gini"].value
        lows[edge] = rows["l50"].low / rows["l50"].value
    assert 0.15 < gini < 0.9
    assert lows == {0.1: pytest.approx(0.9), 0.9: pytest.approx(0.5)}

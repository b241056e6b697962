"""What a report warns of: what the models of its predictions were trained on."""

from __future__ import annotations

import pytest

from napari_damm.analysis import page
from napari_damm.analysis.report import AnalysisReport, SectionFacts


def test_the_warning_says_what_each_model_was_trained_on():
    own = {"name": "mine", "training_data": {"kind": "images", "description": "2 mice, <b>"}}
    drawn = {"name": "small", "training_data": {"kind": "simulated", "description": "8 sections"}}
    facts = [
        SectionFacts("s", (8, 8), (1.0, 1.0), predicted, "v", "n", {}, {}, {"model": model})
        for predicted, model in ((True, own), (True, own), (True, drawn), (False, {}))
    ]
    report = AnalysisReport({}, tuple(facts), (), ())
    assert report.warning == (
        "These maps were PREDICTED, not imaged, by the model 'mine' (trained on 2 mice, <b>) and "
        "by the model 'small' (trained on 8 sections, simulated tissue only): on other tissue the "
        "numbers are hypotheses until they are checked against imaged particles of the same kind."
    )
    assert AnalysisReport({}, (facts[3],), (), ()).warning is None
    assert "2 mice, &lt;b&gt;" in "".join(page._parts(report, []))


@pytest.mark.parametrize("record", [{}, {"model": {"name": "unnamed"}}])
def test_of_a_result_made_before_the_warning_says_what_the_bundled_model_learnt_from(record):
    facts = SectionFacts("s", (8, 8), (1.0, 1.0), True, "v", "n", {}, {}, record)
    assert (
        "by the model 'unnamed' (what it was trained on is not said; the bundled model is trained "
        "on simulated tissue only): on other tissue"
    ) in AnalysisReport({}, (facts,), (), ()).warning


def test_of_a_model_whose_card_says_nothing_the_bundled_one_is_not_spoken():
    record = {"model": {"name": "own", "training_data": {}}}
    facts = SectionFacts("s", (8, 8), (1.0, 1.0), True, "v", "n", {}, {}, record)
    warning = AnalysisReport({}, (facts,), (), ()).warning
    assert "'own' (trained on data of which this result says nothing): on other" in warning


def test_that_a_model_knows_no_real_tissue_is_said_once():
    data = {"kind": "simulated", "description": "simulated sections, no real tissue (640 px)"}
    record = {"model": {"name": "small", "training_data": data}}
    facts = SectionFacts("s", (8, 8), (1.0, 1.0), True, "v", "n", {}, {}, record)
    warning = AnalysisReport({}, (facts,), (), ()).warning
    assert "(trained on simulated sections, no real tissue (640 px)): on other" in warning

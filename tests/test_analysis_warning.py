"""What a report warns of: what the models of its predictions were trained on."""

from __future__ import annotations

import pytest

from napari_damm.analysis import page
from napari_damm.analysis.report import AnalysisReport, SectionFacts
from napari_damm.trust.verdict import said_of_model


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


def test_a_model_no_better_than_a_linear_one_is_a_caution_above_all_numbers():
    record = {"trust": {"verdict": "use"}, "model": {"warning": "does not beat a linear model"}}
    facts = SectionFacts("s", (8, 8), (1.0, 1.0), True, "v", "n", {}, {}, record)
    report = AnalysisReport({}, (facts,), (), ())
    assert report.cautions == ("s: the model does not beat a linear model",)


@pytest.mark.parametrize("record", [{}, {"model": 3}, {"model": {"warning": 3}}, {"model": {}}])
def test_a_record_without_a_warning_says_nothing_of_its_model(record):
    assert said_of_model(record) == ""

"""What an evaluation comes to in a sentence."""

from __future__ import annotations

import pytest
from evaluations import report_of

from napari_damm.evaluation.in_words import in_words
from napari_damm.evaluation.report import NO_MODEL, Row

LINEAR, BLUR = "linear model", "blur"


def said(own, linear, blur):
    rows = [Row("s", "m", "gated", own), Row("s", NO_MODEL, LINEAR, linear)]
    return list(in_words(report_of([*rows, Row("s", NO_MODEL, BLUR, blur)])))


def scores(r, ssim=0.5, psnr=20.0):
    return {"pearson_r": r, "ssim": ssim, "psnr": psnr}


def test_a_model_that_is_better_in_all_is_said_to_be_so():
    assert said(scores(0.8, 0.6, 25.0), scores(0.7), scores(0.75)) == [
        "m places particles better than the best trivial method: r 0.800, blur 0.750"
    ]


@pytest.mark.parametrize("r", [0.7, 0.6])
def test_a_model_that_is_no_better_is_said_to_be_so(r):
    (sentence,) = said(scores(r, 0.6, 25.0), scores(0.7), scores(0.65))
    assert sentence.startswith("m places particles no better than the best trivial method: r ")


def test_where_intensities_are_off_it_says_why_a_trivial_method_is_nearer():
    (sentence,) = said(scores(0.8, 0.4, 25.0), scores(0.7, 0.5, 24.0), scores(0.6, 0.45, 20.0))
    assert sentence.endswith(
        "; in SSIM a trivial method is better, which was fitted to the intensities of this very "
        "section"
    )


def test_without_correlations_nothing_is_said():
    assert said(scores(None), scores(0.7), scores(0.6)) == []
    assert said(scores(0.7), scores(None), scores(None)) == []


@pytest.mark.parametrize(("held", "told"), [(24.2, True), (79.0, True), (80.0, False)])
def test_where_intervals_do_not_hold_it_says_so(held, told):
    sentences = said(scores(0.8) | {"coverage": held}, scores(0.7), scores(0.6))
    assert len(sentences) == 1 + told
    if told:
        assert sentences[1].startswith(
            f"m's nominal 90 % intervals held only {held:.0f} % of the truth: do not use them"
        )

"""The verdict on a section, and the sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from models import CARD
from trusting import card, section, slide

from napari_damm.slide import Normalisation
from napari_damm.trust import words
from napari_damm.trust.section import assess, look
from napari_damm.trust.statistics import window_statistics
from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE, in_a_line, verdict_of

BRIGHT = "the vessels image is bright on {} of the tissue than the model knows"
RNG = np.random.default_rng(0)


def clipped(image: np.ndarray, share: float) -> np.ndarray:
    return np.minimum(image, np.percentile(image, 100 * (1 - share)))


def test_a_section_like_those_in_training_is_to_be_used_without_a_word():
    found = look(slide(), card())
    assert found is not None
    assert (found.verdict, found.reasons) == (USE, ())


def test_a_model_without_a_distribution_is_not_asked():
    assert look(slide(), CARD) is None


BAD = {
    "swapped": (lambda v, n: (n, v, 1.0), "vessels and nuclei look swapped"),
    "twice": (lambda v, n: (v, v, 1.0), "both channels show the same image"),
    "blank": (lambda v, n: (v, np.full_like(n, 100), 1.0), "nuclei image shows nothing"),
    "noise": (lambda v, n: (v, RNG.normal(900, 90, n.shape), 1.0), "nuclei image is mostly noise"),
    "saturated": (lambda v, n: (v, clipped(n, 0.12), 1.0), "nuclei image is saturated on 1"),
    "coarse": (lambda v, n: (v, n, 3.0), "is the pixel size right?"),
    "fine": (lambda v, n: (v, n, 0.4), "is the pixel size right?"),
    "moved": (lambda v, n: (v, np.roll(n, 30, 0), 1.0), "do not fit where the vessels are"),
}


@pytest.mark.parametrize("kind", BAD)
def test_each_kind_of_nonsense_is_named(kind):
    make, expected = BAD[kind]
    vessels, nuclei, um = make(*section())
    found = look(slide(vessels, nuclei, um), card())
    assert found is not None
    assert found.verdict != USE
    assert any(expected in reason for reason in found.reasons), found.reasons


def test_brightness_says_in_which_direction():
    def said(**off):
        evidence = SimpleNamespace(by_role=[("primary", "vessels")], off=lambda name: off[name[8:]])
        return list(words._intensities(evidence))

    assert said(mean=4.0, dark=-1.0) == [BRIGHT.format("more")]
    assert said(mean=-4.0, dark=1.0) == [BRIGHT.format("less")]
    assert said(mean=1.0, dark=4.0) == [BRIGHT.format("less")]
    assert said(mean=1.0, dark=-4.0) == [BRIGHT.format("more")]
    assert said(mean=1.0, dark=2.0) == []


HOPELESS = ("swapped", "twice", "blank")


@pytest.mark.parametrize("kind", BAD)
def test_what_leaves_nothing_to_predict_from_is_not_to_be_used_however_near(kind, monkeypatch):
    vessels, nuclei, um = BAD[kind][0](*section())
    found = {}
    for near in (WITH_CARE, USE):
        monkeypatch.setattr("napari_damm.trust.section.verdict_of", lambda _, near=near: near)
        found[near] = look(slide(vessels, nuclei, um), card()).verdict
    assert found == {WITH_CARE: DO_NOT_USE if kind in HOPELESS else WITH_CARE, USE: USE}


def test_the_pixel_size_is_doubted_with_numbers():
    found = look(slide(um=3.0), card())
    assert found is not None
    assert found.verdict == DO_NOT_USE
    assert any("um wide, the model knows" in reason for reason in found.reasons)
    # nobody knows where structures of another width should lie
    assert not any("do not fit" in reason for reason in found.reasons)


def test_images_are_called_as_the_card_calls_them():
    words = card(modalities=["CD31", "DAPI", "dots"])
    vessels, nuclei = section()
    found = look(slide(nuclei, vessels), words)
    assert found is not None
    assert found.reasons == ("CD31 and DAPI look swapped",)


def test_with_a_plan_the_verdict_is_on_its_windows_and_limits():
    vessels, nuclei = section()
    limits = Normalisation(
        *((float(np.percentile(i, 0.1)), float(np.percentile(i, 99.9))) for i in (vessels, nuclei))
    )
    found = assess(slide(), card(), 1.0, limits, [(0, 0)])
    assert found is not None
    assert found.verdict == USE
    assert assess(slide(), card(), 1.0, limits, []) is None


@pytest.mark.parametrize(
    ("familiarity", "verdict"),
    [(0.5, "use"), (0.05, "use"), (0.02, "with care"), (0.001, "do not use")],
)
def test_verdicts_follow_familiarity(familiarity, verdict):
    assert verdict_of(familiarity) == verdict


def test_a_verdict_and_its_reasons_are_one_line():
    assert in_a_line("use", ()) == "use"
    reasons = "is it sharp?", "the nuclei image is blank", "swapped"
    expected = "with care: is it sharp? the nuclei image is blank; swapped"
    assert in_a_line("with care", reasons) == expected


def test_nuclei_that_cover_a_part_only_ask_for_care():
    whole = slide()
    part = replace(whole, nuclei=replace(whole.nuclei, pixel_size_um=0.5))
    assert (whole.nuclei_share, part.nuclei_share) == (1.0, 0.25)
    found = look(part, card())
    assert found.verdict != USE
    assert found.reasons[0] == (
        "the nuclei cover 25 % of the vessels' image: the rest is predicted from vessels alone"
    )


def test_of_a_section_of_one_window_all_of_it_counts(monkeypatch):
    seen = []

    def counted(first, second):
        seen.append(first.shape)
        return window_statistics(first, second)

    monkeypatch.setattr("napari_damm.trust.section.window_statistics", counted)
    vessels, nuclei = (image[:256, :256] for image in section())
    assert look(slide(vessels, nuclei, 1.0), card()) is not None
    assert seen == [(192, 192)] * 4  # its corners
    seen.clear()
    whole = np.tile(vessels, (3, 3)), np.tile(nuclei, (3, 3))
    assert look(slide(*whole, 1.0), card()) is not None
    assert set(seen) == {(256, 256)}

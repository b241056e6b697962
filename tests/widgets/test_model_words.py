"""A model's card in an analyst's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_damm.model_file import read_card
from napari_damm.model_file.library import bundled_folder
from napari_damm.widgets.model_words import model_in_a_line, model_in_words

FILE = Path("models") / "own.safetensors"
CARD = {
    "modalities": ["vessels", "nuclei", "nanoparticles"],
    "pixel_size_um": 0.5,
    "training_data": {
        "kind": "images",
        "description": "2 sections (a, b; own images), after 'small' (6468 simulated sections)",
        "number_of_sections": 2,
        "pixel_size_um": 0.5,
        "sections": [{"shape": [1000, 2000]}, {"shape": [3000, 2000]}],
    },
}


def bundled() -> dict:
    return read_card(next(bundled_folder().glob("*.safetensors")))


def test_the_bundled_model_says_what_it_learnt_is_for_and_does_not_know():
    said = model_in_words(bundled(), FILE)
    assert "Predicts nanoparticles from vessels and nuclei" in said
    assert (
        "Learnt from: 6468 simulated sections of 640 px, no real tissue; 26 cm² of tissue" in said
    )
    assert "For: to show how napari-damm works" in said
    assert "• real nanoparticles were never seen" in said
    assert str(FILE) in said


def test_no_word_of_its_makers_is_left():
    said = model_in_words(bundled(), FILE).lower()
    for word in ("latent", "step", "preset", "format_version", "spread_factor", "batch"):
        assert word not in said
    assert "_" not in said.replace(str(FILE).lower(), "")


def test_a_line_of_the_bundled_model_is_a_warning():
    line = model_in_a_line(bundled())
    assert line == "1 µm/px · simulated tissue only, not validated on real sections"


def test_own_images_are_named_with_their_area():
    said = model_in_words(CARD, FILE)
    assert "Learnt from: 2 sections (a, b; own images)" in said
    assert "; 2 mm² of tissue" in said  # (2 + 6) megapixels of a quarter of a square micrometre
    assert "after 'small'" in said
    assert "no 90 % intervals" in said


@pytest.mark.parametrize(
    "training_data",
    [
        None,
        "nothing",
        {},
        {"description": "x" * 5000, "sections": [{"shape": ["a", None]}]},
        {"kind": 3, "number_of_sections": -1, "pixel_size_um": "1", "sections": 5},
        {"description": "ok", "number_of_sections": 1e300, "pixel_size_um": 1, "sections": [[]]},
    ],
)
def test_any_card_has_words(training_data):
    card = {**CARD, "training_data": training_data, "limits": "none", "intervals": 3}
    assert "Learnt from: " in model_in_words(card, FILE)
    assert len(model_in_words(card, FILE)) < 2000
    assert model_in_a_line(card)


def test_a_model_that_loses_to_a_linear_one_says_so():
    metrics = {"mean": {"r": 0.4}, "linear": {"r": 0.5}}
    assert "not better than a linear model" in model_in_words({**CARD, "metrics": metrics}, FILE)

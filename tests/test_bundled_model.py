"""The model that ships: real weights that follow the vessels on a section they never saw."""

from __future__ import annotations

import numpy as np

from napari_damm import api, metrics
from napari_damm.slide import slide_from_arrays

SEED = 10_006


def test_it_beats_the_best_blur_of_the_vessels_on_an_unseen_section():
    section = api.simulate_slide(512, SEED)
    images = {"vessels": section.vessels, "nuclei": section.nuclei}
    slide = slide_from_arrays(images, pixel_size_um=section.pixel_size_um)
    *_, finished = api.predict(slide)
    prediction = np.asarray(finished.result.np, np.float32)
    r = metrics.pearson_r(section.nanoparticles_true, prediction)
    assert r > 0.5
    assert r > metrics.best_blur(section.vessels, section.nanoparticles_true)[1]


def test_its_card_says_that_it_was_trained_on_simulated_tissue():
    card = api.load_model().card
    assert card["training_data"]["kind"] == "simulated"
    assert max(card["training_data"]["seeds"]) < 10_000
    assert card["pixel_size_um"] == 1.0
    assert card["metrics"]["mean"]["r"] > 0.6

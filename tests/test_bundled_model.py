"""The model that ships: real weights that do on a section they never saw what the page claims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from section_metrics import auroc
from skimage.measure import block_reduce

from napari_damm import api
from napari_damm.slide import slide_from_arrays
from napari_damm.util import metrics

SEED = 10_006
SIDE = 448


@pytest.fixture(scope="module")
def section():
    return api.simulate_slide(SIDE, SEED)


@pytest.fixture(scope="module")
def result(section):
    images = {"vessels": section.vessels, "nuclei": section.nuclei}
    slide = slide_from_arrays(images, pixel_size_um=section.pixel_size_um)
    *_, finished = api.predict(slide, config=api.PredictConfig(samples=3))
    return finished.result


@pytest.mark.slow
def test_it_beats_a_linear_model_that_was_fitted_on_the_very_section(section, result):
    from baselines.linear import linear_fit_predict

    truth = section.nanoparticles_true
    linear = linear_fit_predict(section.vessels, section.nuclei, truth)
    ours = metrics.pearson_r(truth, np.asarray(result.np, np.float32))
    assert ours > 0.7
    assert ours > metrics.pearson_r(truth, linear)


@pytest.mark.slow
def test_its_uncertainty_finds_the_nuclei_that_mislead(section, result):
    cells = SIDE // 32
    share = section.divergence.reshape(cells, 32, cells, 32).mean(axis=(1, 3))
    assert auroc(share > 0.5, np.asarray(result.uncertainty, np.float32)) > 0.85


def test_its_card_says_what_it_is():
    card = api.load_model().card
    data = card["training_data"]
    assert data["kind"] == "simulated"
    assert "no real tissue" in data["description"]
    assert max(entry["identity"]["seed"] for entry in data["sections"]) < 10_000
    assert card["pixel_size_um"] == 1.0
    assert card["spread_factor"] > 0
    assert "not for" in card["intended_use"]
    for preset in ("internal", "external"):
        mean, low, high = card["metrics"][f"{preset}, gated-mean"]["taken/fitted"]["pearson_r"]
        assert 0.6 < low <= mean <= high < 1


SCANNER = Path(__file__).parents[2] / "shared" / "real" / "scanner"


@pytest.mark.skipif(not SCANNER.is_dir(), reason="the scanner files are not there (../shared/real)")
def test_a_pair_of_hamamatsu_scans_has_more_particles_where_its_vessels_are():
    slide = api.open_slide(SCANNER / "tritc.ndpi", SCANNER / "dapi.ndpi")
    side = 800
    whole = np.asarray(slide.vessels.planes[0][0 : 4 * side, 0 : 5 * side])
    coarse = block_reduce(whole, side, np.mean)
    means = []
    for of in (np.argmax, np.argmin):  # the square of most stain, and of least
        y, x = (side * int(k) + side // 4 for k in np.unravel_index(of(coarse), coarse.shape))
        config = api.PredictConfig(roi=(y, x, y + 200, x + 200))
        *_, finished = api.predict(slide, None, config)
        particles = np.asarray(finished.result.np)
        assert particles.shape in {(46, 46), (46, 47), (47, 46), (47, 47)}
        means.append(float(particles.mean()))
    assert means[0] > means[1] > 0

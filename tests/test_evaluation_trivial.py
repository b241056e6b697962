"""Trivial methods on a section's ground, block by block; intervals and their scores."""

from __future__ import annotations

import numpy as np
import pytest
from test_evaluation_scores import made_ground

from napari_damm.evaluation import trivial
from napari_damm.evaluation.scores import residual_width, score_interval
from napari_damm.evaluation.trivial import BLUR, LINEAR, trivial_maps
from napari_damm.trust.trivial import LinearModel


class DrawnField:
    """Vessels and nuclei of noise, in [-1, 1], on the grid of the ground."""

    def __init__(self, shape):
        rng = np.random.default_rng(0)
        self.images = {role: rng.random(shape, np.float32) for role in ("primary", "secondary")}

    def read(self, role, box):
        return 2 * self.images[role][box.slices] - 1


def test_blocks_give_what_the_whole_section_would(monkeypatch):
    ground = made_ground()
    field = DrawnField(ground.truth.shape)
    whole = trivial_maps(field, ground)
    model = LinearModel()
    model.add(field.images["primary"], field.images["secondary"], ground.truth)
    expected = model.predict_both(field.images["primary"], field.images["secondary"])
    np.testing.assert_allclose(whole[LINEAR], expected.linear, atol=1e-5)
    np.testing.assert_allclose(whole[BLUR], expected.blur, atol=1e-5)
    monkeypatch.setattr(trivial, "BLOCK_PX", 100)
    cut = trivial_maps(field, ground)
    for name in whole:
        assert np.abs(cut[name] - whole[name]).max() < 0.05 * ground.truth.std()


def test_only_what_counts_is_fitted():
    inside = np.zeros(made_ground().truth.shape, bool)
    inside[32:160, 64:256] = True
    ground = made_ground(inside)
    field = DrawnField(ground.truth.shape)
    before = trivial_maps(field, ground)
    ground.truth[~inside] = 7.0
    after = trivial_maps(field, ground)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_the_best_blur_is_the_one_that_errs_least():
    rng = np.random.default_rng(0)
    from scipy import ndimage

    vessels, nuclei = rng.random((2, 96, 96))
    truth = ndimage.gaussian_filter(vessels, 4.0) * 3 + 0.2
    model = LinearModel()
    model.add(vessels, nuclei, truth)
    np.testing.assert_allclose(model.predict_both(vessels, nuclei).blur, truth, atol=1e-5)


def test_an_interval_is_scored_on_what_counts():
    inside = np.zeros(made_ground().truth.shape, bool)
    inside[:64] = True
    ground = made_ground(inside)
    off = ground.truth + np.float32(0.1)
    off[~inside] = 99.0
    wide, narrow = (score_interval(ground, off, half) for half in (0.2, 0.05))
    assert (wide["coverage"], narrow["coverage"]) == (100.0, 0.0)
    assert wide["interval_score"] == pytest.approx(0.4, rel=1e-5)
    assert narrow["interval_score"] == pytest.approx(0.1 + 20 * 0.05, rel=1e-4)
    assert residual_width(ground, off) == pytest.approx(0.164, abs=1e-3)

"""The benchmark of a real tracer: its measures on fields whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from baselines.pixel_unet import PixelUNet, predict_pixels, train_pixel_unet
from real_tracer import Field, blurred, half_distance, linear, main, rows_of
from scipy import ndimage

from napari_damm.dataset import SlideSource
from napari_damm.util.extravasation import vessel_distance


def field(seed, made):
    """A field whose tracer is `made` of its vessels and nuclei."""
    rng = np.random.default_rng(seed)
    vessels, nuclei = rng.random((2, 96, 128), np.float32)
    images = np.stack([vessels, nuclei, made(vessels, nuclei)])
    return Field(str(seed), images, SlideSource("a.tif"), 1.0)


def test_the_linear_model_finds_a_linear_tracer_on_a_field_it_never_saw():
    def made(vessels, nuclei):
        return 0.5 * ndimage.gaussian_filter(vessels, 2.0) - 0.2 * nuclei + 0.3

    train, judged = [field(0, made), field(1, made)], field(2, made)
    np.testing.assert_allclose(linear(train)(judged), judged.truth, atol=1e-4)


def test_the_blur_is_the_one_that_fits_the_training_fields():
    def made(vessels, nuclei):
        return 2 * ndimage.gaussian_filter(vessels, 3.0) + 1

    train, judged = [field(0, made)], field(2, made)
    np.testing.assert_allclose(blurred(train)(judged), judged.truth, atol=1e-4)


def test_half_distance_of_an_exponential_fall_is_its_own():
    vessels = np.zeros((400, 400), bool)
    vessels[:, 195:205] = True
    away = vessel_distance(vessels, 1.0)
    image = np.exp(-away / 10).astype(np.float32)
    assert half_distance(image, vessels, away) == pytest.approx(10 * np.log(2), abs=0.7)


def test_a_flat_tracer_has_no_half_distance():
    vessels = np.zeros((100, 100), bool)
    vessels[:, 48:52] = True
    away = vessel_distance(vessels, 1.0)
    assert np.isnan(half_distance(np.ones((100, 100), np.float32), vessels, away))


def test_the_table_has_intervals_over_fields():
    scores = {"r": 0.5, "SSIM": 0.5, "MSE": 0.1, "L50 error um": float("nan"), "spread": 1.0}
    found = {"01": {"blur": scores}, "02": {"blur": {**scores, "r": 0.7}}}
    ((method, r, *_, l50, _),) = rows_of(found, ["blur"])
    assert (method, l50) == ("blur", "none")
    assert r.startswith("0.600 (0.500 to 0.700")


@pytest.mark.slow
def test_the_u_net_takes_any_size_and_learns():
    made = predict_pixels(PixelUNet(), np.zeros((3, 50, 70), np.float32))
    assert made.shape == (50, 70)
    torch.manual_seed(0)
    easy = field(0, lambda vessels, nuclei: vessels).images
    easy = np.pad(easy, ((0, 0), (0, 64), (0, 64)), mode="reflect")
    net = train_pixel_unet([easy], seconds=3.0)
    assert not net.training


def test_without_the_pictures_it_says_so(tmp_path):
    with pytest.raises(SystemExit, match="skipped: the real pictures are not in"):
        main(["--real", str(tmp_path)])

"""The baselines of the benchmarks: what they are fitted to, and that training can be resumed."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from benchmarks import baselines
from scipy import ndimage

from napari_damm.util import metrics

TINY = (4, 4, 8, 8, 8, 4)


@pytest.fixture
def pictures():
    """Vessels and nuclei, float32 (40, 52) in 0..1."""
    return np.random.default_rng(0).random((2, 40, 52), dtype=np.float32)


@pytest.fixture
def config():
    """Five steps of a tiny network on one section of 64 px."""
    pytest.importorskip("monai")
    from benchmarks.baselines.sections import DataConfig
    from benchmarks.baselines.train import Training

    data = DataConfig(sections=1, section_size=64, crop_size=32, batch_size=2)
    return Training("unet", steps=5, bf16=False, features=TINY, data=data)


def tensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def test_linear_model_recovers_a_mix_of_its_features(pictures):
    vessels, nuclei = pictures
    target = 3 * ndimage.gaussian_filter(vessels.astype(float), 4.0) - 0.5 * nuclei + 7
    predicted = baselines.linear_fit_predict(vessels, nuclei, target)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, target, atol=1e-5)


def test_linear_model_is_at_least_as_good_as_the_blur(pictures):
    vessels, nuclei = pictures
    target = np.random.default_rng(1).random(vessels.shape) + vessels
    linear = baselines.linear_fit_predict(vessels, nuclei, target)
    blur = baselines.blur_fit_predict(vessels, target)
    assert metrics.psnr(target, linear) >= metrics.psnr(target, blur)


def test_blur_finds_width_and_scale(pictures):
    vessels, _ = pictures
    target = 2 * ndimage.gaussian_filter(vessels.astype(float), 6.0) + 5
    np.testing.assert_allclose(baselines.blur_fit_predict(vessels, target), target, atol=1e-5)


def test_images_of_two_shapes_are_refused(pictures):
    vessels, nuclei = pictures
    with pytest.raises(ValueError, match="one shape"):
        baselines.linear_fit_predict(vessels, nuclei[1:], nuclei)


def test_batches_are_squares_of_the_sections_by_seed_and_step(config):
    from benchmarks.baselines.sections import draw_batch, simulate_sections

    sections = simulate_sections(config.data)
    assert sections.shape == (1, 3, 64, 64)
    inputs, target = draw_batch(sections, config.data, seed=3, step=1)
    assert inputs.shape == (2, 2, 32, 32)
    assert target.shape == (2, 1, 32, 32)
    assert inputs.min() >= -1
    assert inputs.max() <= 1
    again, _ = draw_batch(sections, config.data, seed=3, step=1)
    other, _ = draw_batch(sections, config.data, seed=3, step=2)
    assert again.equal(inputs)
    assert not other.equal(inputs)


def test_networks_are_as_large_as_the_noise_estimator():
    pytest.importorskip("monai")
    from benchmarks.baselines.unet import build_unet

    count = sum(parameter.numel() for parameter in build_unet().parameters())
    assert count == pytest.approx(6.7e6, rel=0.03)


@pytest.mark.parametrize("kind", ["unet", "gan"])
def test_trained_network_predicts_images_of_any_size(config, kind, pictures, tmp_path):
    from benchmarks.baselines.train import train

    out = tmp_path / "net.safetensors"
    steps = list(train(replace(config, kind=kind, bf16=True), out))
    assert [step.number for step in steps] == [1, 2, 3, 4, 5]
    assert all(np.isfinite(list(step.losses.values())).all() for step in steps)
    predicted = baselines.load(out)(*pictures)
    assert predicted.shape == (40, 52)
    assert predicted.dtype == np.float32
    assert np.isfinite(predicted).all()
    assert predicted.std() > 0


def test_training_lowers_the_loss(config, tmp_path):
    from benchmarks.baselines.train import train

    longer = replace(config, steps=60)
    losses = [step.losses["L1"] for step in train(longer, tmp_path / "net.safetensors")]
    assert np.mean(losses[-10:]) < 0.85 * np.mean(losses[:5])


@pytest.mark.parametrize("kind", ["unet", "gan"])
def test_resumed_training_ends_as_an_uninterrupted_one(config, kind, tmp_path):
    from benchmarks.baselines.train import train

    config = replace(config, kind=kind)
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    list(train(config, whole))
    first = train(config, stopped)
    assert len(list(islice(first, 2))) == 2
    first.close()
    assert not stopped.exists()
    assert [step.number for step in train(config, stopped, resume=True)] == [3, 4, 5]
    expected, found = tensors(whole), tensors(stopped)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_state_of_another_training_is_refused(config, tmp_path):
    from benchmarks.baselines.train import train

    out = tmp_path / "net.safetensors"
    list(train(config, out))
    with pytest.raises(ValueError, match="another training"):
        next(train(replace(config, seed=9), out, resume=True))


def test_tiles_agree_with_the_whole_image_far_from_their_borders(tmp_path, monkeypatch):
    pytest.importorskip("monai")
    from benchmarks.baselines import weights
    from benchmarks.baselines.unet import build_unet

    out = tmp_path / "net.safetensors"
    net = build_unet(TINY)
    weights.save_network(net, out, {"features": TINY})
    assert baselines.parameters(out) == sum(p.numel() for p in net.parameters())
    images = np.random.default_rng(0).random((2, 200, 100), dtype=np.float32)
    predict = baselines.load(out)
    whole = predict(*images)
    monkeypatch.setattr(weights, "TILE", 160)
    tiled = predict(*images)
    assert tiled.shape == (200, 100)
    assert np.abs(tiled - whole).max() > 0
    np.testing.assert_allclose(tiled[:40], whole[:40], atol=1e-6)
    np.testing.assert_allclose(tiled[160:], whole[160:], atol=1e-6)


def test_other_files_are_refused(tmp_path):
    pytest.importorskip("monai")
    from safetensors.numpy import save_file

    path = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(1)}, path)
    with pytest.raises(ValueError, match="not the file of a trained baseline"):
        baselines.load(path)

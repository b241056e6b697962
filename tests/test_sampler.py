"""Sampling of windows: what a window's result may depend on, and what not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import random_model, tiny_config

from napari_damm.engine.noise import window_noise
from napari_damm.engine.sampler import Heartbeat, WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.model.batches import fixed_batches
from napari_damm.model.damm import select_branch
from napari_damm.sampling import SamplerStep, sample_dpm_solver
from napari_damm.schedule import NoiseSchedule

SIDE = 64

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model():
    return random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32)))


def windows(count):
    rng = np.random.default_rng(0)
    return [
        WindowInput((0, k), (0, 192 * k), *rng.uniform(-1, 1, (2, SIDE, SIDE)).astype(np.float32))
        for k in range(count)
    ]


def middle_gamma(model):
    """Return the median confidence of the first step, so that both branches are in use."""
    sampler = WindowSampler(model, Sampling("fast", 1, 0, 0.0, 2), "cpu")
    confidence = [1 - out.uncertainty.mean() for out in outputs(sampler, windows(5))]
    return float(np.median(confidence))


def outputs(sampler, pool):
    *_, last = sampler.run(pool)
    return last


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_a_window_is_the_same_in_any_pool(model, mode):
    sampler = WindowSampler(model, Sampling(mode, 3, 7, middle_gamma(model), 2), "cpu")
    together = outputs(sampler, windows(5))
    assert len({out.branch.tobytes() for out in together}) == 2
    for alone, pooled in zip((outputs(sampler, [w])[0] for w in windows(5)), together, strict=True):
        assert np.array_equal(alone.np, pooled.np)
        assert np.array_equal(alone.uncertainty, pooled.uncertainty)
        assert np.array_equal(alone.branch, pooled.branch)


def test_running_one_decoder_equals_running_both(model):
    gamma = middle_gamma(model)
    sampler = WindowSampler(model, Sampling("fast", 4, 7, gamma, 2), "cpu")
    for window, out in zip(windows(3), outputs(sampler, windows(3)), strict=True):
        image = torch.from_numpy(np.stack([window.primary, window.secondary]))[:, None, None]
        with torch.inference_mode():
            primary, secondary = model.encode(image[0], "primary"), model.encode(image[1], "nuclei")
            x_T = torch.from_numpy(window_noise(7, 0, window.corner[1] // 8, (4, 8, 8), 0))[None]

            def both(x, t, primary=primary, secondary=secondary):
                return select_branch(model.predict_noise(x, t, primary, secondary), gamma)[0]

            x_0 = sample_dpm_solver(both, x_T, NoiseSchedule(), 4)
            expected = (model.decode(x_0)[0, 0] + 1) / 2
        assert np.abs(out.np - expected.numpy()).max() < 1e-3 * np.abs(expected.numpy()).max()


def test_a_step_is_reported_for_each_timestep(model):
    sampling = Sampling("fast", 4, 0, 0.5, 2)
    *steps, _ = WindowSampler(model, sampling, "cpu").run(windows(2))
    told = [step.t for step in steps if isinstance(step, SamplerStep)]
    assert told == sampling.timesteps()


def test_there_is_a_chance_to_stop_at_every_window_that_is_encoded_or_decoded(model):
    *steps, _ = WindowSampler(model, Sampling("fast", 1, 0, 0.5, 2), "cpu").run(windows(3))
    assert [isinstance(step, Heartbeat) for step in steps] == [True] * 3 + [False] + [True] * 3


def test_three_image_channels_are_fed_by_replication_and_averaged_back():
    model = random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32), image_channels=3))
    out = outputs(WindowSampler(model, Sampling("fast", 1, 0, 0.5, 2), "cpu"), windows(1))[0]
    assert out.np.shape == (SIDE, SIDE)


def test_inference_mode_does_not_leak_out_of_a_suspended_run(model):
    running = WindowSampler(model, Sampling("fast", 3, 0, 0.5, 2), "cpu").run(windows(1))
    next(running)
    assert not torch.is_inference_mode_enabled()


def test_batches_have_one_size_and_cover_everything_once():
    batches = list(fixed_batches(5, 2, torch.device("cpu")))
    assert [index.tolist() for index, _ in batches] == [[0, 1], [2, 3], [4, 4]]
    assert [kept for _, kept in batches] == [2, 2, 1]

"""Predictions whose decoders compute in bfloat16: as good, and nothing else is rounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from models import random_model, tiny_config, velocity_model
from tape import Calls, Tape

from napari_damm import api
from napari_damm.engine.device_sampler import DeviceSampler
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.sampling import SamplerStep
from napari_damm.slide import slide_from_arrays

GREY = 255

pytestmark = pytest.mark.usefixtures("one_thread")


def maps(result):
    return [np.asarray(each) for each in (result.np, result.uncertainty, result.branch)]


@pytest.mark.parametrize("mode", ["expected", "draft"])
def test_the_bundled_model_s_map_is_off_by_less_than_a_grey_level(mode):
    made = api.simulate_slide(448, 10_003)
    images = {"vessels": made.vessels, "nuclei": made.nuclei}
    slide = slide_from_arrays(images, pixel_size_um=made.pixel_size_um)
    model = api.load_model(None, "cpu")
    full, half = (
        maps(
            list(api.predict(slide, model, api.PredictConfig(mode=mode, device="cpu", **more)))[
                -1
            ].result
        )
        for more in ({}, {"precision": "bf16"})
    )
    off = GREY * np.abs(full[0] - half[0])
    assert off.max() > 0
    assert (off < 1).mean() >= 0.999
    assert np.array_equal(full[2], half[2])
    if mode == "expected":  # what encodes is not rounded, and nothing else reaches the gate
        assert np.array_equal(full[1], half[1])


@pytest.fixture(params=["velocity", "noise"])
def model(request):
    if request.param == "velocity":
        return velocity_model()
    return random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32)))


def windows(count):
    rng = np.random.default_rng(0)
    return [
        WindowInput((0, k), (0, 192 * k), *rng.uniform(-1, 1, (2, 64, 64)).astype(np.float32))
        for k in range(count)
    ]


HALF = Sampling("fast", 2, 7, 0.5, 2, precision="bf16")


def test_what_goes_on_from_step_to_step_stays_in_float32(model):
    for sampler in (WindowSampler(model, HALF, "cpu"), DeviceSampler(model, HALF, "cpu", Tape())):
        *steps, outputs = sampler.run(windows(2))
        kinds = {step.x.dtype for step in steps if isinstance(step, SamplerStep)}
        assert kinds == {torch.float32}
        assert {each.np.dtype for each in outputs} == {np.dtype(np.float32)}
        # an image is rounded once: its intensities are computed from that in float32
        image = torch.from_numpy(outputs[0].np)
        assert not torch.equal(image.bfloat16().float(), image)
        z = torch.randn(2, 4, 8, 8)
        with torch.inference_mode():
            noise = sampler.denoiser(z, z).denoise(z, torch.full((2,), 500))
        assert noise.dtype == torch.float32


def test_the_card_s_sampler_rounds_what_the_other_does(model):
    known, found, full = (
        list(sampler.run(windows(3)))[-1]
        for sampler in (
            WindowSampler(model, HALF, "cpu"),
            DeviceSampler(model, HALF, "cpu", Tape()),
            WindowSampler(model, replace(HALF, precision="full"), "cpu"),
        )
    )
    for a, b, c in zip(known, found, full, strict=True):
        assert np.abs(a.np - b.np).max() < 0.02 * np.abs(a.np).max()
        assert not np.array_equal(a.np, c.np)
        assert not np.array_equal(b.np, c.np)


def test_in_full_precision_nothing_is_rounded(model):
    with Calls() as calls:
        list(WindowSampler(model, replace(HALF, precision="full"), "cpu").run(windows(1)))
    made = [each[4] for each in calls.noted if isinstance(each[4], torch.Tensor)]
    assert len(made) > 100
    assert torch.bfloat16 not in {each.dtype for each in made}

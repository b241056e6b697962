"""The sampler for graphics cards, on the CPU: the same maps, and nothing that would wait on a card.

`Tape` stands in for CUDA graphs.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import replace

import jobs
import numpy as np
import pytest
import torch
from models import random_model, tiny_config
from tape import HOST_READS, Calls, Tape
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from napari_damm.engine import device_sampler
from napari_damm.engine.config import STEPS, samples_at_once
from napari_damm.engine.device_sampler import DeviceSampler
from napari_damm.engine.recovery import Downgraded, Ladder, WindowFailed, WindowsDone, sample_pool
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.events import FailedItem
from napari_damm.model import DAMM, DAMMConfig
from napari_damm.model.autoencoder import AutoencoderConfig
from napari_damm.sampling import SamplerStep
from napari_damm.store.layout import halve

SIDE, BATCH = 64, 2
CPU = ProfilerActivity.CPU

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model():
    """Return a model of our recipe: a gate for each cell, a guided decoder, and detail."""
    config = DAMMConfig.of_preset("tiny", "ours")
    stage = AutoencoderConfig((32, 32, 32), 1, 4)
    stages = (stage, stage, replace(stage, guided=True))
    return random_model(replace(config, first_stages=stages, uni_share=0.5))


@pytest.fixture(scope="module")
def paper_model():
    return random_model(tiny_config((32, 32, 32, 32), (32, 32, 32, 32)))


def windows(count):
    rng = np.random.default_rng(0)
    return [
        WindowInput((0, k), (0, 192 * k), *rng.uniform(-1, 1, (2, SIDE, SIDE)).astype(np.float32))
        for k in range(count)
    ]


def outputs(sampler, pool):
    *_, last = sampler.run(pool)
    return last


def sampling(model: DAMM, mode="fast", steps=3, samples=1, views=1):
    first = WindowSampler(model, Sampling("fast", 1, 0, 0.0, BATCH), "cpu")
    confidence = [1 - each.uncertainty for each in outputs(first, windows(2))]
    if model.config.gate == "window":
        confidence = [each.mean() for each in confidence]
    gamma = float(np.median(confidence))
    return Sampling(mode, steps, 7, gamma, BATCH, samples, views=views)


@pytest.mark.parametrize(
    ("mode", "steps", "samples"),
    [("expected", 1, 1), ("fast", 2, 2), ("draft", 2, 1), ("reference", 2, 1), ("reference", 2, 3)],
)
def test_the_maps_are_those_of_the_other_sampler(model, mode, steps, samples):
    check_maps(model, sampling(model, mode, steps, samples))


def test_a_single_step_is_not_recorded_but_those_of_samples_beside_it_are(model):
    tape = Tape()
    expected = sampling(model, "expected", 1)
    outputs(DeviceSampler(model, expected, "cpu", tape), windows(1))
    assert tape.recorded == 0
    outputs(DeviceSampler(model, replace(expected, samples=2), "cpu", tape), windows(1))
    assert tape.recorded == 1


def test_the_mean_of_turned_copies_is_too(model):
    check_maps(model, sampling(model, "expected", 1, 2, views=2))


def test_the_maps_of_the_papers_model_are_too(paper_model):
    check_maps(paper_model, sampling(paper_model, "fast", 2, 1))


def check_maps(model, how):
    device = DeviceSampler(model, how, "cpu", Tape())
    known = outputs(WindowSampler(model, how, "cpu"), windows(BATCH + 1))
    found = outputs(device, windows(BATCH + 1))
    assert not device.step.trouble
    assert how.mode != "expected" or len({code for each in known for code in each.branch.flat}) == 2
    check_alike(known, found)


def check_alike(known, found):
    for a, b in zip(known, found, strict=True):
        assert a.window == b.window
        for name in ("np", "uncertainty", "std"):
            one, other = getattr(a, name), getattr(b, name)
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3 * np.abs(one).max())
        assert np.array_equal(a.branch, b.branch)


def test_an_expected_map_gets_its_spread_from_samples_drawn_beside(model, monkeypatch):
    monkeypatch.setitem(STEPS, "fast", 2)
    how = sampling(model, "expected", 1, 2)
    known = outputs(WindowSampler(model, how, "cpu"), windows(1))[0]
    found = outputs(DeviceSampler(model, how, "cpu", Tape()), windows(1))[0]
    for name in ("np", "std", "uncertainty"):
        one, other = getattr(known, name), getattr(found, name)
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3 * np.abs(one).max())


def test_a_window_is_the_same_in_any_pool(model):
    device = DeviceSampler(model, sampling(model, steps=2), "cpu", Tape())
    together = outputs(device, windows(BATCH))
    alone = outputs(device, windows(BATCH)[1:2])[0]
    assert np.array_equal(alone.np, together[1].np)
    assert np.array_equal(alone.uncertainty, together[1].uncertainty)


def test_a_step_counts_the_windows_that_were_asked_for(model):
    how = sampling(model, steps=2)
    rows = [
        len(each.x)
        for each in DeviceSampler(model, how, "cpu", Tape()).run(windows(BATCH + 1))
        if isinstance(each, SamplerStep)
    ]
    assert rows == [BATCH] * 2 + [1] * 2


def test_a_denoising_step_asks_the_host_nothing_and_cuts_no_features(model):
    tape = Tape()
    outputs(DeviceSampler(model, sampling(model), "cpu", tape), windows(1))
    called = Counter(name for name, *_ in tape.calls)
    assert called["cat"] > 10  # it has been looked at
    assert not [name for name in HOST_READS if called[name]]
    assert not [call for call in tape.calls if call[0] == "index" and call[2][0].ndim == 4]


@pytest.mark.parametrize("count", [BATCH, 1])
def test_of_several_samples_none_copies_what_guides_the_decoder(model, count):
    how = sampling(model, steps=2, samples=2)
    device, pool = DeviceSampler(model, how, "cpu", Tape()), windows(count)
    outputs(device, pool)
    device.step._recorded = {shapes: _Free() for shapes in device.step._recorded}
    with Calls() as calls:
        outputs(device, pool)
    picked = [call for call in calls.named(("index", "index_select")) if call[2][0].ndim == 4]
    assert not picked


@pytest.mark.parametrize(("count", "batch"), [(BATCH + 1, BATCH), (2, 3)])
def test_a_sample_is_the_same_alone_and_among_others(model, count, batch):
    pool = windows(count)
    how = replace(sampling(model, steps=2, samples=3), batch_size=batch)
    several = outputs(DeviceSampler(model, how, "cpu", Tape()), pool)
    alone = outputs(DeviceSampler(model, replace(how, samples=1), "cpu", Tape()), pool)
    for one, other in zip(several, alone, strict=True):
        assert one.window == other.window
        assert len(one.samples) == 3
        assert np.array_equal(one.samples[0], halve(halve(other.np)))
        assert not np.array_equal(one.samples[1], one.samples[2])
    for one, window in zip(several, pool, strict=True):
        (other,) = outputs(DeviceSampler(model, how, "cpu", Tape()), [window])
        assert np.array_equal(one.samples, other.samples)


@pytest.mark.parametrize(
    ("device", "samples", "together"),
    [("cuda", 1, 1), ("cuda", 8, 1), ("cuda", 9, 9), ("cpu", 4, 4), ("mps", 4, 4)],
)
def test_a_pool_on_a_card_is_a_full_batch_of_windows(device, samples, together):
    assert samples_at_once(device, samples) == together


@pytest.fixture
def as_on_a_card(model, monkeypatch):
    """Compute as on CUDA, as far as that goes on a CPU: everything is kept channel by channel."""

    def upsampled(x, weight, bias):
        larger = F.interpolate(x, scale_factor=2.0, mode="nearest-exact")
        return F.conv2d(larger, weight, bias, padding=1)

    monkeypatch.setattr("napari_damm.model.fusion.memory_format", lambda _: torch.contiguous_format)
    monkeypatch.setattr("napari_damm.model.layers.upsample_by_phases", upsampled)
    return copy.deepcopy(model).to(memory_format=torch.contiguous_format)


def test_a_denoising_step_copies_no_features_into_another_layout(as_on_a_card):
    model = as_on_a_card
    unet = model.unet.config
    z = torch.randn(2, unet.latent_channels, 16, 16)
    device = DeviceSampler(model, sampling(model), "cpu")
    model.to(memory_format=torch.contiguous_format)
    with torch.inference_mode(), profile(activities=[CPU], record_shapes=True) as profiler:
        device._both_branches(z, torch.full((2,), 500), z, z)
    clones = [event for event in profiler.events() if event.name == "aten::clone"]
    copied = [each for each in clones if "upsample" not in callers(each)]
    # tokens of the bottleneck, a 1/64 of the features, are turned for the attention
    tokens = 2 * (16 // unet.factor) ** 2 * 2 * unet.channels[-1]
    assert all(math.prod(each.input_shapes[0]) <= tokens for each in copied)
    assert len(copied) <= 2


def callers(event):
    """Name what an operation was called by; torch lays out anew to upsample, on the CPU only."""
    parent = event.cpu_parent
    return "" if parent is None else f"{parent.name} {callers(parent)}"


@pytest.mark.parametrize(
    ("mode", "samples", "most"),
    [("fast", 1, 60), ("draft", 2, 60), ("reference", 1, 300), ("reference", 2, 300)],
)
def test_between_the_replayed_steps_there_are_only_latents(model, monkeypatch, mode, samples, most):
    """Where noise is added it is drawn by some 200 operations on small integers."""
    device = DeviceSampler(model, sampling(model, mode, 5, samples), "cpu", Tape())
    outputs(device, windows(BATCH))
    running = device.run(windows(BATCH))
    monkeypatch.setattr(device.step, "_recorded", {s: _Free() for s in device.step._recorded})
    latent = BATCH * 4 * (SIDE // 4) ** 2
    steps = 0
    while True:
        with Calls() as calls:
            step = next(running)
        if not isinstance(step, SamplerStep):
            continue
        steps += 1
        if steps == 1:  # the images are encoded before it
            continue
        # the schedule lies on the host, in float64: reading it waits for nothing
        reads = [c for c in calls.named(HOST_READS) if c[2][0].dtype != torch.float64]
        assert not reads
        made = [c[4].numel() for c in calls.noted if isinstance(c[4], torch.Tensor)]
        assert max(made) <= latent
        assert len(made) < most
        if steps == 4:
            break
    running.close()


class _Free:
    """A replay that costs nothing."""

    def __call__(self, given):
        x_t, *_ = given
        cells = torch.zeros(len(x_t), 1, 1)
        return x_t.clone(), cells > 0, cells


def test_where_steps_cannot_be_recorded_it_goes_on_and_says_so_once(model):
    tape = Tape(fails=RuntimeError("no graphs"))
    device = DeviceSampler(model, sampling(model, steps=2), "cpu", tape)
    messages = list(sample_pool(Ladder(device), windows(BATCH)))
    messages += sample_pool(Ladder(device), windows(1))
    (told,) = [each for each in messages if isinstance(each, Downgraded)]
    assert "no graphs" in told.message
    assert not told.out_of_memory
    assert sum(len(each.outputs) for each in messages if isinstance(each, WindowsDone)) == BATCH + 1
    assert not any(isinstance(each, WindowFailed) for each in messages)


def test_the_ladder_steps_down_where_a_recording_does_not_fit(model):
    class Small(Tape):
        def __call__(self, work):
            if device_of(work).sampling.batch_size > 1:
                raise torch.OutOfMemoryError("the card is full")
            return super().__call__(work)

    def device_of(work):
        return ladder.current

    ladder = Ladder(DeviceSampler(model, sampling(model, steps=2), "cpu", Small()))
    messages = list(sample_pool(ladder, windows(BATCH)))
    assert isinstance(ladder.current, DeviceSampler)
    assert ladder.current.sampling.batch_size == 1
    assert sum(len(each.outputs) for each in messages if isinstance(each, WindowsDone)) == BATCH
    assert any(isinstance(each, Downgraded) and each.out_of_memory for each in messages)


def test_one_pool_has_the_card_at_a_time_and_gives_it_back_when_closed(model):
    device = DeviceSampler(model, sampling(model), "cpu", Tape())
    first, second = device.run(windows(1)), device.run(windows(1))
    assert isinstance(next(first), SamplerStep)
    assert not isinstance(next(second), SamplerStep)  # a chance to stop, while it waits
    first.close()
    assert isinstance(next(second), SamplerStep)
    second.close()


def test_a_whole_prediction_is_that_of_the_processor(tmp_path, monkeypatch):
    """With several readers and two pools in flight, as on CUDA; cut into other shards too."""
    jobs.quick_first_stages(monkeypatch.setattr)
    jobs.make(tmp_path)
    known = jobs.run(tmp_path, None, steps=2)[-1].result
    tape = Tape()
    monkeypatch.setattr(device_sampler, "GRAPHED", ("cpu",))
    monkeypatch.setattr(device_sampler, "CudaRecorder", lambda: tape)
    monkeypatch.setattr("napari_damm.engine.pipeline.default_readers", lambda device: 3)
    monkeypatch.setattr("napari_damm.engine.pipeline.pool_batches", lambda device: 1)
    *events, last = jobs.run(tmp_path, None, steps=2, lanes=2)
    assert tape.replayed > tape.recorded == 1
    assert not any(isinstance(event, FailedItem) for event in events)
    np.testing.assert_allclose(last.result.np, known.np, atol=2e-3)
    np.testing.assert_allclose(last.result.uncertainty, known.uncertainty, atol=2e-3)
    assert np.array_equal(last.result.branch.compute(), known.branch.compute())
    again = jobs.run(tmp_path, None, steps=2, lanes=1, shard=512)[-1].result
    for name in ("np", "uncertainty", "branch"):
        one, other = (getattr(each, name).compute() for each in (again, last.result))
        assert np.array_equal(one, other)

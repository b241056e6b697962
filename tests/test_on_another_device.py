"""What is done on a card mixes nothing with what lies on the host, and reads nothing back.

The device "meta" stands in for a card: its tensors have shapes and no values, so that what is read
back is refused; what mixes it with the host, `OneDevice` refuses.
"""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from models import guided
from test_device_batches import CELL, VIEWS, Pictures
from test_device_sampler import windows
from test_recorded_autoencoder import KINDS, OURS, data, prepared  # noqa: F401 (a fixture)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trainings import base_model, config

from napari_damm.engine import transfers
from napari_damm.engine.config import STEPS
from napari_damm.engine.device_sampler import DeviceSampler
from napari_damm.engine.setup import Sampling
from napari_damm.model import VQGAN, Autoencoder
from napari_damm.train import recorded_step
from napari_damm.train.autoencoder import AutoencoderState, AutoencoderTraining
from napari_damm.train.autoencoder.device_pictures import DevicePictures
from napari_damm.train.autoencoder.learning import RecordedLearning
from napari_damm.train.autoencoder.pictures import SHARES, PicturePool
from napari_damm.train.device_batches import DeviceBatches, sections_within
from napari_damm.train.expected import choose_parameters
from napari_damm.train.gradients import Gradients
from napari_damm.train.section_blocks import BLOCK_BYTES
from napari_damm.train.state import TrainState
from napari_damm.train.step import GATED, JOINT
from napari_damm.util import sending

META = "meta"
ROOMS = [2**30, 4 * BLOCK_BYTES]


class OneDevice(TorchDispatchMode):
    """Refuses operations on tensors of two devices, but for copies and single numbers, as CUDA."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        devices = {each.device.type for each in given if each.ndim}
        name = func.overloadpacket.__name__
        assert len(devices) < 2 or name in ("copy_", "_to_copy"), name
        return func(*args, **kwargs)


class Draws:
    """Stands for a generator on the card."""

    def __init__(self, device="cpu"):
        self.device = device

    def manual_seed(self, seed):
        return self


class Started:
    """Stands for a recorded step: it is started as it is."""

    trouble = ""

    def __init__(self, function, recorder, touches):
        self.function = function

    def __call__(self, *given):
        assert {each.device.type for each in given} == {META}
        return self.function(*given)


@pytest.fixture(autouse=True)
def _as_on_a_card(monkeypatch):
    def pinned(self):
        assert self.device.type == "cpu"  # torch refuses others
        return self

    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(sending, "STAGED_BYTES", 0)
    monkeypatch.setattr(sending, "takes_at_once", lambda device: True)
    monkeypatch.setattr(transfers.Transfers, "fetch", lambda self, value: lambda: value)
    monkeypatch.setattr(recorded_step, "StepGraph", Started)
    monkeypatch.setattr(torch, "autocast", lambda *given, **settings: nullcontext())
    monkeypatch.setattr(torch, "Generator", Draws)
    for name in ("randn", "randint"):
        made = getattr(torch, name)
        monkeypatch.setattr(
            torch, name, lambda *given, made=made, generator=None, **more: made(*given, **more)
        )
    with OneDevice():
        yield


@pytest.mark.parametrize("room", ROOMS)
def test_views_are_cut_there(room):
    fields = [Pictures((330, 400), 0), Pictures((350, 390), 50)]
    sections = sections_within(room, fields, META)
    found = sections.read([k % 2 for k in range(len(VIEWS))], VIEWS, CELL)
    assert [each.device.type for each in found] == [META] * 2


@pytest.mark.parametrize("room", ROOMS)
def test_batches_and_crops_are_made_there(data, room):  # noqa: F811
    fields, split = data
    sections = sections_within(room, fields, META)
    model = base_model().to(META)
    batches = DeviceBatches(model, fields, split, config(jitter=0.5), None, sections, 2**30)
    for made in (batches.batch(0), batches.batch(1), batches.crops(0, 2, 128, 0.5)):
        assert {each.device.type for each in made} == {META}


@pytest.mark.parametrize(("number", "phase"), [(0, JOINT), (2, GATED), (14, GATED), (15, JOINT)])
def test_steps_are_computed_there(data, number, phase):  # noqa: F811
    fields, split = data
    wishes, model = config(noise_every=2, expected_crops=2), guided().to(META)
    choose_parameters(model)
    state = TrainState(model, 1e-4, ema_decay=0.9)
    machine = SimpleNamespace(
        wrap=lambda network: network, rank=0, world=1, kind="cpu", arithmetic=nullcontext
    )
    sections = sections_within(2**30, fields, META)
    batches = DeviceBatches(model, fields, split, wishes, None, sections, 2**30)
    parts = SimpleNamespace(config=wishes, machine=machine, model=model)
    gradients = Gradients(parts, batches, state)
    known = SimpleNamespace(tolist=lambda: [True, True])
    gradients._transfers = SimpleNamespace(fetch=lambda value: lambda: known)
    steps = recorded_step.RecordedSteps(state, 1.0, None)
    steps.take(gradients.pieces(number, 0.5, phase), 1e-4)
    assert state.step == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [0, 6])
def test_autoencoders_learn_there(data, kind, number):  # noqa: F811
    sizes, settings, _ = KINDS[kind]
    stage = (Autoencoder(sizes) if sizes is OURS else VQGAN(sizes)).to(META).train()
    wishes = AutoencoderTraining(**{**settings, "steps": 8})
    state = AutoencoderState(stage, wishes)
    state.stage.step = number
    image = prepared(data, 4 * BLOCK_BYTES, device=META)._batch("primary", 0)
    assert image.device.type == META
    RecordedLearning(state, wishes, None, None).learn(image[:2])
    assert state.step == number + 1


def test_crops_of_pictures_are_made_there():
    pool = PicturePool.__new__(PicturePool)
    pool.pictures = {kind: [np.zeros((90, 100), np.float32)] for kind in SHARES}
    made = DevicePictures(pool, 8, 64, META)
    assert made.batch(0).device.type == META
    made.close()


@pytest.mark.parametrize(
    ("mode", "steps", "samples", "precision"),
    [("expected", 1, 3, "full"), ("fast", 2, 2, "bf16"), ("reference", 3, 2, "full")],
)
def test_windows_are_sampled_there(monkeypatch, mode, steps, samples, precision):
    def fetched(self, value):
        kind = bool if value.dtype == torch.bool else np.float32
        return lambda: np.zeros(value.shape, kind)

    monkeypatch.setattr(transfers.Transfers, "fetch", fetched)
    monkeypatch.setitem(STEPS, "fast", 2)
    how = Sampling(mode, steps, 7, 0.5, 2, samples, precision=precision)
    *_, last = DeviceSampler(guided().to(META), how, META).run(windows(3))
    assert len(last) == 3

"""Small tensors reach a device; only CUDA takes what may be gone before it is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import velocity_model
from torch.overrides import TorchFunctionMode

from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput
from napari_damm.schedule import NoiseSchedule
from napari_damm.util.sending import STAGED_BYTES, sent


class Sent(TorchFunctionMode):
    """Notes whether what is sent is waited for."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if getattr(func, "__name__", "") == "to":
            self.noted.append(bool((kwargs or {}).get("non_blocking")))
        return func(*args, **(kwargs or {}))


class Stub:
    def __init__(self, nbytes, pinned=False, device="cpu"):
        self.nbytes, self.pinned, self.device = nbytes, pinned, torch.device(device)

    def pin_memory(self):
        assert self.device.type == "cpu"  # torch refuses others
        return Stub(self.nbytes, True)

    def to(self, device, non_blocking=False):
        return str(device), non_blocking, self.pinned


@pytest.mark.parametrize(
    ("device", "at_once"), [("cuda", True), ("cuda:1", True), ("mps", False), ("cpu", False)]
)
def test_only_on_cuda_nothing_waits_and_what_is_large_is_pinned(device, at_once):
    for nbytes in (STAGED_BYTES, STAGED_BYTES + 1):
        pinned = at_once and nbytes > STAGED_BYTES
        assert sent(Stub(nbytes), torch.device(device)) == (device, at_once, pinned)


def test_what_lies_on_a_card_already_is_not_pinned():
    assert sent(Stub(STAGED_BYTES + 1, device="cuda"), "cuda") == ("cuda", False, False)


def test_the_sampler_of_other_devices_never_sends_without_waiting():
    rng = np.random.default_rng(0)
    pair = rng.uniform(-1, 1, (2, 64, 64)).astype(np.float32)
    sampler = WindowSampler(velocity_model(), Sampling("fast", 2, 7, 0.5, 1), "cpu")
    with Sent() as told:
        list(sampler.run([WindowInput((0, 0), (0, 0), *pair)]))
    assert told.noted
    assert not any(told.noted)


def test_noise_is_added_as_before():
    x_0, eps = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(())
    abar = NoiseSchedule().alphas_cumprod[[3, 900]].view(2, 1, 1, 1)
    expected = abar.sqrt().float() * x_0 + (1 - abar).sqrt().float() * eps
    assert torch.equal(NoiseSchedule().add_noise(x_0, eps, torch.tensor([3, 900])), expected)

"""How long a window takes is timed where nothing has to set itself up any more."""

from __future__ import annotations

import time

import pytest
import torch

from napari_damm.engine import timing
from napari_damm.engine.denoiser import Denoiser
from napari_damm.engine.drawn import Conditions
from napari_damm.engine.setup import Sampling

FIRST_S = 0.2


class SlowAtFirst:
    """A sampler on a device that is not there; each of its parts takes long at its first use."""

    sampling = Sampling("fast", 1, 0, 0.5, 2)
    first_stage_batch = 2

    def __init__(self, device):
        self._known = set()
        self.device = device

    def _use(self, part):
        if part not in self._known:
            time.sleep(FIRST_S)
        self._known.add(part)

    def encode(self, windows):
        self._use("encoders")
        z = torch.zeros(len(windows), 1, 2, 2)
        return Conditions(z, z, [], z)

    def decode(self, x_0, given, multi):
        self._use("decoder")

    def denoiser(self, primary, secondary):
        def gated(x_t, t):
            self._use("step")
            return x_t, multi, multi

        multi = torch.zeros(2, 1, 1)
        return Denoiser(gated, primary, False)


@pytest.fixture
def without_devices(monkeypatch):
    """Let tensors for any device lie on the processor; return how often it was waited for."""
    waited = []
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append(1))
    ones, full = torch.ones, torch.full
    monkeypatch.setattr(torch, "ones", lambda *a, device=None, **k: ones(*a, **k))
    monkeypatch.setattr(torch, "full", lambda *a, device=None, **k: full(*a, **k))
    return waited


def test_on_a_card_no_first_use_is_timed_and_each_part_to_its_end(without_devices):
    assert max(timing._parts(SlowAtFirst("mps"), 64)) < FIRST_S / 4
    assert len(without_devices) == 4  # the first uses, encoders, decoder, a step


@pytest.mark.usefixtures("without_devices")
def test_on_a_processor_encoders_are_timed_at_once():
    encoders, decoder, _ = timing._parts(SlowAtFirst("cpu"), 64)
    assert min(encoders, decoder) >= FIRST_S / 2

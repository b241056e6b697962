"""Batches on a card are as large as its memory allows; a job that was begun keeps its own."""

from __future__ import annotations

import pytest
from models import random_model

from napari_damm.engine import device_memory
from napari_damm.engine.device_memory import begun_on_a_card, fitting_batch, window_bytes

GIB = 2**30


@pytest.fixture(scope="module")
def model():
    return random_model()


@pytest.mark.parametrize(
    ("gib", "workers", "batch"), [(80, 1, 256), (24, 1, 128), (8, 1, 32), (1, 1, 8), (80, 4, 128)]
)
def test_batches_halve_until_they_fit(monkeypatch, model, gib, workers, batch):
    monkeypatch.setattr(device_memory, "free_bytes", lambda: gib * GIB)
    monkeypatch.setattr(device_memory, "workers_per_card", lambda workers: workers)
    assert fitting_batch(256, model, 256, workers) == batch
    assert batch == 8 or batch * window_bytes(model, 256) * workers <= 0.8 * gib * GIB


@pytest.mark.parametrize(
    ("record", "batch"),
    [
        ({"device": "cuda", "batch_size": 64}, 64),
        ({"device": "cpu", "batch_size": 4}, None),
        ({"device": "cuda", "batch_size": 10**9}, None),
        ({"device": "cuda", "batch_size": "64"}, None),
        ({}, None),
    ],
)
def test_a_job_begun_on_a_card_goes_on_with_its_batches(record, batch):
    assert begun_on_a_card(record) == batch

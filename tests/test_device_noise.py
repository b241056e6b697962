"""The noise that a graphics card draws is the processor's; shown on tensors of the processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_noise import KNOWN_ANSWERS, words

from napari_damm.engine.device_noise import DeviceNoise, philox4x32
from napari_damm.engine.noise import window_noise

CORNERS, SHAPE = ((3, 2**32 - 40), (2**31, 7)), (6, 5, 4)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter, key, answer):
    low, high = (int(word) for word in words(key))
    given = [torch.tensor([int(word)]) for word in words(counter)]
    drawn = [int(word) for word in philox4x32(given, low + (high << 32))]
    assert drawn == [int(word) for word in words(answer)]


@pytest.mark.parametrize("step", [0, 1, 201])
def test_windows_have_the_noise_of_their_places(step):
    seed, streams = 2**64 - 3, (0, 2**32 - 1)
    together = DeviceNoise(seed, CORNERS, SHAPE, streams, "cpu")(step)
    assert together.dtype == torch.float32
    for corner, stream, drawn in zip(CORNERS, streams, together, strict=True):
        known = window_noise(seed, *corner, SHAPE, step, stream)
        np.testing.assert_allclose(drawn.numpy(), known, rtol=3e-7, atol=0)


def test_few_values_differ_in_their_last_bit():
    shape = (4, 200, 200)
    drawn = DeviceNoise(1, [(0, 0)], shape, [0], "cpu")(0)[0].numpy()
    assert np.mean(drawn == window_noise(1, 0, 0, shape, 0, 0)) > 0.9999


def test_places_that_have_no_noise_of_their_own_are_refused():
    with pytest.raises(ValueError, match=r"x must be in 0\.\.4294967291, got 4294967292"):
        DeviceNoise(0, [(0, 2**32 - 4)], SHAPE, [0], "cpu")

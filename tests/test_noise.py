"""Noise keyed by position."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_damm.engine.noise import MAX_STEP, philox4x32, window_noise

# Random123 1.14, tests/kat_vectors, "philox4x32 10": counter, key, words.
ZEROS, ONES = "00000000 " * 4, "ffffffff " * 4
PI = "243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0"
KNOWN_ANSWERS = [
    (ZEROS, "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    (ONES, "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (*PI, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return np.array([int(word, 16) for word in text.split()], np.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_words(counter, key, answer):
    result = philox4x32(words(counter), words(key))
    assert result.dtype == np.uint32
    np.testing.assert_array_equal(result, words(answer))


def test_philox_treats_every_counter_on_its_own():
    counters = np.stack([words(counter) for counter, _, _ in KNOWN_ANSWERS])
    together = philox4x32(counters, words("00000000 00000000"))
    for counter, result in zip(counters, together, strict=True):
        np.testing.assert_array_equal(philox4x32(counter, words("00000000 00000000")), result)


def test_noise_is_box_muller_of_the_words_at_its_position():
    seed, y, x, step, stream = 5 * 2**32 + 7, 11, 13, 17, 19
    drawn = philox4x32(
        np.array([x, y, (step << 8) + 1, stream], np.uint32), np.array([7, 5], np.uint32)
    )
    u = (drawn.astype(np.float64) + 0.5) / 2**32
    radius = np.sqrt(-2 * np.log(u[:2]))
    expected = [*(radius * np.cos(2 * np.pi * u[2:])), *(radius * np.sin(2 * np.pi * u[2:]))]
    noise = window_noise(seed, y, x, (8, 1, 1), step, stream)
    np.testing.assert_allclose(noise[4:, 0, 0], expected, rtol=1e-6)


@given(
    seed=st.integers(0, 2**64 - 1),
    corner=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
    offset=st.tuples(st.integers(0, 12), st.integers(0, 12)),
    size=st.tuples(st.integers(13, 21), st.integers(13, 21)),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_overlapping_windows_read_the_same_noise_bit_for_bit(seed, corner, offset, size, channels):
    (y, x), (dy, dx), (height, width) = corner, offset, size
    first = window_noise(seed, y, x, (channels[0], 21, 21), step=3)
    second = window_noise(seed, y + dy, x + dx, (channels[1], height, width), step=3)
    h, w, c = min(21 - dy, height), min(21 - dx, width), min(channels)
    np.testing.assert_array_equal(first[:c, dy : dy + h, dx : dx + w], second[:c, :h, :w])


def test_noise_is_standard_normal_and_white():
    noise = window_noise(0, 0, 0, (8, 256, 256), step=0).astype(np.float64)
    assert abs(noise.mean()) < 0.005
    assert abs(noise.std() - 1) < 0.005
    assert abs((noise**4).mean() - 3) < 0.05
    assert abs((noise**3).mean()) < 0.02
    assert 4 < np.abs(noise).max() < 6.8
    flat = noise.reshape(8, -1)
    correlations = np.corrcoef(flat) - np.eye(8)
    assert np.abs(correlations).max() < 0.02
    for axis in (1, 2):
        assert abs((noise * np.roll(noise, 1, axis)).mean()) < 0.005


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"seed": 2**32},
        {"y": 1},
        {"x": 1},
        {"step": 1},
        {"step": MAX_STEP - 1},
        {"stream": 1},
    ],
)
def test_every_part_of_the_key_gives_independent_noise(other):
    reference = {"seed": 0, "y": 0, "x": 0, "step": 0, "stream": 0}
    shape = (4, 64, 64)
    one = window_noise(shape=shape, **reference)
    two = window_noise(shape=shape, **(reference | other))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.03


def test_noise_is_float32_of_the_asked_shape():
    noise = window_noise(0, 0, 0, (5, 3, 2), step=0)
    assert noise.shape == (5, 3, 2)
    assert noise.dtype == np.float32


def test_noise_does_not_change_from_release_to_release():
    noise = window_noise(2024, 96, 24, (4, 1, 1), step=5).ravel()
    pinned = [0.9306387, -1.5559354, 0.3603199, -2.5249956]
    np.testing.assert_allclose(noise, pinned, rtol=1e-6)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": -1}, "seed.*-1"),
        ({"seed": 2**64}, "seed"),
        ({"y": -8}, "y.*-8"),
        ({"x": 2**32}, "x"),
        ({"step": MAX_STEP}, "step"),
        ({"stream": -1}, "stream"),
    ],
)
def test_values_outside_the_counter_are_refused_by_name(changed, named):
    key = {"seed": 0, "y": 0, "x": 0, "step": 0, "stream": 0} | changed
    with pytest.raises(ValueError, match=named):
        window_noise(shape=(4, 8, 8), **key)

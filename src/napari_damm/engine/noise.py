"""Gaussian noise keyed by absolute position, so that overlapping windows start from the same one.

1. Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a
   counter of four words and a key of two into four random words, without any state.
2. The counter is (x, y, step and group of four channels, stream) of an absolute latent pixel; the
   key is the seed. Whoever reads a position, in whatever window or order, gets the same words.
3. Box-Muller in float64 turns the four words into four normal values, one per channel of the
   group; the result is float32.

`numpy.random` is not used: it does not promise the same `standard_normal` from version to version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_INCREMENTS = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
WORD = 2**32

GROUP_BITS = 8
MAX_CHANNELS = 4 << GROUP_BITS
MAX_STEP = WORD >> GROUP_BITS


def philox4x32(counter: Words, key: Words) -> Words:
    """Return four random words for every counter.

    Parameters
    ----------
    counter
        (..., 4) uint32.
    key
        (2,) uint32.

    Returns
    -------
    (..., 4) uint32, as by the Random123 library's `philox4x32` with ten rounds.
    """
    # Words travel in uint64, where the 32 x 32 bit product that each round needs is one multiply.
    c0, c1, c2, c3 = (counter[..., k].astype(np.uint64) for k in range(4))
    k0, k1 = int(key[0]), int(key[1])
    first, second = (np.uint64(each) for each in MULTIPLIERS)
    high, low = np.uint64(32), np.uint64(WORD - 1)
    for _ in range(ROUNDS):
        p0, p1 = c0 * first, c2 * second
        c0, c1 = (p1 >> high) ^ c1 ^ np.uint64(k0), p1 & low
        c2, c3 = (p0 >> high) ^ c3 ^ np.uint64(k1), p0 & low
        k0, k1 = (k0 + KEY_INCREMENTS[0]) % WORD, (k1 + KEY_INCREMENTS[1]) % WORD
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def window_noise(
    seed: int, y: int, x: int, shape: tuple[int, int, int], step: int, stream: int = 0
) -> NDArray[np.float32]:
    """Return the standard normal noise of one window.

    Parameters
    ----------
    seed
        Key, 0 to 2**64 - 1.
    y, x
        Absolute latent pixel of the window's corner.
    shape
        (channels, height, width) in latent pixels.
    step
        Which draw at this position: each denoising step that adds noise has its own number.
    stream
        Independent repetition of everything (one per sample of the same slide).

    Returns
    -------
    float32 (channels, height, width). The value at an absolute position does not depend on
    (y, x) or `shape`.
    """
    channels, height, width = shape
    check_window(seed, y, x, shape, step, stream)
    groups = -(-channels // 4)
    counter = np.empty((groups, height, width, 4), np.uint32)
    counter[..., 0] = np.arange(x, x + width)
    counter[..., 1] = np.arange(y, y + height)[:, None]
    counter[..., 2] = ((step << GROUP_BITS) + np.arange(groups))[:, None, None]
    counter[..., 3] = stream
    words = philox4x32(counter, np.array([seed % WORD, seed // WORD], np.uint32))
    normal = _box_muller(np.ascontiguousarray(np.moveaxis(words, -1, 1)))
    return normal.reshape(groups * 4, height, width)[:channels]


def _box_muller(words: Words) -> NDArray[np.float32]:
    """Turn words (groups, 4, h, w) into as many normal values, in pairs along axis 1."""
    # Half a unit off the grid keeps u inside (0, 1), so that the logarithm is finite.
    uniform = (words + 0.5) / WORD
    radius = np.sqrt(-2.0 * np.log(uniform[:, :2]))
    angle = 2.0 * np.pi * uniform[:, 2:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32)


def check_window(
    seed: int, y: int, x: int, shape: tuple[int, int, int], step: int, stream: int
) -> None:
    """Check that a window's noise has numbers of its own: that all fit into their words.

    Raises
    ------
    ValueError
        If one of them does not.
    """
    channels, height, width = shape
    _check("seed", seed, WORD**2)
    _check("y", y, WORD - height)
    _check("x", x, WORD - width)
    _check("channels", channels, MAX_CHANNELS + 1)
    _check("step", step, MAX_STEP)
    _check("stream", stream, WORD)


def _check(name: str, value: int, stop: int) -> None:
    if not 0 <= value < stop:
        raise ValueError(f"{name} must be in 0..{stop - 1}, got {value}")

"""The noise of `engine.noise`, drawn where it is needed: on a graphics card.

1. Philox is integer arithmetic: int64 tensors that wrap around hold the same 64 bits as numpy's
   uint64, so the words are the same on any device.
2. Box-Muller is computed in float64 and rounded to float32, as on the CPU. Logarithm and cosine may
   differ between libraries in the last bits of float64, which the rounding hides almost always. On
   a graphics card this has not been tried; tests compare tensors of the processor.

A mode that adds noise at each step would otherwise wait for the processor at each step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from napari_damm.engine.noise import (
    GROUP_BITS,
    KEY_INCREMENTS,
    MULTIPLIERS,
    ROUNDS,
    WORD,
    check_window,
)

_MASK = WORD - 1


def philox4x32(counter: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Return four random words for every counter: four int64 tensors of 0 to 2**32 - 1 each."""
    c0, c1, c2, c3 = counter
    k0, k1 = seed % WORD, seed // WORD
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = (p1 >> 32) & _MASK ^ c1 ^ k0, p1 & _MASK
        c2, c3 = (p0 >> 32) & _MASK ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + KEY_INCREMENTS[0]) % WORD, (k1 + KEY_INCREMENTS[1]) % WORD
    return [c0, c1, c2, c3]


def windows_noise(
    seed: int,
    corners: Sequence[tuple[int, int]],
    shape: tuple[int, int, int],
    step: int,
    streams: Sequence[int],
    device: torch.device | str,
) -> Tensor:
    """Return the standard normal noise of windows: float32 (n, channels, height, width).

    `corners` (y, x) are in latent pixels; the rest is as in `engine.noise.window_noise`, whose
    values these are.
    """
    channels, height, width = shape
    for (y, x), stream in zip(corners, streams, strict=True):
        check_window(seed, y, x, shape, step, stream)
    groups = -(-channels // 4)

    def axis(values: Sequence[int], *sides: int) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device).reshape(sides)

    full = (len(corners), groups, height, width)
    first = axis([x for _, x in corners], -1, 1, 1, 1) + axis(range(width), 1, 1, 1, -1)
    second = axis([y for y, _ in corners], -1, 1, 1, 1) + axis(range(height), 1, 1, -1, 1)
    third = axis([(step << GROUP_BITS) + group for group in range(groups)], 1, -1, 1, 1)
    fourth = axis(streams, -1, 1, 1, 1)
    words = philox4x32([each.expand(full) for each in (first, second, third, fourth)], seed)
    # Half a unit off the grid keeps u inside (0, 1), so that the logarithm is finite.
    uniform = [(word.double() + 0.5) / WORD for word in words]
    radii = [torch.sqrt(-2.0 * torch.log(each)) for each in uniform[:2]]
    angles = [2.0 * math.pi * each for each in uniform[2:]]
    pairs = list(zip(radii, angles, strict=True))
    waves = [r * wave(a) for wave in (torch.cos, torch.sin) for r, a in pairs]
    normal = torch.stack(waves, dim=2).float()
    return normal.reshape(len(corners), groups * 4, height, width)[:, :channels]

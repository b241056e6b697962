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
from napari_damm.util.sending import sent

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


class DeviceNoise:
    """The standard normal noise of windows, in the place where it is needed.

    Parameters
    ----------
    seed, shape
        As in `engine.noise.window_noise`.
    corners, streams
        Of each window: (y, x) in latent pixels, and the stream.
    device
        Where the noise is drawn. Nothing is sent there after this.
    """

    def __init__(
        self,
        seed: int,
        corners: Sequence[tuple[int, int]],
        shape: tuple[int, int, int],
        streams: Sequence[int],
        device: torch.device | str,
    ) -> None:
        self.seed, self.shape = seed, shape
        channels, height, width = shape
        for (y, x), stream in zip(corners, streams, strict=True):
            check_window(seed, y, x, shape, 0, stream)
        self._full = (len(corners), -(-channels // 4), height, width)
        rows = [[x, y, stream] for (y, x), stream in zip(corners, streams, strict=True)]
        places = sent(torch.tensor(rows, dtype=torch.int64), device)
        left, top, self._stream = places.reshape(-1, 3, 1, 1, 1).unbind(1)
        self._x = left + torch.arange(width, device=device)
        self._y = top + torch.arange(height, device=device)[:, None]
        self._group = torch.arange(self._full[1], device=device)[:, None, None]

    def __call__(self, step: int) -> Tensor:
        """Return a draw: float32 (n, channels, height, width), the values of `window_noise`."""
        check_window(self.seed, 0, 0, self.shape, step, 0)
        draw = self._group + (step << GROUP_BITS)
        counter = [each.expand(self._full) for each in (self._x, self._y, draw, self._stream)]
        words = philox4x32(counter, self.seed)
        # Half a unit off the grid keeps u inside (0, 1), so that the logarithm is finite.
        uniform = [(word.double() + 0.5) / WORD for word in words]
        radii = [torch.sqrt(-2.0 * torch.log(each)) for each in uniform[:2]]
        angles = [2.0 * math.pi * each for each in uniform[2:]]
        pairs = list(zip(radii, angles, strict=True))
        waves = [r * wave(a) for wave in (torch.cos, torch.sin) for r, a in pairs]
        n, groups, height, width = self._full
        normal = torch.stack(waves, dim=2).float().reshape(n, groups * 4, height, width)
        return normal[:, : self.shape[0]]

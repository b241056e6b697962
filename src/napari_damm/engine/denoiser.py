"""What denoises the windows of a pool, and remembers what is shown of that beside the map."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_damm.model.gate import Gated


class Denoiser:
    """The denoiser of one pool; remembers the confidence and the branches of the last step.

    `gated` gives the noise at x_t (b, c, h, w) and times t (b,); `mean`: the confidence of all
    steps is shown, not that of the last.
    """

    def __init__(
        self, gated: Callable[[Tensor, Tensor], Gated], primary: Tensor, mean: bool
    ) -> None:
        self.primary, self.mean = primary, mean
        self._gated = gated
        self.confidence = self.total = primary.new_zeros(())
        self.steps = 0
        self.multi = primary.new_zeros((), dtype=torch.bool)

    def denoise(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Noise (b, c, h, w) of the branch that each window, or cell, needs."""
        eps, self.multi, self.confidence = self._gated(x_t, t)
        self.total = self.total + self.confidence
        self.steps += 1
        return eps

    def uncertainty(self) -> Tensor:
        """Return 1 - confidence (b, th, tw) as it is shown: of the last step, or the mean."""
        shown = self.total / self.steps if self.mean else self.confidence
        return (1 - shown).float()

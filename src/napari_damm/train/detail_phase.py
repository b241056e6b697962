"""The last part of learning an expected map: the detail alone learns, on maps that are drawn.

1. All else has learnt by then: its averaged weights become the weights, and stay.
2. Now and then the map of a new window is drawn, as a prediction does. Each step learns from crops
   of the last windows, turned and mirrored: a map costs far more to draw than to learn from, and
   by many steps on few fields the detail gains most.
3. Which windows, crops and turns is a function of seed and step alone, and so are the bits of a
   resumed training: what was drawn last is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from napari_damm.model.damm import DAMM
from napari_damm.train.batches import Crops
from napari_damm.train.expected import (
    DETAIL_NAMES,
    Arithmetic,
    DrawnCrops,
    detail_error,
    drawn_crops,
    learning_mode,
)
from napari_damm.train.settling import settle_statistics
from napari_damm.train.state import TrainState

DETAIL = "detail"
"""The phase's name."""
DRAWN_EVERY, KEPT, CROPS = 8, 40, 8
"""Each how many steps a window is drawn, how many are kept, and how many crops a step sees."""
_TURNS = 6  # makes its random numbers others than those of the crops


class DetailPhase:
    """Steps of the detail. Settles all else when it is made.

    Parameters
    ----------
    model, state
        What learns.
    windows
        Reads a window (1, 3, side, side) by its number.
    usual
        By what statistics are settled.
    crop_px
        Side of the crops that a step sees.
    seed
        Key of all that is random.
    arithmetic
        In which the detail computes.
    """

    def __init__(
        self,
        model: DAMM,
        state: TrainState,
        windows: Callable[[int], Crops],
        usual: Iterable[Crops],
        crop_px: int,
        seed: int,
        arithmetic: Arithmetic = nullcontext,
    ) -> None:
        self.model, self.state, self.windows = model, state, windows
        self.crop_px, self.seed, self.arithmetic = crop_px, seed, arithmetic
        self._drawn: dict[int, DrawnCrops] = {}
        settle_all_but_detail(state)
        settle_statistics(model, usual)

    def backward(self, step: int, weight: float) -> float:
        """Add the gradients of a step's error, times a weight, to the detail's; return it."""
        seen = self.batch(step)
        learning_mode(self.model)
        error = weight * detail_error(self.model, seen, self.arithmetic)
        self.state.backward(error)
        return float(error.detach())

    def end(self) -> None:
        """Let all else learn again: the training goes back to where it did."""
        for parameter in self.state.parameters.values():
            parameter.requires_grad_(True)

    def batch(self, step: int) -> DrawnCrops:
        """Return what a step sees: crops of the windows that were drawn last."""
        last = step // DRAWN_EVERY
        kept = range(max(0, last - KEPT + 1), last + 1)
        self._drawn = {k: self._drawn[k] if k in self._drawn else self._draw(k) for k in kept}
        rng = np.random.default_rng((self.seed, step, _TURNS))
        crops = [
            _crop(self._drawn[kept[int(rng.integers(len(kept)))]], self.crop_px, rng)
            for _ in range(CROPS)
        ]
        return DrawnCrops(*(torch.cat(images) for images in zip(*crops, strict=True)))

    def _draw(self, number: int) -> DrawnCrops:
        """Draw the map of a window, as in a prediction."""
        self.model.eval()
        return drawn_crops(self.model, self.windows(number), number)


@torch.no_grad()
def settle_all_but_detail(state: TrainState) -> None:
    """Let the averaged weights be the weights, and learn no more, of all but the detail."""
    for name, parameter in state.parameters.items():
        if not name.startswith(DETAIL_NAMES):
            parameter.copy_(state.ema[name])
            parameter.requires_grad_(False)


def _crop(drawn: DrawnCrops, side: int, rng: np.random.Generator) -> DrawnCrops:
    """Cut the same square of all images of a window, turned and mirrored at random."""
    height, width = drawn.drawn.shape[2:]
    y, x = (int(rng.integers(n - side + 1)) for n in (height, width))
    quarters, mirrored = int(rng.integers(4)), bool(rng.integers(2))

    def cut(image: Tensor) -> Tensor:
        turned = torch.rot90(image[..., y : y + side, x : x + side], quarters, (2, 3))
        return turned.flip(3) if mirrored else turned

    return DrawnCrops(*(cut(image) for image in drawn))

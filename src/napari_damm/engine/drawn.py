"""What windows are sampled from, and what was drawn of them.

1. `Conditions` are the windows of a pool, encoded.
2. `Drawn` are samples of them, maybe still on their way from a graphics card; `combined` waits for
   them, and makes one output of the samples of each window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.engine.setup import Sampling
from napari_damm.engine.windows import WindowInput, WindowOutput, combine
from napari_damm.events import Branch
from napari_damm.util.tiling import tokens_to_cells


class Conditions(NamedTuple):
    """What windows are sampled from: latents (b, c, h, w), and what guides the decoder.

    That are features of the primary image, and the secondary image (b, c, h*f, w*f).
    """

    primary: Tensor
    secondary: Tensor
    features: list[Tensor]
    secondary_image: Tensor

    def select(self, index: Tensor | slice) -> Conditions:
        """Pick windows by their positions."""
        features = [level[index] for level in self.features]
        return Conditions(
            self.primary[index], self.secondary[index], features, self.secondary_image[index]
        )

    def first(self, count: int) -> Conditions:
        """Return the first windows."""
        return self.select(slice(count))


def joined(parts: Sequence[Conditions]) -> Conditions:
    """Join the conditions of all windows of a pool."""
    features = [torch.cat(level) for level in zip(*(part.features for part in parts), strict=True)]
    return Conditions(
        torch.cat([part.primary for part in parts]),
        torch.cat([part.secondary for part in parts]),
        features,
        torch.cat([part.secondary_image for part in parts]),
    )


@dataclass(frozen=True)
class Drawn:
    """Samples that may be on their way: of these windows; images, uncertainty, and gate.

    Images are (b, h, w), the rest tokens (b, th, tw).
    """

    windows: Sequence[WindowInput]
    images: Callable[[], NDArray[Any]]
    uncertainty: Callable[[], NDArray[Any]]
    multi: Callable[[], NDArray[Any]]

    def outputs(self) -> list[WindowOutput]:
        """Wait for them."""
        images, uncertainty = self.images(), self.uncertainty()
        codes = np.where(self.multi(), Branch.MULTI_MODAL, Branch.UNI_MODAL).astype(np.uint8)
        return [
            WindowOutput(
                each.window,
                images[k],
                tokens_to_cells(uncertainty[k]),
                np.rint(tokens_to_cells(codes[k])).astype(np.uint8),
                familiarity=each.familiarity,
            )
            for k, each in enumerate(self.windows)
        ]


def combined(drawn: Sequence[Drawn], rows: Sequence[int], sampling: Sampling) -> list[WindowOutput]:
    """Wait for all samples, and combine those of each window.

    `rows` are the windows' positions in their pool, in the order in which they were drawn. Two
    windows of a pool may be of one place, in different images.
    """
    outputs = [each for part in drawn for each in part.outputs()]
    samples: dict[int, list[WindowOutput]] = {row: [] for row in sorted(set(rows))}
    for row, each in zip(rows, outputs, strict=True):
        samples[row].append(each)
    return [combine(some, sampling.spread_factor) for some in samples.values()]

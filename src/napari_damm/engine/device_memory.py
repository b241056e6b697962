"""How many windows at a time a graphics card has memory for.

Most of it goes to the autoencoders, whose widest maps have as many pixels as the window. Should
this be too many all the same, `recovery` goes on with fewer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import CUDA_BATCH

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

MAPS_ALIVE = 16
"""Widest maps at once, of two pools in flight: on the safe side, not yet measured on a card."""
SHARE = 0.8
"""Of the free memory, which other programs want too."""
LEAST_BATCH = 8
_FLOAT = 4


def window_bytes(model: DAMM, window_px: int) -> int:
    """Return about what a window takes of the card's memory."""
    widest = max(stage.channels[0] for stage in model.config.first_stages)
    return MAPS_ALIVE * widest * window_px**2 * _FLOAT


def fitting_batch(most: int, model: DAMM, window_px: int, workers: int = 1) -> int:
    """Return `most`, halved until so many windows fit into a worker's free memory; at least 8."""
    size, room = most, SHARE * free_bytes() / workers_per_card(workers)
    while size > LEAST_BATCH and size * window_bytes(model, window_px) > room:
        size //= 2
    return size


def free_bytes() -> int:
    """Return what is free on the card, or kept by this process for later."""
    import torch

    free, _ = torch.cuda.mem_get_info()
    return int(free) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def workers_per_card(workers: int) -> int:
    """Return how many workers share a card (see `workers.cards`)."""
    import torch

    return -(-workers // max(1, torch.cuda.device_count()))


def begun_on_a_card(record: Mapping[str, Any]) -> int | None:
    """Return the windows per call of a job that was begun on a card; None for any other."""
    size = record.get("batch_size")
    sound = record.get("device") == "cuda" and isinstance(size, int) and 1 <= size <= CUDA_BATCH
    return size if sound else None

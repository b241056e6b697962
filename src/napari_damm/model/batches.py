"""Batches of one fixed size: bits depend on the size of a batch, never on what else is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def fixed_batches(count: int, size: int, device: torch.device) -> Iterator[tuple[Tensor, int]]:
    """Cut 0..count-1 into index batches of exactly `size`: yields (indices, how many count).

    The last batch is filled up by repeating its last index.
    """
    for start in range(0, count, size):
        kept = min(size, count - start)
        index = torch.arange(start, start + size, device=device).clamp_max(start + kept - 1)
        yield index, kept


def in_batches(
    call: Callable[[Tensor], Tensor], count: int, size: int, device: torch.device
) -> Tensor:
    """Call `call(indices)` on batches of exactly `size` and join what counts."""
    return torch.cat([call(i)[:kept] for i, kept in fixed_batches(count, size, device)])

"""Tensors on their way from the host to a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

STAGED_BYTES = 1 << 16
"""So much CUDA copies aside at once, whatever memory it lies in; larger tensors are pinned."""


def sent(value: Tensor, device: torch.device | str) -> Tensor:
    """Return a tensor of the host on a device; on CUDA nothing is waited for.

    One that is on a card already stays as it is.

    Apple's mps would read what may be gone by then (pytorch issue 189690): elsewhere the copy is
    waited for.
    """
    if value.device.type != "cpu" or not takes_at_once(device):
        return value.to(device)
    if value.nbytes > STAGED_BYTES:
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


def takes_at_once(device: torch.device | str) -> bool:
    """Tell whether a copy to a device is safe without waiting for it."""
    return str(device).startswith("cuda")

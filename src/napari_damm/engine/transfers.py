"""Copies between the host and a graphics card, beside what the card computes.

Each direction has a stream of its own, and goes through pinned memory, which the card reads by
itself. On any other device all this is done at once, and nothing waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEPS_AHEAD = 2
"""So many steps the host may be ahead of the card: who cancels waits for no more."""


class Transfers:
    """The copies of one device."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._pinned = device == "cuda"
        self._in = torch.cuda.Stream() if self._pinned else None  # type: ignore[no-untyped-call]
        self._out = torch.cuda.Stream() if self._pinned else None  # type: ignore[no-untyped-call]

    def send(self, arrays: Sequence[NDArray[np.float32]]) -> Callable[[], Tensor]:
        """Send arrays (h, w) to the device; what is returned gives them there, (b, h, w)."""
        host = torch.empty((len(arrays), *arrays[0].shape), pin_memory=self._pinned)
        np.stack(arrays, out=host.numpy())
        if self._in is None:
            there = host.to(self.device)
            return lambda: there
        with torch.cuda.stream(self._in):
            coming = host.to(self.device, non_blocking=True)
            sent = self._in.record_event()

        def arrived() -> Tensor:
            computing = torch.cuda.current_stream()
            computing.wait_event(sent)
            coming.record_stream(computing)
            return coming

        return arrived

    def fetch(self, value: Tensor) -> Callable[[], NDArray[Any]]:
        """Fetch a tensor once it is computed; what is returned waits for it."""
        if self._out is None:
            return value.cpu().numpy
        host = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
        self._out.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._out):
            host.copy_(value, non_blocking=True)
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record()
        value.record_stream(self._out)

        def arrived() -> NDArray[Any]:
            done.synchronize()
            # a copy: pinned memory is scarce, and results are kept for long
            return host.numpy().copy()

        return arrived

    def pace(self, marks: list[Any]) -> None:
        """Mark the end of a step, and wait until no more than `STEPS_AHEAD` are not computed."""
        if not self._pinned:
            return
        mark = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        mark.record()
        marks.append(mark)
        if len(marks) > STEPS_AHEAD:
            marks.pop(0).synchronize()

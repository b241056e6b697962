"""Decoders in bfloat16, for graphics cards: off by less than a grey level.

What decodes may be rounded: the noise estimator's two decoders and the target's, with its detail.
What encodes stays in float32, as does all that goes on from step to step: the gate hangs on it, and
where a cell takes the other branch all of it is another map. Measured in docs/benchmarks.md.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def decoding(device: str, half: bool) -> AbstractContextManager[Any]:
    """Return the context in which decoders run on a kind of device."""
    if not half:
        return nullcontext()
    # weights are used once a call; a cache would be shared by all threads
    return torch.autocast(device, torch.bfloat16, cache_enabled=False)

"""Which graphics card a local worker process sees: each its own, as long as there are enough."""

from __future__ import annotations

import os

VISIBLE = "CUDA_VISIBLE_DEVICES"


def card_of(seat: int, device: str) -> dict[str, str]:
    """Return the environment in which a worker sees one card; nothing where there is no choice.

    Workers beyond the number of cards share them in turn. Cards that are hidden from this process
    stay hidden from its workers.
    """
    if device != "cuda":
        return {}
    import torch

    count = torch.cuda.device_count()
    if count < 2:
        return {}
    numbers = ",".join(str(number) for number in range(count))
    visible = (os.environ.get(VISIBLE) or numbers).split(",")[:count]
    return {VISIBLE: visible[seat % len(visible)].strip()}

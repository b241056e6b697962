"""What happens when memory runs out: smaller batches along a fixed ladder, then the CPU.

1. All lanes use `Ladder.current`.
2. A lane that runs out of memory steps down: half the batch, again and again down to one window;
   after that, where it was an accelerator, the CPU. Lanes that fail on the rung above just follow.
3. Each step is told, because the last bits of the result may change. Strict mode, and the end of
   the ladder, raise `MemoryError` instead.
"""

from __future__ import annotations

import copy
import gc
from dataclasses import replace
from threading import Lock

from napari_damm.engine.config import default_batch
from napari_damm.engine.sampler import WindowSampler


class Ladder:
    """The sampler in use; smaller after each time memory ran out.

    Parameters
    ----------
    sampler
        The first rung.
    strict
        Never step down: equal bits or none.
    """

    def __init__(self, sampler: WindowSampler, strict: bool = False) -> None:
        self.current = sampler
        self.told: list[str] = []
        self._strict = strict
        self._lock = Lock()

    def step_down(self, failed: WindowSampler) -> str | None:
        """Leave the rung on which memory ran out.

        Returns
        -------
        What changed, for people; None where another lane has done it already.

        Raises
        ------
        MemoryError
            In strict mode, and where nothing smaller is left.
        """
        with self._lock:
            if self.current is not failed:
                return None
            size, device = failed.sampling.batch_size, failed.device
            if self._strict:
                raise MemoryError(
                    f"out of memory on {device} with batches of {size}, and strict mode forbids "
                    "smaller ones: set batch_size lower, or strict=False"
                )
            if size > 1:
                model, size = failed.model, size // 2
            elif device != "cpu":
                # a copy: other lanes may still be in the model on the device
                model, size, device = copy.deepcopy(failed.model), default_batch("cpu"), "cpu"
            else:
                raise MemoryError(
                    "out of memory with single windows on the CPU: close other programs, or run "
                    "with fewer lanes"
                )
            self.current = WindowSampler(model, replace(failed.sampling, batch_size=size), device)
            self._release(failed.device)
            told = f"out of memory: going on with batches of {size} on {device}"
            self.told.append(told)
            return f"{told}; the last bits of the result may differ"

    @staticmethod
    def _release(device: str) -> None:
        """Give back what the allocator keeps for later."""
        gc.collect()
        if device == "cuda":
            import torch

            torch.cuda.empty_cache()

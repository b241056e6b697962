"""What happens to a pool of windows whatever befalls it: out of memory, a fault, values not finite.

1. The pool is sampled; every denoising step is reported, and at last the outputs.
2. Out of memory: all threads share `Ladder.current`, and one that runs out of memory steps down:
   half the batch, again and again down to one window; after that, where it was an accelerator, the
   CPU. The pool is cut into smaller ones. Threads that fail on the rung above just follow. Each
   step is reported, because the last bits of the result may change. Strict mode, and the end of the
   ladder, raise `MemoryError` instead.
3. Any other error: every window of the pool is tried again on its own, so that one bad window
   does not take others with it. A window that fails alone has failed.
4. Values that are not finite count as an error of their window.

A window's bits do not depend on its pool, so trying again changes nothing but time.
"""

from __future__ import annotations

import copy
import gc
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from napari_damm.engine.config import default_batch, pool_batches
from napari_damm.util.advice import Advice
from napari_damm.util.devices import backend
from napari_damm.util.errors import is_out_of_memory, one_line
from napari_damm.util.tiling import Window

if TYPE_CHECKING:
    from napari_damm.engine.sampler import WindowSampler
    from napari_damm.engine.windows import WindowInput, WindowOutput


@dataclass(frozen=True)
class StepsDone:
    """A denoising step of so many samples is done; negative: so many have to be done again."""

    windows: int


@dataclass(frozen=True)
class WindowsDone:
    """Windows are done."""

    outputs: list[WindowOutput]


@dataclass(frozen=True)
class WindowFailed:
    """A window could not be computed."""

    window: Window
    error: str


@dataclass(frozen=True)
class Downgraded:
    """It goes on in another way, for lack of memory or else; one sentence says how."""

    message: str
    out_of_memory: bool = True


Progress = StepsDone | WindowsDone | WindowFailed | Downgraded


class NothingWorks(RuntimeError):
    """Every window of a pool failed, one by one: the fault is not theirs."""


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
        self._strict = strict
        self._lock = Lock()

    def step_down(self, failed: WindowSampler) -> str | None:
        """Leave the rung on which memory ran out.

        Returns
        -------
        What changed, for people; None where another thread has done it already.

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
                    Advice(
                        f"out of memory on {device} with batches of {size}, and strict mode "
                        "forbids smaller ones",
                        "choose a smaller {batch_size}, or leave out {strict}",
                    )
                )
            if size > 1:
                model, size = failed.model, size // 2
            elif device != "cpu":
                # a copy: other threads may still be in the model on the device
                model, size, device = copy.deepcopy(failed.model), default_batch("cpu"), "cpu"
            else:
                raise MemoryError(
                    Advice(
                        "out of memory with single windows on the CPU",
                        "close other programs that need memory",
                    )
                )
            self.current = failed.with_batches(size, model, device)
            self._release(failed.device)
            return (
                f"out of memory: going on with batches of {size} on {device}; "
                "the last bits of the result may differ"
            )

    @staticmethod
    def _release(device: str) -> None:
        """Give back what the allocator keeps for later."""
        gc.collect()
        module = backend(device)
        if module is not None:
            module.empty_cache()


def sample_pool(ladder: Ladder, pool: Sequence[WindowInput]) -> Iterator[Progress]:
    """Sample a pool; every window ends in a `WindowsDone` or a `WindowFailed`.

    Raises
    ------
    MemoryError
        Where the ladder has no smaller rung.
    NothingWorks
        If every one of several windows fails.
    """
    parts = deque([list(pool)])
    failed = 0
    while parts:
        attempt = _Attempt(ladder.current, parts.popleft())
        yield from attempt.run()
        if attempt.out_of_memory:
            change = ladder.step_down(attempt.sampler)
            if change:
                yield Downgraded(change)
            parts.extendleft(reversed(_cut(attempt.part, ladder)))
            continue
        if attempt.outputs:
            yield WindowsDone(attempt.outputs)
        bad = attempt.left
        if len(attempt.part) > 1:
            parts.extendleft([each] for each in reversed(bad))
        elif bad:
            failed += 1
            yield WindowFailed(bad[0].window, attempt.trouble or "its values are not finite")
    if len(pool) > 1 and failed == len(pool):
        raise NothingWorks(attempt.trouble or "the model's values are not finite")


class _Attempt:
    """One try at a part of a pool: what came out, and what went wrong."""

    def __init__(self, sampler: WindowSampler, part: list[WindowInput]) -> None:
        self.sampler, self.part = sampler, part
        self.outputs: list[WindowOutput] = []
        self.trouble = ""
        self.out_of_memory = False

    @property
    def left(self) -> list[WindowInput]:
        """The windows that have to be tried again."""
        done = {each.window for each in self.outputs}
        return [each for each in self.part if each.window not in done]

    def run(self) -> Iterator[StepsDone | Downgraded]:
        """Sample the part; steps that turn out to be in vain are taken back."""
        from napari_damm.sampling import SamplerStep

        taken = 0  # steps, summed over samples
        try:
            for step in self.sampler.run(self.part):
                if isinstance(step, list):
                    self.outputs = [each for each in step if _finite(each)]
                    continue
                if isinstance(step, Downgraded):
                    yield step
                    continue
                rows = len(step.x) if isinstance(step, SamplerStep) else 0
                taken += rows
                yield StepsDone(rows)
        except Exception as error:
            self.out_of_memory = is_out_of_memory(error)
            self.trouble = f"{type(error).__name__}: {one_line(error)}"
        if self.left and taken:
            yield StepsDone(-(taken * len(self.left) // len(self.part)))


def _cut(part: list[WindowInput], ladder: Ladder) -> list[list[WindowInput]]:
    now = ladder.current
    size = pool_batches(now.device) * now.sampling.batch_size
    return [part[start : start + size] for start in range(0, len(part), size)]


def _finite(output: WindowOutput) -> bool:
    maps = (output.np, output.uncertainty, *(() if output.std is None else (output.std,)))
    return all(bool(np.isfinite(values).all()) for values in maps)

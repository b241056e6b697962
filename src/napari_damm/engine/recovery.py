"""What a lane does with a pool of windows, whatever happens on the way.

1. The pool is sampled; every denoising step is reported, and at last the outputs.
2. Out of memory: the ladder steps down and the pool is cut into smaller ones.
3. Any other error: every window of the pool is tried again on its own, so that one bad window
   does not take others with it. A window that fails alone has failed.
4. Values that are not finite count as an error of their window.

A window's bits do not depend on its pool, so trying again changes nothing but time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_damm.engine.config import POOL_BATCHES
from napari_damm.tiling import Window
from napari_damm.util.errors import is_out_of_memory, one_line

if TYPE_CHECKING:
    from napari_damm.engine.memory_ladder import Ladder
    from napari_damm.engine.sampler import WindowInput, WindowOutput, WindowSampler


@dataclass(frozen=True)
class Stepped:
    """A denoising step of so many samples is done; negative: so many have to be done again."""

    windows: int


@dataclass(frozen=True)
class Done:
    """Windows are done."""

    outputs: list[WindowOutput]


@dataclass(frozen=True)
class WindowFailed:
    """A window could not be computed."""

    window: Window
    error: str


@dataclass(frozen=True)
class Told:
    """One sentence for the user."""

    message: str


Progress = Stepped | Done | WindowFailed | Told


class NothingWorks(RuntimeError):
    """Every window of a pool failed, one by one: the fault is not theirs."""


def sample_pool(ladder: Ladder, pool: Sequence[WindowInput]) -> Iterator[Progress]:
    """Sample a pool; every window ends in a `Done` or a `WindowFailed`.

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
            told = ladder.step_down(attempt.sampler)
            if told:
                yield Told(told)
            parts.extendleft(reversed(_cut(attempt.part, ladder)))
            continue
        if attempt.outputs:
            yield Done(attempt.outputs)
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

    def run(self) -> Iterator[Stepped]:
        """Sample the part; steps that turn out to be in vain are taken back."""
        from napari_damm.engine.sampler import Breath

        taken = 0  # steps, summed over samples
        try:
            for step in self.sampler.run(self.part):
                if isinstance(step, list):
                    self.outputs = [each for each in step if _finite(each)]
                elif isinstance(step, Breath):
                    yield Stepped(0)
                else:
                    taken += len(step.x)
                    yield Stepped(len(step.x))
        except Exception as error:
            self.out_of_memory = is_out_of_memory(error)
            self.trouble = f"{type(error).__name__}: {one_line(error)}"
        if self.left and taken:
            yield Stepped(-(taken * len(self.left) // len(self.part)))


def _cut(part: list[WindowInput], ladder: Ladder) -> list[list[WindowInput]]:
    size = POOL_BATCHES * ladder.current.sampling.batch_size
    return [part[start : start + size] for start in range(0, len(part), size)]


def _finite(output: WindowOutput) -> bool:
    maps = (output.np, output.uncertainty, *(() if output.std is None else (output.std,)))
    return all(bool(np.isfinite(values).all()) for values in maps)

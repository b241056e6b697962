"""Simulated sections without end, drawn by other processes while a training runs, on its device."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.simulate import SimulatedSlide, simulate_slide
from napari_damm.simulate.section import training_seed
from napari_damm.slide.normalisation import PERCENTILES, normalise
from napari_damm.util.tiling import WINDOW

from .settings import Settings

SIZE, CHANNELS = 640, 4
"""Side of a section, px; vessels, nuclei, particles as taken, what misleads."""
SEEDS = 9000
"""Seeds below are learnt from; those above judge."""
INTERNAL_SHARE = 1 / 3
"""Of sections of preset internal; the others are varied, none is external."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PATIENCE_S = 1.0


def drawn(seed: int, preset: str) -> NDArray[np.float16]:
    """Draw a section (channels, SIZE, SIZE): images as a model sees them, and what misleads."""
    made = simulate_slide(SIZE, training_seed(seed), preset)
    return np.stack([*normalised(made), made.divergence.astype(np.float32)]).astype(np.float16)


def normalised(made: SimulatedSlide) -> list[NDArray[np.float32]]:
    """Return vessels, nuclei and particles as taken, (y, x) in [-1, 1], as a model sees them."""
    images = made.vessels, made.nuclei, made.nanoparticles
    return [normalise(image, *np.percentile(image, PERCENTILES)) for image in images]


def draw_for_ever(rank: int, count: int, key: tuple[int, int], into: Any) -> None:
    """Draw sections, one after the other, and hand them on; of each seed its turn comes twice."""
    rng = np.random.default_rng([*key, rank])
    numbers = rng.permutation(np.arange(rank, SEEDS, count))
    for number in np.concatenate([numbers, numbers]):
        preset = "internal" if rng.random() < INTERNAL_SHARE else "varied"
        into.put(drawn(int(number), preset))


@contextmanager
def drawn_sections(settings: Settings, piece: int) -> Iterator[Sections]:
    """Have sections drawn for as long as the block lasts; other ones in each piece."""
    context = multiprocessing.get_context("spawn")
    drawing: Any = context.Queue(4 * settings.processes)
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # of the processes that draw
    key = settings.seed, piece
    processes = [
        context.Process(
            target=draw_for_ever, args=(rank, settings.processes, key, drawing), daemon=True
        )
        for rank in range(settings.processes)
    ]
    try:
        for process in processes:
            process.start()
        yield Sections(settings, drawing, processes)
    finally:
        for process in processes:
            process.kill()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Sections:
    """The last sections that were drawn, on the device."""

    def __init__(self, settings: Settings, drawing: Any, drawers: Sequence[Any] = ()) -> None:
        """Wait for the first sections.

        Raises
        ------
        RuntimeError
            If a process that draws has ended.
        """
        shape = settings.sections, CHANNELS, SIZE, SIZE
        self.device = torch.device(settings.device)
        self.pixels = torch.empty(shape, dtype=torch.half, device=self.device)
        self.count = 0
        self._drawing, self._drawers = drawing, drawers
        while self.count < settings.first:
            self._take(PATIENCE_S)

    def take(self) -> None:
        """Take a section that was drawn meanwhile, if there is one; the oldest goes."""
        self._take(0.0)

    def _take(self, patience_s: float) -> None:
        try:
            waits = patience_s > 0
            section = self._drawing.get(timeout=patience_s if waits else None, block=waits)
        except queue.Empty:
            dead = [each.exitcode for each in self._drawers if not each.is_alive()]
            if dead:
                raise RuntimeError(f"a process that draws sections ended with {dead[0]}") from None
            return
        self._put(section)

    def windows(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Cut windows at random, turned at random: images (n, 3, 256, 256) and what misleads."""

        def random(limit: int) -> Tensor:
            return torch.randint(limit, (count, 1, 1), generator=generator, device=self.device)

        section = random(min(self.count, len(self.pixels)))
        y, x = random(SIZE - WINDOW + 1), random(SIZE - WINDOW + 1)
        side = torch.arange(WINDOW, device=self.device)
        shape = count, WINDOW, WINDOW
        i = torch.where(random(2) > 0, WINDOW - 1 - side[:, None], side[:, None]).expand(shape)
        j = torch.where(random(2) > 0, WINDOW - 1 - side, side).expand(shape)
        swapped = random(2) > 0
        row = torch.where(swapped, i.transpose(1, 2), i)
        col = torch.where(swapped, j.transpose(1, 2), j)
        # (n, 256, 256, channels): what is indexed comes first
        cut = self.pixels[section, :, y + row, x + col].permute(0, 3, 1, 2).float()
        return cut[:, :3], cut[:, 3]

    def _put(self, section: NDArray[np.float16]) -> None:
        at = self.count % len(self.pixels)
        self.pixels[at] = torch.from_numpy(section).to(self.device)
        self.count += 1

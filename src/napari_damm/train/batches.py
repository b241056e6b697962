"""Which views a training step sees: a function of seed and step alone.

1. An epoch has as many steps as are needed to see every patch once, on average.
2. In each epoch patches come in another order, those with little tissue seldom; every epoch
   reads the next view of each, so that after `variants` epochs all are known.
3. Of several processes each takes its share of a batch.
4. A patch that cannot be read is replaced by the next, and told.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Split, epoch_order
from napari_damm.dataset.views import View, draw_view, planted_share, read_view
from napari_damm.events import FailedItem
from napari_damm.model.damm import DAMM
from napari_damm.tiling import WINDOW
from napari_damm.train.config import TrainConfig
from napari_damm.train.latent_cache import LatentFile, encode_windows
from napari_damm.train.validation import unreadable
from napari_damm.util.errors import is_out_of_memory

VIEWS, LEAST_VARIANTS, MOST_VARIANTS = 512, 8, 64


class Batch(NamedTuple):
    """Latents (n, c, h, w) of n windows, and the share of each latent pixel that misleads.

    `planted` (n, h, w) is known because divergence was planted there.
    """

    primary: Tensor
    secondary: Tensor
    target: Tensor
    planted: Tensor


@dataclass(frozen=True)
class Schedule:
    """Steps and epochs of a training."""

    patches: int
    steps_per_epoch: int
    config: TrainConfig

    @classmethod
    def of(cls, split: Split, config: TrainConfig) -> Schedule:
        """Count the steps that see every patch once, on average."""
        expected = sum(patch.chance for patch in split.train)
        return cls(len(split.train), max(1, round(expected / config.batch_size)), config)

    @property
    def variants(self) -> int:
        """Views of each patch: as wished, else enough for some hundreds of views in all."""
        if self.config.variants is not None:
            return self.config.variants
        return min(MOST_VARIANTS, max(LEAST_VARIANTS, -(-VIEWS // self.patches)))

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.steps_per_epoch * self.config.epochs

    def epoch(self, step: int) -> int:
        """Return the epoch of a step."""
        return step // self.steps_per_epoch

    def views(self, split: Split, step: int) -> list[tuple[int, int]]:
        """Return (patch, variant) of each sample of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        order = epoch_order(split.train, self.config.seed, epoch)
        places = within * self.config.batch_size + np.arange(self.config.batch_size)
        rounds, at = np.divmod(places, len(order))
        return [
            (int(order[i]), int(epoch + r) % self.variants) for i, r in zip(at, rounds, strict=True)
        ]


class Batches:
    """Reads and encodes batches of latents, from disk where they are kept."""

    def __init__(
        self, model: DAMM, fields: Sequence[Field], split: Split, config: TrainConfig
    ) -> None:
        self.model, self.fields, self.split, self.config = model, fields, split, config
        self.schedule = Schedule.of(split, config)
        self.kept: LatentFile | None = None
        self.failed: dict[int, FailedItem] = {}
        self.untold: list[FailedItem] = []
        self.waited_s = 0.0
        self.encoded = 0

    def batch(self, step: int, progress: float = 1.0, rank: int = 0, world: int = 1) -> Batch:
        """Return what a step sees, on the model's device, float32.

        Raises
        ------
        OSError
            If none of the patches can be read.
        """
        start = time.perf_counter()
        views = self.schedule.views(self.split, step)[rank::world]
        records, planted = zip(*(self._record(*view) for view in views), strict=True)
        device = next(self.model.parameters()).device
        latents = torch.from_numpy(np.stack(records)).to(device).float()
        primary, secondary, target = latents.unbind(1)
        misleading = torch.from_numpy(np.stack(planted)).to(device)
        batch = Batch(primary, secondary, target, misleading)
        if self.config.crop_px and progress < self.config.crop_until:
            side = self.config.crop_px // self.model.config.latent_factor
            batch = _crop(batch, side, self.model.config.unet.factor, step)
        self.waited_s += time.perf_counter() - start
        return batch

    def images(self, step: int, count: int, side: int) -> Tensor:
        """Return crops (count, 3, side, side) in [-1, 1] of views of their own."""
        start = time.perf_counter()
        rng = np.random.default_rng((self.config.seed, step, 5))
        chances = np.array([patch.chance for patch in self.split.train])
        crops = []
        for index in rng.choice(len(chances), count, p=chances / chances.sum()):
            window = self._readable(int(index), int(rng.integers(2**31)))
            y, x = rng.integers(0, WINDOW - side + 1, 2)
            crops.append(window[:, y : y + side, x : x + side])
        self.waited_s += time.perf_counter() - start
        return torch.from_numpy(np.stack(crops)).to(next(self.model.parameters()).device)

    def _readable(self, index: int, variant: int) -> NDArray[np.float32]:
        """Read a view, or one of the next patch that can be read."""
        for _ in range(len(self.split.train)):
            if index not in self.failed:
                try:
                    return self._view(index, variant)[1]
                except Exception as error:
                    # decoders have exceptions of their own for damaged data
                    if is_out_of_memory(error):
                        raise
                    self._note(index, error)
            index = (index + 1) % len(self.split.train)
        raise OSError(f"none of the training patches can be read: {self.untold[-1].message}")

    def _view(self, index: int, variant: int) -> tuple[View, NDArray[np.float32]]:
        view = draw_view(self.split, index, variant, self.config.jitter, self.config.seed)
        return view, read_view(self.fields, self.split.train[index], view)

    def close(self) -> None:
        """Let go of the kept latents."""
        if self.kept is not None:
            self.kept.close()

    def _record(self, index: int, variant: int) -> tuple[np.ndarray, NDArray[np.float32]]:
        """Return latents of a view and what misleads; of the next patch where it is unreadable."""
        for _ in range(len(self.split.train)):
            if index not in self.failed:
                try:
                    return self._latents(index, variant), self._planted(index, variant)
                except Exception as error:
                    # decoders have exceptions of their own for damaged data
                    if is_out_of_memory(error):
                        raise
                    self._note(index, error)
            index = (index + 1) % len(self.split.train)
        raise OSError(f"none of the training patches can be read: {self.untold[-1].message}")

    def _latents(self, index: int, variant: int) -> np.ndarray:
        record = index * self.schedule.variants + variant
        kept = self.kept.read(record) if self.kept is not None else None
        if kept is not None:
            return kept
        images = torch.from_numpy(self._view(index, variant)[1])
        device = next(self.model.parameters()).device
        half = self.config.precision == "bf16-mixed"
        encoded = encode_windows(self.model, images[None].to(device), half)
        made = torch.cat(encoded).half().cpu().numpy()
        self.encoded += 1
        if self.kept is not None:
            self.kept.write(record, made)
        return made

    def _planted(self, index: int, variant: int) -> NDArray[np.float32]:
        view = draw_view(self.split, index, variant, self.config.jitter, self.config.seed)
        cell = self.model.config.latent_factor
        return planted_share(self.fields, self.split.train[index], view, cell)

    def _note(self, index: int, error: Exception) -> None:
        failed = unreadable(self.fields, self.split.train[index], error)
        self.failed[index] = failed
        self.untold.append(failed)


def _crop(batch: Batch, side: int, grid: int, step: int) -> Batch:
    """Return one random square of all, on the grid of the bottleneck's cells."""
    height, width = batch.primary.shape[2:]
    generator = torch.Generator().manual_seed(step + 700_000_000)
    y, x = (
        grid * int(torch.randint((n - side) // grid + 1, (), generator=generator))
        for n in (height, width)
    )
    return Batch(*(z[..., y : y + side, x : x + side] for z in batch))

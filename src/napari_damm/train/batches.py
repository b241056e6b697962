"""Which views a training step sees: a function of seed and step alone.

1. An epoch has as many steps as are needed to see every patch once, on average.
2. In each epoch patches come in another order, those with little tissue seldom; every epoch
   reads the next view of each, so that after `variants` epochs all are known.
3. Of several processes each takes its share of a batch.
4. A patch that cannot be read is replaced by the next, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Split, epoch_order
from napari_damm.dataset.views import View, draw_view, planted_share, read_view
from napari_damm.events import Notice
from napari_damm.model.damm import DAMM
from napari_damm.train.config import TrainConfig
from napari_damm.train.data_time import DataTime
from napari_damm.train.latent_cache import LatentFile, encode_windows, latent_shape
from napari_damm.train.unreadable import UnreadablePatches
from napari_damm.util.sending import sent
from napari_damm.util.tiling import WINDOW

Value = TypeVar("Value")
VIEWS, LEAST_VARIANTS, MOST_VARIANTS = 512, 8, 64
CROPS_REACH = 6
"""Cells by which what crops are cut from is moved: as far as the next patch, so all is seen."""


class Batch(NamedTuple):
    """Latents (n, c, h, w) of n windows, and the share of each latent pixel that misleads.

    `planted` (n, h, w) is known because divergence was planted there.
    """

    primary: Tensor
    secondary: Tensor
    target: Tensor
    planted: Tensor


@dataclass(frozen=True)
class DrawnCrop:
    """Where a crop is cut: view `variant` of patch `index`, corner (y, x) in latent pixels."""

    index: int
    variant: int
    y: int
    x: int


class Crops(NamedTuple):
    """Images (n, 3, side, side) in [-1, 1], and the share of each latent pixel that misleads."""

    images: Tensor
    planted: Tensor


@lru_cache(maxsize=2)
def _order(split: Split, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the patches of an epoch in their order; of many it takes milliseconds."""
    return epoch_order(split.train, seed, epoch)


@lru_cache(maxsize=1)
def _chances(split: Split) -> NDArray[np.float64]:
    """Return with which chance each patch is drawn."""
    chances = np.array([patch.chance for patch in split.train])
    found: NDArray[np.float64] = chances / chances.sum()
    return found


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
        """Views of each patch: as set, else enough for some hundreds of views in all."""
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
        order = _order(split, self.config.seed, epoch)
        places = within * self.config.batch_size + np.arange(self.config.batch_size)
        rounds, at = np.divmod(places, len(order))
        return [
            (int(order[i]), int(epoch + r) % self.variants) for i, r in zip(at, rounds, strict=True)
        ]


class Batches:
    """Reads and encodes batches of latents, or takes them from `cache` where they are there."""

    def __init__(
        self,
        model: DAMM,
        fields: Sequence[Field],
        split: Split,
        config: TrainConfig,
        unreadable: UnreadablePatches | None = None,
        cache: LatentFile | None = None,
    ) -> None:
        self.model, self.fields, self.split, self.config = model, fields, split, config
        self.schedule = Schedule.of(split, config)
        self.unreadable = unreadable or UnreadablePatches(fields)
        self.cache = cache or LatentFile(None, latent_shape(model), 0)
        self.data_time = DataTime(next(model.parameters()).device.type)
        self.encoded = 0

    def batch(self, step: int, progress: float = 1.0, rank: int = 0, world: int = 1) -> Batch:
        """Return what a step sees, on the model's device, float32.

        Raises
        ------
        OSError
            If none of the patches can be read.
        """
        with self.data_time.spent():
            return self._batch(step, progress, rank, world)

    def crops(self, step: int, count: int, side: int, jitter: float) -> Crops:
        """Return crops of views of their own, on the grid of the latents' pixels.

        In a share of `jitter` the secondary image misleads. In the others the images lie as they
        were taken: what two stains say together of a pixel is lost where one is shifted.
        """
        with self.data_time.spent():
            return self._crops(step, count, side, jitter)

    def _batch(self, step: int, progress: float, rank: int, world: int) -> Batch:
        views = self.schedule.views(self.split, step)[rank::world]
        found = [self._first_readable(self._record, *view) for view in views]
        records, planted = zip(*found, strict=True)
        device = next(self.model.parameters()).device
        latents = sent(torch.from_numpy(np.stack(records)), device).float()
        primary, secondary, target = latents.unbind(1)
        misleading = sent(torch.from_numpy(np.stack(planted)), device)
        return self._cropped(Batch(primary, secondary, target, misleading), step, progress)

    def _crops(self, step: int, count: int, side: int, jitter: float) -> Crops:
        cell = self.model.config.latent_factor
        images, planted = [], []
        for each in self._drawn_crops(step, count, side):
            read = partial(self._images_and_planted, jitter=jitter)
            window, misleads = self._first_readable(read, each.index, each.variant)
            y, x = each.y, each.x
            inside = np.s_[y : y + side // cell, x : x + side // cell]
            planted.append(misleads[inside])
            y, x = y * cell, x * cell
            images.append(window[:, y : y + side, x : x + side])
        device = next(self.model.parameters()).device
        return Crops(
            *(sent(torch.from_numpy(np.stack(each)), device) for each in (images, planted))
        )

    def _drawn_crops(self, step: int, count: int, side: int) -> list[DrawnCrop]:
        """Draw which crops a step sees."""
        rng = np.random.default_rng((self.config.seed, step, 5))
        chances = _chances(self.split)
        places = (WINDOW - side) // self.model.config.latent_factor + 1
        drawn = []
        for index in rng.choice(len(chances), count, p=chances):
            variant = int(rng.integers(2**31))
            y, x = rng.integers(0, places, 2)
            drawn.append(DrawnCrop(int(index), variant, int(y), int(x)))
        return drawn

    def _cropped(self, batch: Batch, step: int, progress: float) -> Batch:
        """Crop a batch in that part of the training in which crops are used."""
        if not self.config.crop_px or progress >= self.config.crop_until:
            return batch
        side = self.config.crop_px // self.model.config.latent_factor
        return _crop(batch, side, self.model.config.unet.factor, step)

    def warnings(self) -> Iterator[Notice]:
        """Yield what went wrong with the kept latents, once."""
        if self.cache.warning:
            warning, self.cache.warning = self.cache.warning, ""
            yield Notice(warning, "warning")

    def close(self) -> None:
        """Let go of the kept latents."""
        self.cache.close()

    def _first_readable(
        self, read: Callable[[int, int], Value | None], index: int, variant: int
    ) -> Value:
        """Return what is read of a view of a patch, or of the next that can be read."""
        for _ in range(len(self.split.train)):
            found = read(index, variant)
            if found is not None:
                return found
            index = (index + 1) % len(self.split.train)
        raise OSError(f"none of the training patches can be read: {self.unreadable.last}")

    def _record(self, index: int, variant: int) -> tuple[np.ndarray, NDArray[np.float32]] | None:
        """Return latents of a view and what misleads in it; None where it cannot be read."""
        planted = self._planted(index, variant)
        if planted is None:
            return None
        record = index * self.schedule.variants + variant
        latents = self.cache.read(record)
        if latents is None:
            images = self._images(index, variant)
            if images is None:
                return None
            latents = self._encode(images)
            self.cache.write(record, latents)
        return latents, planted

    def _images_and_planted(
        self, index: int, variant: int, jitter: float | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        images = self._images(index, variant, jitter)
        planted = None if images is None else self._planted(index, variant, jitter)
        return None if images is None or planted is None else (images, planted)

    def _planted(
        self, index: int, variant: int, jitter: float | None = None
    ) -> NDArray[np.float32] | None:
        """Return the share of each latent pixel of a view that misleads; None if unreadable."""
        patch, view = self.split.train[index], self._view(index, variant, jitter)
        cell = self.model.config.latent_factor
        return self.unreadable.read(patch, lambda: planted_share(self.fields, patch, view, cell))

    def _images(
        self, index: int, variant: int, jitter: float | None = None
    ) -> NDArray[np.float32] | None:
        """Read a view; None where it cannot be read."""
        patch, view = self.split.train[index], self._view(index, variant, jitter)
        return self.unreadable.read(patch, lambda: read_view(self.fields, patch, view))

    def _view(self, index: int, variant: int, jitter: float | None) -> View:
        """Draw a view, with the jitter that was asked for unless another is given."""
        if jitter is None:
            return draw_view(self.split, index, variant, self.config.jitter, self.config.seed)
        return draw_view(self.split, index, variant, jitter, self.config.seed, CROPS_REACH, True)

    def _encode(self, images: NDArray[np.float32]) -> NDArray[np.float16]:
        device = next(self.model.parameters()).device
        half = self.config.precision == "bf16-mixed"
        encoded = encode_windows(self.model, torch.from_numpy(images)[None].to(device), half)
        self.encoded += 1
        made: NDArray[np.float16] = torch.cat(encoded).half().cpu().numpy()
        return made


def _crop(batch: Batch, side: int, grid: int, step: int) -> Batch:
    """Return one random square of all, on the grid of the bottleneck's cells."""
    height, width = batch.primary.shape[2:]
    generator = torch.Generator().manual_seed(step + 700_000_000)
    y, x = (
        grid * int(torch.randint((n - side) // grid + 1, (), generator=generator))
        for n in (height, width)
    )
    return Batch(*(z[..., y : y + side, x : x + side] for z in batch))

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

import numpy as np
import torch

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Split, epoch_order
from napari_damm.dataset.views import draw_view, read_view
from napari_damm.events import FailedItem
from napari_damm.faults import is_out_of_memory
from napari_damm.model.damm import DAMM
from napari_damm.train.latents import LatentFile, Latents, encode_windows
from napari_damm.train.validation import unreadable
from napari_damm.train_config import TrainConfig

VIEWS, LEAST_VARIANTS, MOST_VARIANTS = 512, 8, 64


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

    def batch(self, step: int, progress: float = 1.0, rank: int = 0, world: int = 1) -> Latents:
        """Return the latents of a step, on the model's device, float32.

        Raises
        ------
        OSError
            If none of the patches can be read.
        """
        start = time.perf_counter()
        views = self.schedule.views(self.split, step)[rank::world]
        records = np.stack([self._record(index, variant) for index, variant in views])
        device = next(self.model.parameters()).device
        latents = torch.from_numpy(records).to(device).float()
        batch = Latents(*latents.unbind(1))
        if self.config.crop_px and progress < self.config.crop_until:
            batch = _crop(batch, self.config.crop_px // self.model.config.latent_factor, step)
        self.waited_s += time.perf_counter() - start
        return batch

    def close(self) -> None:
        """Let go of the kept latents."""
        if self.kept is not None:
            self.kept.close()

    def _record(self, index: int, variant: int) -> np.ndarray:
        """Return the latents of a view, of the next readable patch where it cannot be read."""
        for _ in range(len(self.split.train)):
            if index not in self.failed:
                try:
                    return self._latents(index, variant)
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
        view = draw_view(self.split, index, variant, self.config.jitter, self.config.seed)
        images = torch.from_numpy(read_view(self.fields, self.split.train[index], view))
        device = next(self.model.parameters()).device
        encoded = encode_windows(self.model, images[None].to(device))
        made = torch.cat(encoded).half().cpu().numpy()
        self.encoded += 1
        if self.kept is not None:
            self.kept.write(record, made)
        return made

    def _note(self, index: int, error: Exception) -> None:
        failed = unreadable(self.fields, self.split.train[index], error)
        self.failed[index] = failed
        self.untold.append(failed)


def _crop(latents: Latents, side: int, step: int) -> Latents:
    """Return one random square of all latents."""
    height, width = latents.primary.shape[2:]
    generator = torch.Generator().manual_seed(step + 700_000_000)
    y = int(torch.randint(height - side + 1, (), generator=generator))
    x = int(torch.randint(width - side + 1, (), generator=generator))
    return Latents(*(z[:, :, y : y + side, x : x + side] for z in latents))

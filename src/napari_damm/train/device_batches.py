"""Batches of a training that are made on a graphics card: read, cut and encoded there, together.

`Batches` reads one view after the other on the processor, and a card waits for it. Here sections
lie on the card (`device_views`), the views that a step lacks are encoded in one go, and latents
stay in a bank in the card's memory. Views, and what a step sees, are those of `Batches`, the last
bits aside.

Where sections do not fit, or one cannot be read as a whole, `Batches` it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Split
from napari_damm.dataset.sources import ROLES
from napari_damm.dataset.views import View
from napari_damm.model.damm import DAMM
from napari_damm.train.batches import Batch, Batches, Crops
from napari_damm.train.config import TrainConfig
from napari_damm.train.device_views import DeviceSections
from napari_damm.train.latent_cache import latent_shape
from napari_damm.train.unreadable import UnreadablePatches
from napari_damm.util.tiling import WINDOW

SECTIONS_SHARE, BANK_SHARE = 0.2, 0.3
"""How much of the card's free memory sections and latents may take."""
TOGETHER = 64
"""Windows that are encoded at a time."""


def sections_on_card(fields: Sequence[Field], device: torch.device) -> DeviceSections | None:
    """Put sections on a card; None where there is none, or they do not fit or cannot be read."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if DeviceSections.bytes_of(fields) > SECTIONS_SHARE * free:
        return None
    try:
        return DeviceSections(fields, device)
    except (OSError, ValueError):
        return None  # patch by patch it may be read


class DeviceBatches(Batches):
    """`Batches` of sections that lie on the device; `bank_bytes` are for latents."""

    def __init__(
        self,
        model: DAMM,
        fields: Sequence[Field],
        split: Split,
        config: TrainConfig,
        unreadable: UnreadablePatches | None,
        sections: DeviceSections,
        bank_bytes: int,
    ) -> None:
        super().__init__(model, fields, split, config, unreadable)
        self.sections = sections
        self._views: dict[tuple[int, int], View] = {}
        records = self.schedule.patches * self.schedule.variants
        shape = (len(ROLES), *latent_shape(model))
        kept = records if 2 * records * math.prod(shape) <= bank_bytes else 0
        device = next(model.parameters()).device
        self._bank = torch.zeros((kept, *shape), dtype=torch.half, device=device)
        self._known = np.zeros(kept, bool)

    def batch(self, step: int, progress: float = 1.0, rank: int = 0, world: int = 1) -> Batch:
        """Return what a step sees, on the model's device, float32."""
        start = time.perf_counter()
        pairs = self.schedule.views(self.split, step)[rank::world]
        views = [self._known_view(index, variant) for index, variant in pairs]
        images, planted = self._read([index for index, _ in pairs], views)
        latents = self._latents([i * self.schedule.variants + v for i, v in pairs], images)
        primary, secondary, target = latents.float().unbind(1)
        batch = self._cropped(Batch(primary, secondary, target, planted), step, progress)
        self.waited_s += time.perf_counter() - start
        return batch

    def crops(self, step: int, count: int, side: int, jitter: float) -> Crops:
        """Return crops of views of their own, as `Batches.crops`."""
        start = time.perf_counter()
        drawn = self._drawn_crops(step, count, side)
        views = [self._view(each.index, each.variant, jitter) for each in drawn]
        images, planted = self._read([each.index for each in drawn], views)
        cell = self.model.config.latent_factor
        small = side // cell
        made = Crops(
            torch.stack(
                [
                    image[:, cell * c.y : cell * c.y + side, cell * c.x : cell * c.x + side]
                    for image, c in zip(images, drawn, strict=True)
                ]
            ),
            torch.stack(
                [
                    each[c.y : c.y + small, c.x : c.x + small]
                    for each, c in zip(planted, drawn, strict=True)
                ]
            ),
        )
        self.waited_s += time.perf_counter() - start
        return made

    def _read(self, indices: Sequence[int], views: Sequence[View]) -> tuple[Tensor, ...]:
        numbers = [self.split.train[index].field for index in indices]
        return self.sections.read(numbers, views, self.model.config.latent_factor)

    def _known_view(self, index: int, variant: int) -> View:
        if (index, variant) not in self._views:
            self._views[index, variant] = self._view(index, variant, None)
        return self._views[index, variant]

    def _latents(self, records: Sequence[int], images: Tensor) -> Tensor:
        """Return latents (n, 3, c, h, w) in float16, of the bank where it has them."""
        if not len(self._known):
            return self._encoded(images)
        lacking = [k for k, record in enumerate(records) if not self._known[record]]
        if lacking:
            places = torch.tensor([records[k] for k in lacking], device=images.device)
            self._bank[places] = self._encoded(images[torch.tensor(lacking, device=images.device)])
            self._known[[records[k] for k in lacking]] = True
        return self._bank[torch.tensor(records, device=images.device)]

    @torch.no_grad()
    def _encoded(self, images: Tensor) -> Tensor:
        """Encode windows (n, 3, 256, 256), several at a time."""
        half = self.config.precision == "bf16-mixed"
        made = []
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            for some in torch.split(images, TOGETHER):
                roles = []
                for k, role in enumerate(ROLES):
                    channels = self.model.first_stage(role).config.image_channels
                    image = some[:, k : k + 1].expand(-1, channels, WINDOW, WINDOW)
                    roles.append(self.model.encode(image, role).half())
                made.append(torch.stack(roles, dim=1))
        self.encoded += len(images)
        return torch.cat(made)

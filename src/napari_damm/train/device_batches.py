"""Batches of a training that are made on a graphics card: read, cut and encoded there, together.

`Batches` reads one view after the other on the processor, and a card waits for it. Here sections
lie on the card (`device_views`), and latents stay in a bank in its memory. Where a step lacks some,
those of the steps that follow are encoded along with them, a tenth of the bank at a time, in the
place of the oldest. Views, and what a step sees, are those of `Batches`, the last bits aside.

Where sections do not fit, or one cannot be read as a whole, `Batches` it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Split
from napari_damm.dataset.sources import ROLES
from napari_damm.dataset.views import View
from napari_damm.model.damm import DAMM
from napari_damm.train.batches import Batch, Batches, Crops
from napari_damm.train.config import TrainConfig
from napari_damm.train.device_views import DeviceSections, placed
from napari_damm.train.latent_cache import latent_shape
from napari_damm.train.unreadable import UnreadablePatches
from napari_damm.util.tiling import WINDOW

SECTIONS_SHARE, BANK_SHARE = 0.2, 0.3
"""How much of the card's free memory sections and latents may take."""
TOGETHER = 64
"""Windows that are encoded at a time."""
RENEWED = 10
"""One of so many parts of the bank is renewed at a time."""


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
        records = self.schedule.patches * self.schedule.variants
        self.bank = LatentBank(model, records, config.batch_size, bank_bytes)

    def batch(self, step: int, progress: float = 1.0, rank: int = 0, world: int = 1) -> Batch:
        """Return what a step sees, on the model's device, float32."""
        start = time.perf_counter()
        pairs = self.schedule.views(self.split, step)[rank::world]
        if self.bank.size:
            records = [self._record_of(*pair) for pair in pairs]
            if self.bank.lacks(records):
                self._renew(step, records, rank, world)
            latents, planted = self.bank.take(records)
        else:
            latents, planted = self._encoded(pairs)
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

    def _record_of(self, index: int, variant: int) -> int:
        return index * self.schedule.variants + variant

    def _renew(self, step: int, records: Sequence[int], rank: int, world: int) -> None:
        """Encode what a step lacks, and of what follows as much as the bank is renewed by."""
        wanted = dict.fromkeys(self.bank.lacks(records))
        room = max(len(wanted), self.bank.size // RENEWED)
        for later in range(step + 1, step + 1 + room):
            if len(wanted) >= room:
                break
            pairs = self.schedule.views(self.split, later)[rank::world]
            wanted |= dict.fromkeys(self.bank.lacks([self._record_of(*pair) for pair in pairs]))
        variants, found = self.schedule.variants, list(wanted)[:room]
        for start in range(0, len(found), TOGETHER):
            some = found[start : start + TOGETHER]
            self.bank.put(some, *self._encoded([divmod(each, variants) for each in some]), records)

    @torch.no_grad()
    def _encoded(self, pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Return latents (n, 3, c, h, w) of views in float16, and what misleads in them."""
        views = [self._view(index, variant, None) for index, variant in pairs]
        images, planted = self._read([index for index, _ in pairs], views)
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
        return torch.cat(made), planted


class LatentBank:
    """Latents of views in a device's memory, by the number of their record; the oldest go first.

    `size` is how many there is room for: all records, or at least two batches, so that what is new
    never takes the place of what a step needs; 0 where there is less.
    """

    def __init__(self, model: DAMM, records: int, batch: int, room_bytes: int) -> None:
        shape = latent_shape(model)
        device = next(model.parameters()).device
        each = 2 * len(ROLES) * math.prod(shape) + 4 * math.prod(shape[1:])
        size = min(records, room_bytes // each)
        self.size = size if size == records or size >= 2 * batch else 0
        self._latents = torch.zeros(
            (self.size, len(ROLES), *shape), dtype=torch.half, device=device
        )
        self._planted = torch.zeros((self.size, *shape[1:]), device=device)
        self._places: dict[int, int] = {}
        self._records: dict[int, int] = {}
        self._next = 0

    def lacks(self, records: Sequence[int]) -> list[int]:
        """Return which of these it does not have."""
        return [each for each in records if each not in self._places]

    def put(
        self, records: Sequence[int], latents: Tensor, planted: Tensor, needed: Sequence[int]
    ) -> None:
        """Keep what is new, in the place of the oldest that are not `needed` now."""
        held = {self._places[each] for each in needed if each in self._places}
        places = []
        for record in records:
            while self._next in held:
                self._next = (self._next + 1) % self.size
            place, self._next = self._next, (self._next + 1) % self.size
            gone = self._records.get(place)
            if gone is not None:
                del self._places[gone]
            self._records[place], self._places[record] = record, place
            places.append(place)
        index = placed(places, latents.device)
        self._latents[index], self._planted[index] = latents, planted

    def take(self, records: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return latents (n, 3, c, h, w) and what misleads (n, h, w)."""
        index = placed([self._places[each] for each in records], self._latents.device)
        return self._latents[index], self._planted[index]

"""Batches of a training that are made on a graphics card: read, cut and encoded there, together.

`Batches` reads one view after the other on the processor, and a card waits for it. Here sections
lie on the card (`device_views`), or blocks of them where they do not fit (`section_blocks`), and
latents stay in a bank in its memory. Where a step lacks some, those of the steps that follow are
encoded along with them, a tenth of the bank at a time, in the place of the oldest. Views, and what
a step sees, are those of `Batches`, the last bits aside.

A view that cannot be read is had as `Batches` has it: of the next patch that can be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Split
from napari_damm.dataset.sources import ROLES
from napari_damm.dataset.views import View
from napari_damm.events import Notice
from napari_damm.model.damm import DAMM
from napari_damm.train.batches import Batch, Batches, Crops
from napari_damm.train.config import TrainConfig
from napari_damm.train.device_views import DeviceSections, SectionsOnDevice, placed
from napari_damm.train.latent_cache import latent_shape
from napari_damm.train.section_blocks import BLOCK_BYTES, LEAST_BLOCKS, SectionBlocks
from napari_damm.train.unreadable import UnreadablePatches
from napari_damm.util.tiling import WINDOW

SECTIONS_SHARE, BANK_SHARE = 0.2, 0.3
"""How much of the card's free memory sections and latents may take."""
TOGETHER = 64
"""Windows that are encoded at a time, where there are many."""
RENEWED = 10
"""One of so many parts of the bank is renewed at a time."""


def sections_on_card(fields: Sequence[Field], device: torch.device) -> SectionsOnDevice | None:
    """Put sections on a card; None where there is none, or it has no memory to speak of."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return sections_within(int(SECTIONS_SHARE * free), fields, device)


def sections_within(
    room_bytes: int, fields: Sequence[Field], device: torch.device | str
) -> SectionsOnDevice | None:
    """Put sections into so much of a device's memory: as a whole, or else block by block."""
    if DeviceSections.bytes_of(fields) <= room_bytes:
        try:
            return DeviceSections(fields, device)
        except (OSError, ValueError):
            pass  # in a part; the others may be read
    if room_bytes < LEAST_BLOCKS * BLOCK_BYTES:
        return None
    return SectionBlocks(fields, device, room_bytes)


class DeviceBatches(Batches):
    """`Batches` of sections on the device; `bank_bytes` are for latents."""

    def __init__(
        self,
        model: DAMM,
        fields: Sequence[Field],
        split: Split,
        config: TrainConfig,
        unreadable: UnreadablePatches | None,
        sections: SectionsOnDevice,
        bank_bytes: int,
    ) -> None:
        super().__init__(model, fields, split, config, unreadable)
        self.sections = sections
        records = self.schedule.patches * self.schedule.variants
        self.bank = LatentBank(model, records, config.batch_size, bank_bytes)
        # whatever lies there already: bits depend on the size of a batch, also after a resume
        many = max(config.batch_size, records // RENEWED if self.bank.size else 0)
        self._together = min(TOGETHER, many)

    def _batch(self, step: int, progress: float, rank: int, world: int) -> Batch:
        pairs = self.schedule.views(self.split, step)[rank::world]
        if self.bank.size:
            records = [self._record_of(*pair) for pair in pairs]
            if self.bank.lacks(records):
                self._renew(step, records, rank, world)
            latents, planted = self.bank.take(records)
        else:
            latents, planted = self._encoded(pairs)
            self._ask(self.schedule.views(self.split, step + 1)[rank::world], None)
        primary, secondary, target = latents.float().unbind(1)
        return self._cropped(Batch(primary, secondary, target, planted), step, progress)

    def _crops(self, step: int, count: int, side: int, jitter: float) -> Crops:
        drawn = self._drawn_crops(step, count, side)
        images, planted = self._read([(each.index, each.variant) for each in drawn], jitter)
        if self.sections.in_blocks:
            later = self._drawn_crops(step + 1, count, side)
            self._ask([(each.index, each.variant) for each in later], jitter)
        cell = self.model.config.latent_factor
        small = side // cell
        return Crops(
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

    def warnings(self) -> Iterator[Notice]:
        """Yield, once, that sections do not fit."""
        yield from super().warnings()
        said = self.sections.said()
        if said:
            yield Notice(said)

    def close(self) -> None:
        """Read no more."""
        super().close()
        self.sections.close()

    def _read(
        self, pairs: Sequence[tuple[int, int]], jitter: float | None
    ) -> tuple[Tensor, Tensor]:
        """Return images and what misleads, of views (patch, variant)."""

        def otherwise(place: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            read = partial(self._images_and_planted, jitter=jitter)
            return self._first_readable(read, *pairs[place])

        numbers, views = self._places(pairs, jitter)
        return self.sections.read(numbers, views, self.model.config.latent_factor, otherwise)

    def _ask(self, pairs: Sequence[tuple[int, int]], jitter: float | None) -> None:
        """Have ready what is read next, where it is not there."""
        if self.sections.in_blocks:
            self.sections.ask(*self._places(pairs, jitter))

    def _places(
        self, pairs: Sequence[tuple[int, int]], jitter: float | None
    ) -> tuple[list[int], list[View]]:
        numbers = [self.split.train[index].field for index, _ in pairs]
        return numbers, [self._view(*pair, jitter) for pair in pairs]

    def _record_of(self, index: int, variant: int) -> int:
        return index * self.schedule.variants + variant

    def _renew(self, step: int, records: Sequence[int], rank: int, world: int) -> None:
        """Encode what a step lacks, and of what follows as much as the bank is renewed by."""
        wanted = dict.fromkeys(self.bank.lacks(records))
        share, ahead = self.bank.size // RENEWED, 0
        if self.sections.in_blocks:  # little at a time, while what is next is being read
            share, ahead = min(share, self._together), self._together
        room = max(len(wanted), share)
        for later in range(step + 1, step + 1 + room + ahead):
            if len(wanted) >= room + ahead:
                break
            pairs = self.schedule.views(self.split, later)[rank::world]
            wanted |= dict.fromkeys(self.bank.lacks([self._record_of(*pair) for pair in pairs]))
        found, variants = list(wanted), self.schedule.variants
        for start in range(0, min(room, len(found)), self._together):
            some = found[start : min(start + self._together, room)]
            self.bank.put(some, *self._encoded([divmod(each, variants) for each in some]), records)
        self._ask([divmod(each, variants) for each in found[room:]], None)

    @torch.no_grad()
    def _encoded(self, pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
        """Return latents (n, 3, c, h, w) of views in float16, and what misleads in them."""
        images, planted = self._read(pairs, None)
        half = self.config.precision == "bf16-mixed"
        made = []
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            for some in torch.split(images, self._together):
                roles, count = [], len(some)
                if count < self._together:  # filled up with the last
                    last = some[-1:].expand(self._together - count, -1, -1, -1)
                    some = torch.cat([some, last])
                for k, role in enumerate(ROLES):
                    channels = self.model.first_stage(role).config.image_channels
                    image = some[:, k : k + 1].expand(-1, channels, WINDOW, WINDOW)
                    roles.append(self.model.encode(image, role)[:count].half())
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

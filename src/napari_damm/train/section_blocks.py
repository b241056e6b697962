"""Sections that are too large for a graphics card: blocks of them lie there, those used last.

1. A section is cut into blocks of 256 px. The card has room for so many; a table says where each
   lies. Before views are cut, the blocks that they need are read, in the places of those that were
   not needed for longest. Where views need more than there is room for, they are cut in portions.
2. Blocks are read by a few threads, into pinned memory, which the card reads by itself. Whoever
   knows what comes next asks for it: it is read while the card computes.
3. A block that cannot be read is remembered; views of it are told (`unread`), and had otherwise.

A pixel is what it would be of a section that lies there as a whole, to the same bit.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_damm.dataset.fields import Field
from napari_damm.dataset.views import View
from napari_damm.engine.config import MOST_READERS, cores
from napari_damm.train.device_views import (
    FLOAT_BYTES,
    IMAGES,
    DeviceSections,
    SectionsOnDevice,
    images_of,
    placed,
)
from napari_damm.util.tiling import CELL, WINDOW, Box

BLOCK = 256
BLOCK_BYTES = IMAGES * FLOAT_BYTES * BLOCK**2
LEAST_BLOCKS = 4
"""As many as a view can need, whatever its place."""
MOST_AHEAD = 512
"""Blocks that are read and not used yet: half a gigabyte of pinned memory."""


class SectionBlocks(SectionsOnDevice):
    """Blocks of sections on a device, in `room_bytes` of its memory."""

    in_blocks = True

    def __init__(
        self, fields: Sequence[Field], device: torch.device | str, room_bytes: int
    ) -> None:
        """Make room for blocks; none is read yet.

        Raises
        ------
        ValueError
            If there is room for fewer blocks than a view can need.
        """
        super().__init__(fields, device)
        grids = np.array([[-(-side // BLOCK) for side in field.shape] for field in fields])
        counts = grids.prod(axis=1)
        self._firsts = np.concatenate([[0], np.cumsum(counts)])
        self._columns = grids[:, 1]
        room = min(int(self._firsts[-1]), room_bytes // BLOCK_BYTES)
        if room < min(LEAST_BLOCKS, int(self._firsts[-1])):
            raise ValueError(
                f"room_bytes must be {LEAST_BLOCKS * BLOCK_BYTES} or more, got {room_bytes}"
            )
        self.room = room
        self.blocks_read = 0
        self._pixels = torch.empty((room, IMAGES, BLOCK**2), device=device)
        self._table = torch.zeros(int(self._firsts[-1]), dtype=torch.int64, device=device)
        self._on_device = torch.tensor(np.stack([self._firsts[:-1], self._columns]), device=device)
        self._pinned = torch.device(device).type == "cuda"
        self._places: OrderedDict[int, int] = OrderedDict()  # block -> place, used last is last
        self._bad: set[int] = set()
        self._coming: dict[int, Future[Tensor | None]] = {}
        self._readers = ThreadPoolExecutor(min(MOST_READERS, cores()), "napari-damm blocks")
        self._said = _in_words(DeviceSections.bytes_of(fields), room)

    def ask(self, numbers: Sequence[int], views: Sequence[View]) -> int:
        """Begin to read the blocks that views need, as far as that may be done ahead."""
        self._begin(block for each in self._needed(numbers, views) for block in each)
        return len(self._coming)

    def unread(self, numbers: Sequence[int], views: Sequence[View]) -> list[int]:
        """Return the places of those views that need a block which could not be read."""
        if not self._bad:
            return []
        needed = self._needed(numbers, views)
        return [k for k, blocks in enumerate(needed) if not self._bad.isdisjoint(blocks)]

    def said(self) -> str:
        """Say, once, that there is no room for all."""
        said, self._said = self._said, ""
        return said

    def close(self) -> None:
        """Let go of the files; read no more."""
        super().close()
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _read(
        self, numbers: Sequence[int], views: Sequence[View], cell: int
    ) -> tuple[Tensor, Tensor]:
        made = []
        for part, blocks in self._portions(numbers, views):
            self._bring(blocks)
            made.append(super()._read(numbers[part], views[part], cell))
        if len(made) == 1:
            return made[0]
        images, planted = zip(*made, strict=True)
        return torch.cat(images), torch.cat(planted)

    def _pixels_at(self, which: Tensor, y: Tensor, x: Tensor) -> Tensor:
        first, columns = (each[which].reshape(-1, 1, 1) for each in self._on_device)
        block = first + y.div(BLOCK, rounding_mode="floor") * columns
        place = self._table[block + x.div(BLOCK, rounding_mode="floor")]
        return self._pixels[place, :, y % BLOCK * BLOCK + x % BLOCK].movedim(-1, 0)

    def _needed(self, numbers: Sequence[int], views: Sequence[View]) -> list[set[int]]:
        """Return which blocks each view needs."""
        found = []
        for number, view in zip(numbers, views, strict=True):
            height, width = self.fields[number].shape
            rows, columns = _reached(view.row, height), _reached(view.col, width)
            first = int(self._firsts[number]) + rows * int(self._columns[number])
            found.append({int(block) for block in (first[:, None] + columns).flat})
        return found

    def _portions(
        self, numbers: Sequence[int], views: Sequence[View]
    ) -> Iterator[tuple[slice, set[int]]]:
        """Yield which views have room for their blocks together, and these."""
        start, together = 0, set[int]()
        for k, blocks in enumerate(self._needed(numbers, views)):
            if len(together | blocks) > self.room:
                yield slice(start, k), together
                start, together = k, set()
            together |= blocks
        yield slice(start, len(views)), together

    def _bring(self, blocks: set[int]) -> None:
        """Have blocks on the device."""
        for block in blocks & self._places.keys():
            self._places.move_to_end(block)
        missing = sorted(blocks - self._places.keys() - self._bad)
        there = []
        for k, block in enumerate(missing):
            if block not in self._coming:
                self._begin(missing[k:])
            pixels = self._arrived(block)
            if pixels is None:
                self._bad.add(block)
                continue
            place = len(self._places)
            if place == self.room:
                _, place = self._places.popitem(last=False)
            self.blocks_read += 1
            self._pixels[place].copy_(pixels, non_blocking=self._pinned)
            self._places[block] = place
            there.append((block, place))
        if there:
            known, places = zip(*there, strict=True)
            device = self._table.device
            self._table[placed(known, device)] = placed(places, device)

    def _begin(self, blocks: Iterable[int]) -> None:
        """Begin to read blocks that are not there; what was asked for long ago makes room."""
        wanted = dict.fromkeys(blocks)
        for block in wanted:
            if block in self._places or block in self._bad or block in self._coming:
                continue
            if len(self._coming) >= MOST_AHEAD:
                old = next((each for each in self._coming if each not in wanted), None)
                if old is None:
                    return
                self._coming.pop(old).cancel()
            self._coming[block] = self._readers.submit(self._pixels_of, block)

    def _arrived(self, block: int) -> Tensor | None:
        """Wait for a block that is being read; None where it cannot be."""
        coming = self._coming.pop(block, None) or self._readers.submit(self._pixels_of, block)
        if coming.done():
            return coming.result()
        start = time.perf_counter()
        try:
            return coming.result()
        finally:
            self.waited_s += time.perf_counter() - start

    def _pixels_of(self, block: int) -> Tensor | None:
        """Read a block (4, 256 * 256); what lies beyond the section is left as it is."""
        number = int(np.searchsorted(self._firsts, block, side="right")) - 1
        y, x = divmod(block - int(self._firsts[number]), int(self._columns[number]))
        field = self.fields[number]
        box = Box(0, 0, BLOCK, BLOCK).shifted(y * BLOCK, x * BLOCK)
        box = box.intersect(Box(0, 0, *field.shape))
        try:
            images = images_of(field, box)
        except (OSError, ValueError):
            return None
        made = torch.empty((IMAGES, BLOCK, BLOCK), pin_memory=self._pinned)
        made.numpy()[:, : box.shape[0], : box.shape[1]] = images
        return made.reshape(IMAGES, -1)


def _reached(corner: int, size: int) -> NDArray[np.int64]:
    """Return the numbers of the blocks that a view reaches along one side of a section."""
    index = np.arange(corner * CELL, corner * CELL + WINDOW)
    if index[-1] >= size:
        index = index % max(1, 2 * (size - 1))
        index = np.minimum(np.minimum(index, 2 * (size - 1) - index), size - 1)
    return np.unique(index // BLOCK)


def _in_words(wanted: int, room: int) -> str:
    if wanted <= room * BLOCK_BYTES:
        return ""
    return (
        f"the sections take {wanted / 2**30:.2f} GB, and {room * BLOCK_BYTES / 2**30:.2f} GB of "
        "the graphics card are for them: they are read in blocks, whenever one is needed"
    )

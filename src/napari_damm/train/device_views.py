"""Views of patches, cut on a graphics card: what `dataset.views` reads, many at a time.

1. Sections lie on the device, all of them one after the other (`DeviceSections`) or in blocks
   (`section_blocks`): three images, and where divergence was planted.
2. A window is a gather of pixels; beyond a section's border they are reflected. The secondary image
   is gathered from where it was shifted to, and changed as the view says.
3. Windows are turned and flipped last, by another gather.

Tests compare it with `dataset.views` on the CPU.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from napari_damm.dataset.fields import Field
from napari_damm.dataset.sources import ROLES
from napari_damm.dataset.views import View
from napari_damm.util.sending import sent
from napari_damm.util.tiling import CELL, WINDOW, Box

TRUNCATE = 4.0
"""Standard deviations at which a blur ends, as scipy's."""
FLOAT_BYTES = 4
BAND = 256
"""Rows of a section that are read at a time where all of it is."""
IMAGES = len(ROLES) + 1
"""Of a section: those of the three roles, and where divergence was planted."""
Otherwise = Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Images (3, 256, 256) and what misleads, of the view at this place of those that are read."""


class SectionsOnDevice(ABC):
    """Sections of whose pixels some or all lie on a device; views of them."""

    in_blocks = False
    """Whether they are read when they are needed, so that it helps to `ask` ahead."""
    waited_s = 0.0
    """How long pixels were waited for that were not there yet."""

    def __init__(self, fields: Sequence[Field], device: torch.device | str) -> None:
        """Take note of the sections' sizes."""
        self.fields = fields
        self._shapes = torch.tensor([field.shape for field in fields], device=device)

    def read(
        self,
        numbers: Sequence[int],
        views: Sequence[View],
        cell: int,
        otherwise: Otherwise | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return views of the sections of these numbers: images, and what misleads in them.

        (n, 3, 256, 256) in [-1, 1] and (n, 256 / cell, 256 / cell) in 0..1, as `read_view` and
        `planted_share` give them. Those that hold pixels that cannot be read are had `otherwise`.

        Raises
        ------
        OSError
            If there are such, and nothing is had otherwise.
        """
        images, planted = self._read(numbers, views, cell)
        for place in self.unread(numbers, views):
            if otherwise is None:
                name = self.fields[numbers[place]].section.name
                raise OSError(f"a part of {name} cannot be read")
            found = otherwise(place)
            for there, value in zip((images[place], planted[place]), found, strict=True):
                there.copy_(sent(torch.from_numpy(value), there.device))
        return images, planted

    def ask(self, numbers: Sequence[int], views: Sequence[View]) -> int:
        """Have ready what is read next; return how much of it is being read."""
        return 0

    def unread(self, numbers: Sequence[int], views: Sequence[View]) -> list[int]:
        """Return the places of those views of which pixels could not be read."""
        return []

    def said(self) -> str:
        """Return what there is to be told of them, once; "" for nothing."""
        return ""

    def close(self) -> None:
        """Let go of the files; read no more."""
        self.fields = ()

    @abstractmethod
    def _pixels_at(self, which: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Return pixels (4, n, h, w) at places (n, h, w) inside the sections of numbers (n,)."""

    def _read(
        self, numbers: Sequence[int], views: Sequence[View], cell: int
    ) -> tuple[Tensor, Tensor]:
        device = self._shapes.device

        def column(values: Sequence[float]) -> Tensor:
            return placed(values, device).reshape(-1, 1, 1)

        which = placed(numbers, device)
        side = torch.arange(WINDOW, device=device)
        place = (which, column([view.row * CELL for view in views]),
                 column([view.col * CELL for view in views]))  # fmt: skip
        y, x = side[:, None].expand(len(views), -1, -1), side[None].expand(len(views), 1, -1)
        plain = self._window(*place, y, x)
        moved = self._window(
            *place,
            _reflected(y - column([view.shift[0] for view in views]), WINDOW),
            _reflected(x - column([view.shift[1] for view in views]), WINDOW),
        )[1]
        gain = column([view.gain for view in views])
        changed = torch.where(gain == 1, moved, ((moved + 1) * gain - 1).clamp(-1, 1))
        changed = blurred(changed, [view.blur for view in views])
        spots = [view.spot or (0.0, 0.0, float("inf")) for view in views]
        far = torch.hypot(
            y - column([spot[0] for spot in spots]), x - column([spot[1] for spot in spots])
        )
        inside = far < column([spot[2] for spot in spots])
        images = torch.stack([plain[0], torch.where(inside, changed, plain[1]), plain[2]], dim=1)
        misleads = inside & (column([float(view.misleads) for view in views]) > 0)
        share = F.avg_pool2d(torch.maximum(plain[3], misleads.float())[:, None], cell)
        ways = [view.turns for view in views], [view.flip for view in views]
        return turned(images, *ways), turned(share, *ways)[:, 0]

    def _window(self, which: Tensor, row: Tensor, col: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Gather pixels (y, x) of windows: (4, n, 256, 256)."""
        height, width = (each.reshape(-1, 1, 1) for each in self._shapes[which].unbind(1))
        return self._pixels_at(which, _reflected(row + y, height), _reflected(col + x, width))


class DeviceSections(SectionsOnDevice):
    """Sections that lie on a device as a whole."""

    def __init__(self, fields: Sequence[Field], device: torch.device | str) -> None:
        """Read all sections.

        Raises
        ------
        ValueError, OSError
            If a pixel of any is not finite, or cannot be read.
        """
        super().__init__(fields, device)
        sizes = [field.shape[0] * field.shape[1] for field in fields]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._starts = torch.tensor(starts, dtype=torch.int64, device=device)
        self._pixels = torch.empty((IMAGES, sum(sizes)), device=device)
        for field, start in zip(fields, starts, strict=True):
            height, width = field.shape
            for y0 in range(0, height, BAND):
                y1 = min(y0 + BAND, height)
                band = torch.from_numpy(images_of(field, Box(y0, 0, y1, width)))
                there = self._pixels[:, start + y0 * width : start + y1 * width]
                there.copy_(sent(band.reshape(IMAGES, -1), device))

    @staticmethod
    def bytes_of(fields: Sequence[Field]) -> int:
        """Return how much memory sections take."""
        return sum(IMAGES * FLOAT_BYTES * field.shape[0] * field.shape[1] for field in fields)

    def _pixels_at(self, which: Tensor, y: Tensor, x: Tensor) -> Tensor:
        width = self._shapes[which, 1].reshape(-1, 1, 1)
        return self._pixels[:, self._starts[which].reshape(-1, 1, 1) + y * width + x]


def images_of(field: Field, box: Box) -> NDArray[np.float32]:
    """Read a box of a section's images: (4, h, w), those of the roles in [-1, 1].

    Raises
    ------
    ValueError, OSError
        If a pixel is not finite, or cannot be read.
    """
    planted = field.read_planted(box)
    images = [field.read(role, box) for role in ROLES]
    images.append(np.zeros(box.shape, np.float32) if planted is None else planted)
    return np.stack(images)


def _reflected(index: Tensor, size: Tensor | int) -> Tensor:
    """Reflect indices into 0..size - 1, at the centres of the outermost pixels."""
    if isinstance(size, int):
        size = torch.full((), size, device=index.device)
    period = (2 * (size - 1)).clamp_min(1)
    within = index.abs() % period
    return torch.minimum(within, period - within).clamp_max(size - 1)


def placed(values: Sequence[float], device: torch.device) -> Tensor:
    """Return a few numbers on a device, on which nothing is waited for."""
    return sent(torch.tensor(values), device)


def turned(images: Tensor, quarters: Sequence[int], flips: Sequence[bool]) -> Tensor:
    """Turn images (n, c, s, s) by quarters, then flip them top to bottom, each in its way."""
    n, channels, size, _ = images.shape
    device = images.device
    i = torch.arange(size, device=device)[None, :, None].expand(n, size, size)
    j = torch.arange(size, device=device)[None, None, :].expand(n, size, size)
    flip = placed(flips, device).reshape(-1, 1, 1)
    i = torch.where(flip, size - 1 - i, i)
    ways = torch.stack(
        [i * size + j, j * size + size - 1 - i,
         (size - 1 - i) * size + size - 1 - j, (size - 1 - j) * size + i]
    )  # fmt: skip
    turns = placed([each % 4 for each in quarters], device)
    source = ways[turns, torch.arange(n, device=device)].reshape(n, 1, -1)
    flat = images.flatten(2).gather(2, source.expand(-1, channels, -1))
    return flat.reshape(images.shape)


def blurred(images: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Blur images (n, s, s), each by its own Gaussian, as `scipy.ndimage.gaussian_filter` does."""
    rows = [k for k, sigma in enumerate(sigmas) if sigma > 0]
    if not rows:
        return images
    radius = max(int(TRUNCATE * sigmas[k] + 0.5) for k in rows)
    x = np.arange(-radius, radius + 1)
    kernels = np.stack(
        [
            np.exp(-0.5 * (x / sigmas[k]) ** 2) * (abs(x) <= int(TRUNCATE * sigmas[k] + 0.5))
            for k in rows
        ]
    )
    kernels /= kernels.sum(axis=1, keepdims=True)
    weight = sent(torch.from_numpy(kernels.astype(np.float32)), images.device)[:, None]
    size = images.shape[-1]
    around = torch.arange(-radius, size + radius, device=images.device) % (2 * size)
    around = torch.minimum(around, 2 * size - 1 - around)  # the outermost pixel is repeated
    index = placed(rows, images.device)
    some = images[index][None]
    some = F.conv2d(some[:, :, around], weight[..., None], groups=len(rows))
    some = F.conv2d(some[..., around], weight[:, :, None], groups=len(rows))
    return images.index_copy(0, index, some[0])

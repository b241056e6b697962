"""Views of patches, cut on a graphics card: what `dataset.views` reads, many at a time.

1. All sections lie on the device, one after the other: three images, and where divergence was
   planted.
2. A window is a gather of pixels; beyond a section's border they are reflected. The secondary image
   is gathered from where it was shifted to, and changed as the view says.
3. Windows are turned and flipped last, by another gather.

Tests compare it with `dataset.views` on the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_damm.dataset.fields import Field
from napari_damm.dataset.sources import ROLES
from napari_damm.dataset.views import View
from napari_damm.util.sending import sent
from napari_damm.util.tiling import CELL, WINDOW, Box

TRUNCATE = 4.0
"""Standard deviations at which a blur ends, as scipy's."""
_FLOAT = 4


class DeviceSections:
    """Sections on a device; views of them."""

    def __init__(self, fields: Sequence[Field], device: torch.device | str) -> None:
        """Read all sections.

        Raises
        ------
        ValueError, OSError
            If a pixel of any is not finite, or cannot be read.
        """
        shapes = [field.shape for field in fields]
        self._shapes = torch.tensor(shapes, device=device)
        sizes = [height * width for height, width in shapes]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._starts = torch.tensor(starts, dtype=torch.int64, device=device)
        self._pixels = torch.empty((len(ROLES) + 1, sum(sizes)), device=device)
        for field, start, size in zip(fields, starts, sizes, strict=True):
            box = Box(0, 0, *field.shape)
            planted = field.read_planted(box)
            images = [field.read(role, box) for role in ROLES]
            images.append(np.zeros(field.shape, np.float32) if planted is None else planted)
            stacked = torch.from_numpy(np.stack(images)).reshape(len(images), -1)
            self._pixels[:, start : start + size] = stacked.to(device)

    @staticmethod
    def bytes_of(fields: Sequence[Field]) -> int:
        """Return how much memory sections take."""
        return sum((len(ROLES) + 1) * _FLOAT * field.shape[0] * field.shape[1] for field in fields)

    def read(self, numbers: Sequence[int], views: Sequence[View], cell: int) -> tuple[Tensor, ...]:
        """Return views of the sections of these numbers: images, and what misleads in them.

        (n, 3, 256, 256) in [-1, 1] and (n, 256 / cell, 256 / cell) in 0..1, as `read_view` and
        `planted_share` give them.
        """
        device = self._pixels.device

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
        changed = _blurred(changed, [view.blur for view in views])
        spots = [view.spot or (0.0, 0.0, float("inf")) for view in views]
        far = torch.hypot(
            y - column([spot[0] for spot in spots]), x - column([spot[1] for spot in spots])
        )
        inside = far < column([spot[2] for spot in spots])
        images = torch.stack([plain[0], torch.where(inside, changed, plain[1]), plain[2]], dim=1)
        misleads = inside & (column([float(view.misleads) for view in views]) > 0)
        share = F.avg_pool2d(torch.maximum(plain[3], misleads.float())[:, None], cell)
        return _turned(images, views), _turned(share, views)[:, 0]

    def _window(self, which: Tensor, row: Tensor, col: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Gather pixels (y, x) of windows: (4, n, 256, 256)."""
        height, width = (each.reshape(-1, 1, 1) for each in self._shapes[which].unbind(1))
        start = self._starts[which].reshape(-1, 1, 1)
        index = start + _reflected(row + y, height) * width + _reflected(col + x, width)
        return self._pixels[:, index]


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


def _turned(images: Tensor, views: Sequence[View]) -> Tensor:
    """Turn images (n, c, s, s) by quarters, then flip them, each as its view says."""
    n, channels, size, _ = images.shape
    device = images.device
    i = torch.arange(size, device=device)[None, :, None].expand(n, size, size)
    j = torch.arange(size, device=device)[None, None, :].expand(n, size, size)
    flip = placed([view.flip for view in views], device).reshape(-1, 1, 1)
    i = torch.where(flip, size - 1 - i, i)
    ways = torch.stack(
        [i * size + j, j * size + size - 1 - i,
         (size - 1 - i) * size + size - 1 - j, (size - 1 - j) * size + i]
    )  # fmt: skip
    turns = placed([view.turns % 4 for view in views], device)
    source = ways[turns, torch.arange(n, device=device)].reshape(n, 1, -1)
    flat = images.flatten(2).gather(2, source.expand(-1, channels, -1))
    return flat.reshape(images.shape)


def _blurred(images: Tensor, sigmas: Sequence[float]) -> Tensor:
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

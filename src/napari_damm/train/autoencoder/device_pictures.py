"""Batches of pictures that are made on a graphics card: what `camera` does, to many crops at once.

1. All pictures lie on the device. What is random of a batch is drawn on the host, the same as for
   `PicturePool`, by a thread, one step ahead.
2. Crops are gathered and resampled as Pillow does: two matrices of bicubic weights, whose filter
   grows with the reduction. Then they are turned and mirrored.
3. Tones, blur or sharpening, and noise. JPEG is what its coefficients lose: blocks of 8 x 8 px, by
   cosines, rounded to multiples of the standard table's.

Crops are those of `PicturePool` to the last bits. Through a JPEG they differ by some 0.2 of a grey
level, a quarter of what it loses, since a coefficient may be rounded either way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_damm.train.autoencoder.pictures import DrawnPicture, PicturePool
from napari_damm.train.device_views import blurred, placed, turned
from napari_damm.util.sending import sent

CUBIC = -0.5
"""Pillow's bicubic filter."""
REACH = 2.0
BLOCK = 8
# Table K.1 of the JPEG standard (ITU-T T.81): luminance
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)


class DevicePictures:
    """The pictures of a pool on a device, and batches of crops of a size of them."""

    def __init__(
        self, pool: PicturePool, count: int, size: int, device: torch.device | str
    ) -> None:
        self._pool, self._count, self._size = pool, count, size
        flat = [
            (kind, number, picture)
            for kind, found in pool.pictures.items()
            for number, picture in enumerate(found)
        ]
        starts = np.cumsum([0, *(picture.size for *_, picture in flat)])
        self._places = {
            (kind, number): (int(start), picture.shape[1])
            for (kind, number, picture), start in zip(flat, starts, strict=False)
        }
        pixels = np.concatenate([picture.ravel() for *_, picture in flat])
        self._pixels = torch.from_numpy(pixels).to(device)
        self._thread = ThreadPoolExecutor(1, "napari-damm pictures")
        self._coming: dict[int, Future[list[DrawnPicture]]] = {}

    def batch(self, step: int) -> Tensor:
        """Return crops (count, 1, size, size) in [-1, 1], by the step alone."""
        drawn = self._begun(step).result()
        self._coming = {step + 1: self._begun(step + 1)}
        return self._exposed(self._cut(drawn), drawn)[:, None] * 2 - 1

    def close(self) -> None:
        """Draw no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _begun(self, step: int) -> Future[list[DrawnPicture]]:
        coming = self._coming.get(step)
        if coming is None:
            coming = self._thread.submit(self._pool.drawn, step, self._count, self._size)
        return coming

    def _cut(self, drawn: Sequence[DrawnPicture]) -> Tensor:
        """Return crops (n, size, size), turned and mirrored."""
        device = self._pixels.device
        cuts = [each.cut for each in drawn]
        starts, widths = zip(*(self._places[each.kind, each.number] for each in drawn), strict=True)
        corners = [
            start + cut.y * width + cut.x
            for start, width, cut in zip(starts, widths, cuts, strict=True)
        ]
        most = max(cut.side for cut in cuts)
        corner, width, side = (
            placed(each, device).reshape(-1, 1, 1)
            for each in (corners, widths, [cut.side for cut in cuts])
        )
        along = torch.arange(most, device=device)
        y, x = along[:, None].minimum(side - 1), along[None].minimum(side - 1)
        weights = bicubic_weights(side, self._size, most)
        crops = weights @ self._pixels[corner + y * width + x] @ weights.transpose(1, 2)
        # mirrored left to right is turned by half and mirrored top to bottom
        quarters = [cut.turns + 2 * cut.mirrored for cut in cuts]
        return turned(crops[:, None], quarters, [cut.mirrored for cut in cuts])[:, 0]

    def _exposed(self, crops: Tensor, drawn: Sequence[DrawnPicture]) -> Tensor:
        """Return crops (n, size, size) as a microscope and a camera would have recorded them."""
        device = crops.device
        exposures = [each.exposure for each in drawn]

        def column(name: str) -> Tensor:
            values = [float(getattr(each, name)) for each in exposures]
            return placed(values, device).reshape(-1, 1, 1)

        image = crops.clamp(0, 1)
        image = torch.where(column("inverted") > 0, 1 - image, image) ** column("gamma")
        soft = blurred(image, [each.sigma for each in exposures])
        image = image + column("sharpened") * (image - soft)
        image = column("low") + (column("high") - column("low")) * image
        level = (column("read") ** 2 + column("shot") ** 2 * image.clamp(0, 1)).sqrt()
        rows = [k for k, each in enumerate(exposures) if each.grain is not None]
        if rows:
            found = [each.grain for each in exposures if each.grain is not None]
            grain = np.stack(found).astype(np.float32)
            at = placed(rows, device)
            image = image.index_add(0, at, level[at] * sent(torch.from_numpy(grain), device))
        image = image.clamp(0, 1)
        rows = [k for k, each in enumerate(exposures) if each.quality is not None]
        if not rows:
            return image
        qualities = [each.quality for each in exposures if each.quality is not None]
        at = placed(rows, device)
        return image.index_copy(0, at, compressed(image[at], qualities))


def bicubic_weights(side: Tensor, size: int, most: int) -> Tensor:
    """Return how pixels of a side (n, 1, 1) make one of `size`: weights (n, size, most).

    Those beyond the side are 0. Of the same size it is the identity.
    """
    scale = side / size
    wide = scale.clamp_min(1.0)
    centre = (torch.arange(size, device=side.device)[None, :, None] + 0.5) * scale
    first = (centre - REACH * wide + 0.5).floor().clamp_min(0)
    last = torch.minimum((centre + REACH * wide + 0.5).floor(), side)
    j = torch.arange(most, device=side.device)
    x = ((j - centre + 0.5) / wide).abs()
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * CUBIC
    weights = torch.where(x < 1, near, torch.where(x < REACH, far, torch.zeros_like(x)))
    weights = weights * ((j >= first) & (j < last))
    return weights / weights.sum(dim=2, keepdim=True)


def compressed(images: Tensor, qualities: Sequence[int]) -> Tensor:
    """Return what a JPEG of each quality keeps of images (n, h, w) in 0..1, in grey levels."""
    n, height, width = images.shape
    device = images.device
    beyond = (0, -width % BLOCK, 0, -height % BLOCK)
    levels = (images * 255).round()[:, None]
    levels = F.pad(levels, beyond, mode="replicate")[:, 0] - 128
    rows, columns = (length // BLOCK for length in levels.shape[1:])
    blocks = levels.reshape(n, rows, BLOCK, columns, BLOCK).transpose(2, 3)
    cosines = _cosines(device)
    table = sent(torch.from_numpy(np.stack([_table(each) for each in qualities])), device)
    table = table[:, None, None]
    kept = (cosines @ blocks @ cosines.T / table).round() * table
    found = (cosines.T @ kept @ cosines).transpose(2, 3).reshape(levels.shape)
    return (found + 128).round().clamp(0, 255)[:, :height, :width] / 255


def _cosines(device: torch.device) -> Tensor:
    """Return the orthonormal cosine transform of 8 values."""
    k = torch.arange(BLOCK, device=device)
    rows = torch.cos(math.pi / BLOCK * (k + 0.5) * k[:, None]) * math.sqrt(2 / BLOCK)
    return torch.where(k[:, None] == 0, math.sqrt(1 / BLOCK), rows)


def _table(quality: int) -> np.ndarray:
    """Return the steps (8, 8) to which coefficients are rounded, as libjpeg scales them."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = (np.array(LUMINANCE) * scale + 50) // 100
    return steps.clip(1, 255).astype(np.float32)

"""Planted divergence: patches in which the nuclei image of a simulated section misleads.

1. Lobed patches are laid on the section until they cover the share drawn for it.
2. Each is one kind of fault: ``_drop_out``, ``_defocus``, ``_misregister``.
3. Their union is the mask, the truth that an uncertainty map is judged against.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.simulate.fields import Field, Range, Shape, draw, sigmoid, smooth_field

Box = tuple[slice, slice]


@dataclass(frozen=True)
class DivergenceConfig:
    """Ranges (low, high) of the planted divergence: area share, patch radius and shift in um."""

    area: Range = (0.08, 0.25)
    radius: Range = (45.0, 110.0)
    defocus: Range = (4.0, 7.0)
    shift: Range = (35.0, 90.0)
    loss: Range = (0.45, 0.75)


def plant_divergence(
    config: DivergenceConfig, rng: np.random.Generator, stain: Field
) -> tuple[Field, NDArray[np.uint8]]:
    """Return the nuclear stain with misleading patches, and the mask (uint8, 1 = diverges).

    Each patch is one of: drop-out (stain is lost in blotches and smeared around), defocus (the
    patch is blurred), misregistration (the patch shows tissue from elsewhere in the section). All
    roughly keep the local mean, as an adaptive exposure would, so that dimness does not tell.
    """
    shape = stain.shape
    mask = np.zeros(shape, dtype=np.uint8)
    image = stain.copy()
    wanted = draw(rng, config.area) * stain.size
    kind = int(rng.integers(3))
    for _ in range(10_000):
        if int(mask.sum()) >= wanted:
            break
        box, patch = _patch(config, rng, stain)
        weight = ndimage.gaussian_filter(patch.astype(np.float32), 1.5)
        misled = (_drop_out, _defocus, _misregister)[kind % 3](config, rng, stain, box)
        image[box] += weight * (misled - image[box])
        mask[box] |= patch
        kind += 1
    return image, mask


def _patch(
    config: DivergenceConfig, rng: np.random.Generator, stain: Field
) -> tuple[Box, NDArray[np.bool_]]:
    """Return a random lobed patch: its bounding box on the section and its mask in the box."""
    h, w = stain.shape
    radius = min(draw(rng, config.radius), 0.35 * min(h, w))
    cy, cx = rng.uniform(0, h), rng.uniform(0, w)
    lobes = rng.uniform(0.0, 0.16, 3), rng.uniform(0, 2 * np.pi, 3)
    reach = int(1.5 * radius) + 2
    rows = slice(max(0, int(cy) - reach), min(h, int(cy) + reach))
    cols = slice(max(0, int(cx) - reach), min(w, int(cx) + reach))
    y, x = np.ogrid[rows, cols]
    angle = np.arctan2(y - cy, x - cx)
    outline = np.ones_like(angle)
    for order, (height, phase) in enumerate(zip(*lobes, strict=True), start=2):
        outline += height * np.cos(order * angle + phase)
    return (rows, cols), np.hypot(y - cy, x - cx) < radius * outline


def _drop_out(config: DivergenceConfig, rng: np.random.Generator, stain: Field, box: Box) -> Field:
    """Return the box with stain lost in nucleus-sized blotches and its dye smeared around."""
    sharp = stain[box]
    shape: Shape = (sharp.shape[0], sharp.shape[1])
    blotches = sigmoid(smooth_field(rng, shape, 7.0) * 6.0 + 2.0)
    lost = draw(rng, config.loss) * blotches
    smeared = ndimage.gaussian_filter(sharp * lost, 9.0)
    faded: Field = sharp * (1.0 - lost) + np.float32(rng.uniform(0.6, 1.0)) * smeared
    return faded


def _defocus(config: DivergenceConfig, rng: np.random.Generator, stain: Field, box: Box) -> Field:
    """Return the box out of focus."""
    blurred: Field = ndimage.gaussian_filter(stain[box], draw(rng, config.defocus))
    return blurred


def _misregister(
    config: DivergenceConfig, rng: np.random.Generator, stain: Field, box: Box
) -> Field:
    """Return what lies a shift away, turned over: a fold, or a slip between two exposures."""
    angle = rng.uniform(0, 2 * np.pi)
    shift = draw(rng, config.shift)
    index = [
        _reflect(np.arange(part.start, part.stop) + round(shift * step), n)
        for part, step, n in zip(box, (np.sin(angle), np.cos(angle)), stain.shape, strict=True)
    ]
    if rng.random() < 0.5:
        index[0] = index[0][::-1]
    return stain[np.ix_(index[0], index[1])]


def _reflect(index: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return indices mirrored into 0..n-1."""
    folded = np.mod(index, 2 * n)
    return np.where(folded < n, folded, 2 * n - 1 - folded)

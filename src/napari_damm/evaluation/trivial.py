"""What trivial methods make of a section: a linear model of both images, and a blur of the first.

Both are fitted to the very section that they are judged on, which nobody could do who lacks its
truth: what does not beat them there has shown nothing. Block by block, so that memory stays small.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from napari_damm.dataset import Field
from napari_damm.evaluation.scores import Floats, Ground, as_shown
from napari_damm.trust.trivial import LinearModel
from napari_damm.util.tiling import Box

LINEAR, BLUR = "linear model", "best blur"
METHODS = (LINEAR, BLUR)
BLOCK_PX, HALO_PX = 512, 96
"""The widest blur (32 px) has next to no weight beyond the halo."""
MOST_BLOCKS = 24
"""So many, spread evenly, are fitted to: there are few weights."""


def trivial_maps(field: Field, ground: Ground) -> dict[str, Floats]:
    """Return their maps by name, relative intensities (y, x) on the ground they were fitted to.

    Raises
    ------
    ValueError, OSError
        If an image cannot be read.
    """
    model, blocks = LinearModel(), list(_blocks(ground.box))
    counted = [block for block in blocks if ground.inside[_within(ground.box, block)].any()]
    places = np.linspace(0, len(counted) - 1, min(len(counted), MOST_BLOCKS)).round().astype(int)
    for block in (counted[k] for k in places):
        around = _around(ground.box, block)
        inside = np.zeros(around.shape, bool)
        inside[_within(around, block)] = ground.inside[_within(ground.box, block)]
        model.add(*_inputs(field, around), ground.truth[_within(ground.box, around)], inside)
    maps = {name: np.zeros(ground.box.shape, np.float32) for name in METHODS}
    for block in counted:
        around = _around(ground.box, block)
        made = model.predict_both(*_inputs(field, around))
        for name, image in zip(METHODS, made, strict=True):
            maps[name][_within(ground.box, block)] = image[_within(around, block)]
    return maps


def _inputs(field: Field, box: Box) -> tuple[Floats, Floats]:
    primary, secondary = (as_shown(field.read(role, box)) for role in ("primary", "secondary"))
    return primary, secondary


def _blocks(box: Box) -> Iterator[Box]:
    for y in range(box.y0, box.y1, BLOCK_PX):
        for x in range(box.x0, box.x1, BLOCK_PX):
            yield Box(y, x, y + BLOCK_PX, x + BLOCK_PX).intersect(box)


def _around(box: Box, block: Box) -> Box:
    wider = Box(
        block.y0 - HALO_PX, block.x0 - HALO_PX, block.y1 + HALO_PX, block.x1 + HALO_PX
    )  # fmt: skip
    return wider.intersect(box)


def _within(outer: Box, inner: Box) -> tuple[slice, slice]:
    """Return where a box lies in another, in pixels of that."""
    return inner.shifted(-outer.y0, -outer.x0).slices

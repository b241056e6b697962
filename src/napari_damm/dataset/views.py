"""Augmented readings of a patch: what the model learns from, drawn by number.

1. A view moves its patch by up to three cells where that is allowed, turns it by quarters and may
   flip it: all three images alike.
2. The secondary image is shifted against the others by a few pixels, and its intensity changed a
   little, as registration and staining go.
3. In a share of the views it misleads: it is shifted far, or has nearly faded. That is what teaches
   the gate when not to trust it.

View `variant` of patch `index` is a function of these two and the seed: it can be kept, or made
again, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Patch, Split
from napari_damm.dataset.sources import ROLES
from napari_damm.tiling import CELL, WINDOW, Box

MOVE_CELLS = 3
SHIFT_PX = 2
FAR_PX = (16, 64)
GAIN = (0.85, 1.15)
FADED = (0.0, 0.3)


@dataclass(frozen=True)
class View:
    """How a patch is read: corner (cells), quarter turns, flip; and what befalls the secondary.

    `shift` (y, x) in model pixels and `gain` of its intensity above the dark.
    """

    row: int
    col: int
    turns: int = 0
    flip: bool = False
    shift: tuple[int, int] = (0, 0)
    gain: float = 1.0


def plain_view(patch: Patch) -> View:
    """Return the patch as it is."""
    return View(patch.row, patch.col)


def draw_view(split: Split, index: int, variant: int, jitter: float, seed: int) -> View:
    """Draw view `variant` of training patch `index`; `jitter` is the share that misleads."""
    patch = split.train[index]
    rng = np.random.default_rng((seed, index, variant, 3))
    corners = split.corners[patch.field]
    # every draw is made whatever the ones before gave, so that views differ in one thing at a time
    moves = rng.integers(-MOVE_CELLS, MOVE_CELLS + 1, (8, 2))
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    near = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
    gain = float(rng.uniform(*GAIN))
    misleads, fades = rng.random() < jitter, rng.random() < 0.5
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(*FAR_PX)
    faded = float(rng.uniform(*FADED))
    row, col = patch.row, patch.col
    for dy, dx in moves:
        y, x = patch.row + int(dy), patch.col + int(dx)
        if 0 <= y < corners.shape[0] and 0 <= x < corners.shape[1] and corners[y, x]:
            row, col = y, x
            break
    shift = (int(near[0]), int(near[1]))
    if misleads and fades:
        gain = faded
    elif misleads:
        shift = (round(far * np.sin(angle)), round(far * np.cos(angle)))
    if jitter == 0:
        shift, gain = (0, 0), 1.0
    return View(row, col, turns, flip, shift, gain)


def read_view(fields: Sequence[Field], patch: Patch, view: View) -> NDArray[np.float32]:
    """Read a view: (3, 256, 256) float32 in [-1, 1]; primary, secondary, target.

    Raises
    ------
    ValueError, OSError
        If pixels are not finite or cannot be read.
    """
    field = fields[patch.field]
    box = Box(0, 0, WINDOW, WINDOW).shifted(view.row * CELL, view.col * CELL)
    images = np.stack([field.read(role, box) for role in ROLES])
    if view.shift != (0, 0):
        images[1] = _shifted(images[1], *view.shift)
    if view.gain != 1.0:
        images[1] = np.clip((images[1] + 1) * np.float32(view.gain) - 1, -1, 1)
    images = np.rot90(images, view.turns, (1, 2))
    if view.flip:
        images = images[:, ::-1]
    return np.ascontiguousarray(images)


def _shifted(image: NDArray[np.float32], dy: int, dx: int) -> NDArray[np.float32]:
    """Move an image by (dy, dx); what comes in is its own reflection, never a neighbour's pixels.

    Neighbours may validate: no pixel of theirs may be seen in training.
    """
    height, width = image.shape
    around = np.pad(image, ((abs(dy),) * 2, (abs(dx),) * 2), mode="reflect")
    y, x = abs(dy) - dy, abs(dx) - dx
    moved: NDArray[np.float32] = around[y : y + height, x : x + width]
    return moved

"""Augmented readings of a patch: what the model learns from, drawn by number.

1. A view moves its patch by up to three cells where that is allowed, turns it by quarters and may
   flip it: all three images alike.
2. The secondary image is shifted against the others by a few pixels, and its intensity changed a
   little, as registration and staining go.
3. In a share of the views it misleads: it is shifted far, has nearly faded, or is out of focus; all
   over, or in a round spot. That is what teaches the gate when not to trust it.

4. Where the secondary image misleads is known: in such views everywhere, and of simulated sections
   where divergence was planted.

View `variant` of patch `index` is a function of these two and the seed: it can be kept, or made
again, to the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Patch, Split
from napari_damm.dataset.sources import ROLES
from napari_damm.util.tiling import CELL, WINDOW, Box

MOVE_CELLS = 3
SHIFT_PX = 2
FAR_PX = (16, 64)
GAIN = (0.85, 1.15)
FADED = (0.0, 0.3)
DEFOCUS_PX = (4.0, 7.0)
SPOT_PX = (45.0, 110.0)
KINDS = ("faded", "far", "defocus")


@dataclass(frozen=True)
class View:
    """How a patch is read: corner (cells), quarter turns, flip; and what befalls the secondary.

    `shift` (y, x) in model pixels, `gain` of its intensity above the dark, `blur` in pixels;
    `misleads`: these are so large that the secondary image is of no use, in the `spot` (centre y,
    x, radius; pixels of the patch) if there is one, else all over.
    """

    row: int
    col: int
    turns: int = 0
    flip: bool = False
    shift: tuple[int, int] = (0, 0)
    gain: float = 1.0
    misleads: bool = False
    blur: float = 0.0
    spot: tuple[float, float, float] | None = None

    @property
    def inside(self) -> NDArray[np.bool_] | None:
        """Where the spot is, (256, 256); None without one."""
        if self.spot is None:
            return None
        y, x = np.ogrid[:WINDOW, :WINDOW]
        found: NDArray[np.bool_] = np.hypot(y - self.spot[0], x - self.spot[1]) < self.spot[2]
        return found


def plain_view(patch: Patch) -> View:
    """Return the patch as it is."""
    return View(patch.row, patch.col)


def draw_view(
    split: Split,
    index: int,
    variant: int,
    jitter: float,
    seed: int,
    reach: int = MOVE_CELLS,
    steady: bool = False,
) -> View:
    """Draw view `variant` of training patch `index`; `jitter` is the share that misleads.

    The patch is moved by up to `reach` cells. `steady`: where the secondary image does not mislead,
    it lies as it was taken.
    """
    patch = split.train[index]
    rng = np.random.default_rng((seed, index, variant, 3))
    corners = split.corners[patch.field]
    # every draw is made whatever the ones before gave, so that views differ in one thing at a time
    moves = rng.integers(-reach, reach + 1, (8, 2))
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    near = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2)
    gain = float(rng.uniform(*GAIN))
    misleads, kind = rng.random() < jitter, KINDS[int(rng.random() * len(KINDS))]
    angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(*FAR_PX)
    faded, blur = float(rng.uniform(*FADED)), float(rng.uniform(*DEFOCUS_PX))
    spotted, spot = rng.random() < 0.5, (*rng.uniform(0, WINDOW, 2), rng.uniform(*SPOT_PX))
    row, col = patch.row, patch.col
    for dy, dx in moves:
        y, x = patch.row + int(dy), patch.col + int(dx)
        if 0 <= y < corners.shape[0] and 0 <= x < corners.shape[1] and corners[y, x]:
            row, col = y, x
            break
    shift = (int(near[0]), int(near[1]))
    if jitter == 0 or (steady and not misleads):
        return View(row, col, turns, flip)
    if not misleads:
        return View(row, col, turns, flip, shift, gain)
    if kind == "far":
        shift = (round(far * np.sin(angle)), round(far * np.cos(angle)))
    gain = faded if kind == "faded" else gain
    blur = blur if kind == "defocus" else 0.0
    where = (float(spot[0]), float(spot[1]), float(spot[2])) if spotted else None
    return View(row, col, turns, flip, shift, gain, True, blur, where)


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
    changed = images[1]
    if view.shift != (0, 0):
        changed = _shifted(changed, *view.shift)
    if view.gain != 1.0:
        changed = np.clip((changed + 1) * np.float32(view.gain) - 1, -1, 1)
    if view.blur:
        changed = ndimage.gaussian_filter(changed, view.blur)
    images[1] = changed if view.inside is None else np.where(view.inside, changed, images[1])
    images = np.rot90(images, view.turns, (1, 2))
    if view.flip:
        images = images[:, ::-1]
    return np.ascontiguousarray(images)


def planted_share(
    fields: Sequence[Field], patch: Patch, view: View, cell: int
) -> NDArray[np.float32]:
    """Return the share of each square of `cell` px in which the secondary image misleads.

    Shape (256 / cell, 256 / cell), 0..1, of what is known: planted by the simulator or by the view.
    """
    side = WINDOW // cell
    box = Box(0, 0, WINDOW, WINDOW).shifted(view.row * CELL, view.col * CELL)
    planted = fields[patch.field].read_planted(box)
    mask = np.zeros((WINDOW, WINDOW), np.float32) if planted is None else planted
    if view.misleads:
        mask = np.maximum(mask, True if view.inside is None else view.inside)
    share = mask.reshape(side, cell, side, cell).mean(axis=(1, 3), dtype=np.float32)
    share = np.rot90(share, view.turns)
    return np.ascontiguousarray(share[::-1] if view.flip else share)


def _shifted(image: NDArray[np.float32], dy: int, dx: int) -> NDArray[np.float32]:
    """Move an image by (dy, dx); what comes in is its own reflection, never a neighbour's pixels.

    Neighbours may validate: no pixel of theirs may be seen in training.
    """
    height, width = image.shape
    around = np.pad(image, ((abs(dy),) * 2, (abs(dx),) * 2), mode="reflect")
    y, x = abs(dy) - dy, abs(dx) - dx
    moved: NDArray[np.float32] = around[y : y + height, x : x + width]
    return moved

"""Which windows train and which validate, kept apart by blocks of tissue.

Everything lies on cells of 32 model pixels; a patch is a window of 8 x 8 cells (256 px).

1. A section that is large enough is cut: into blocks of 512 px, of which some validate, or, where
   it holds few blocks, into one strip that validates and the rest. Smaller sections (patches in a
   folder) stay whole; of these the last in order validate, so that neighbours stay together. So do
   sections of few blocks where there are several: strips would take more of them than is asked.
2. A patch trains only if none of its cells validates, and validates only if all of them do: no
   pixel is ever on both sides.
3. Patches are spread over what is left: one in each square of 192 px to train, closer where that
   gives but a few; of 256 px to validate, so that validation windows do not overlap.
4. Patches with little tissue are drawn seldom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_damm.dataset.fields import Field, Mask
from napari_damm.util.tiling import CELL, WINDOW, Box

SIDE = WINDOW // CELL
BLOCK = 2 * SIDE
TRAIN_STEPS, VALIDATION_STEP = (6, 3, 2, 1), SIDE
FEW = 4
LEAST_BLOCKS = 8
LEAST_TRAIN, LEAST_VALIDATION = 2, 1
FULL_TISSUE, LEAST_CHANCE = 0.25, 0.1


@dataclass(frozen=True)
class Patch:
    """A window of section number `field`, its corner at cell (row, col); `chance` to be drawn."""

    field: int
    row: int
    col: int
    chance: float = 1.0

    @property
    def box(self) -> Box:
        """Its pixels on the model grid."""
        return Box(0, 0, WINDOW, WINDOW).shifted(self.row * CELL, self.col * CELL)


@dataclass(frozen=True, eq=False)
class Split:
    """The patches, and for each section the corners (cells) where a patch may train."""

    train: tuple[Patch, ...]
    validation: tuple[Patch, ...]
    corners: tuple[Mask, ...]


def split_patches(fields: Sequence[Field], share: float, seed: int) -> Split:
    """Choose the patches of all sections; `share` of the tissue validates.

    Raises
    ------
    ValueError
        If there are too few.
    """
    small = [k for k, f in enumerate(fields) if f.section.use == "split" and _holds_few_blocks(f)]
    strips = share * len(small) < 1
    stay = set() if strips else set(small)
    spared = _spared(fields, small, share) if strips else set()
    validating: list[Mask | None] = []
    for k, field in enumerate(fields):
        if k in stay:
            validating.append(None)
        elif k in spared:
            validating.append(np.zeros(field.usable.shape, np.bool_))
        else:
            validating.append(_validating_cells(field, share, seed + k))
    whole = [k for k, cells in enumerate(validating) if cells is None]
    none_is_cut = len(whole) == len(fields) > 1
    keep = max(int(none_is_cut), round(share * len(whole)))
    if none_is_cut:
        keep = min(keep, len(whole) - 1)
    last = _last_ones(fields, whole, keep)
    validation: list[Patch] = []
    opened: list[Mask] = []
    for k, field in enumerate(fields):
        held = validating[k]
        cells = np.full(field.usable.shape, k in last, np.bool_) if held is None else held
        open_to_training = corners_inside(field.usable & ~cells)
        opened.append(open_to_training)
        validation += _spread(k, field, corners_inside(field.usable & cells), VALIDATION_STEP)
    train: list[Patch] = []
    for step in TRAIN_STEPS:
        train = [p for k, field in enumerate(fields) for p in _spread(k, field, opened[k], step)]
        if len(train) >= FEW:
            break
    validation = _without_empty(validation)
    _check_enough(fields, train, validation)
    return Split(tuple(train), tuple(validation), tuple(opened))


def _spared(fields: Sequence[Field], small: Sequence[int], share: float) -> set[int]:
    """Return which sections of few blocks need no strip, so that `share` of all validates."""
    sides = {k: max(_sides(fields[k])) for k in small}
    long = [k for k in small if sides[k] >= 2 * SIDE]
    wanted, held = share * sum(sides[k] for k in long), 0
    spared = set(long)
    for k in reversed(long):
        strip = _strip_length(sides[k], share)
        if held and held + strip / 2 > wanted:
            break
        held += strip
        spared.remove(k)
    return spared


def _last_ones(fields: Sequence[Field], whole: Sequence[int], keep: int) -> set[int]:
    """Return at least `keep` of the fields that are not cut: patches of one section together.

    Neighbours may overlap. Where all patches are of one section, the last ones.
    """
    names = [getattr(fields[k].section, "folder", "") or str(k) for k in whole]
    chosen: list[int] = []
    for name in reversed(dict.fromkeys(names)):
        group = [k for k, its in zip(whole, names, strict=True) if its == name]
        if len(chosen) >= keep or len(chosen) + len(group) == len(whole):
            break
        chosen += group
    return set(chosen if len(chosen) >= keep else whole[len(whole) - keep :])


def corners_inside(cells: Mask) -> Mask:
    """Return where a patch may have its first cell, so that all its cells are True.

    Where a section is smaller than a patch, cells beyond its border count as True: they are
    completed by reflection.
    """
    grown = np.zeros([max(n, SIDE) for n in cells.shape], bool)
    grown[: cells.shape[0], : cells.shape[1]] = cells
    for axis in (0, 1):
        if cells.shape[axis] < SIDE:
            beyond = [slice(None), slice(None)]
            beyond[axis] = slice(cells.shape[axis], SIDE)
            edge = np.take(grown, [cells.shape[axis] - 1], axis)
            grown[tuple(beyond)] = edge
    views = np.lib.stride_tricks.sliding_window_view(grown, (SIDE, SIDE))
    return np.asarray(views.all(axis=(2, 3)), np.bool_)


def epoch_order(patches: Sequence[Patch], seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the patches of an epoch in their order: each once, those with little tissue seldom.

    A function of seed and epoch alone.
    """
    rng = np.random.default_rng((seed, epoch, 1))
    order = rng.permutation(len(patches))
    drawn = rng.random(len(patches)) < np.array([patch.chance for patch in patches])
    kept = order[drawn[order]]
    return kept if len(kept) else order


def _validating_cells(field: Field, share: float, seed: int) -> Mask | None:
    """Return the cells of a section that validate; None where it cannot be cut."""
    cells = np.zeros(field.usable.shape, bool)
    if field.section.use != "split":
        cells[:] = field.section.use == "validation"
        return cells
    extent = _extent(field.usable & field.tissue) or _extent(field.usable)
    if extent is None:
        return cells
    _, bottom, _, right = extent
    blocks = _blocks(field)
    if len(blocks) >= LEAST_BLOCKS:
        rng = np.random.default_rng((seed, 2))
        for k in rng.permutation(len(blocks))[: max(1, round(share * len(blocks)))]:
            y, x = blocks[k]
            cells[y : y + BLOCK, x : x + BLOCK] = True
        return cells
    height, width = _sides(field)
    long = max(height, width)
    if long < 2 * SIDE:
        return None
    strip = _strip_length(long, share)
    if height >= width:
        cells[bottom - strip : bottom] = True
    else:
        cells[:, right - strip : right] = True
    return cells


def _sides(field: Field) -> tuple[int, int]:
    """Return height and width of the tissue of a section, in cells; zeros where nothing is."""
    extent = _extent(field.usable & field.tissue) or _extent(field.usable)
    if extent is None:
        return 0, 0
    top, bottom, left, right = extent
    return bottom - top, right - left


def _strip_length(long: int, share: float) -> int:
    """Return how much of a side of so many cells validates: a patch, and leaves one, at least."""
    return min(max(SIDE, round(share * long)), long - SIDE)


def _extent(cells: Mask) -> tuple[int, int, int, int] | None:
    """Return the bounds of cells: top, bottom, left, right; None where there are none."""
    rows, cols = (np.flatnonzero(cells.any(axis)) for axis in (1, 0))
    if not len(rows):
        return None
    return int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1


def _blocks(field: Field) -> list[tuple[int, int]]:
    """Return the corners of the blocks of tissue."""
    top, bottom, left, right = _extent(field.usable) or (0, 0, 0, 0)
    return [
        (y, x)
        for y in range(top, bottom - BLOCK + 1, BLOCK)
        for x in range(left, right - BLOCK + 1, BLOCK)
        if (field.usable & field.tissue)[y : y + BLOCK, x : x + BLOCK].mean() > 0.5
    ]


def _holds_few_blocks(field: Field) -> bool:
    return _extent(field.usable) is not None and len(_blocks(field)) < LEAST_BLOCKS


def _spread(k: int, field: Field, corners: Mask, step: int) -> list[Patch]:
    """Return one patch per square of `step` cells in which a corner may lie."""
    found = []
    tissue = np.zeros([max(n, SIDE) for n in field.tissue.shape], bool)
    tissue[: field.tissue.shape[0], : field.tissue.shape[1]] = field.tissue
    rows, cols = (np.flatnonzero(corners.any(axis)) for axis in (1, 0))
    if not len(rows):
        return []
    for y in range(rows[0], rows[-1] + 1, step):
        for x in range(cols[0], cols[-1] + 1, step):
            here = np.argwhere(corners[y : y + step, x : x + step])
            if not len(here):
                continue
            # the first possible corner keeps patches on one lattice, and validation ones apart
            row, col = (int(v) for v in here[0] + (y, x))
            share = float(tissue[row : row + SIDE, col : col + SIDE].mean())
            chance = max(LEAST_CHANCE, min(1.0, share / FULL_TISSUE))
            found.append(Patch(k, row, col, chance))
    return found


def _without_empty(patches: list[Patch]) -> list[Patch]:
    """Leave out windows of glass, unless there are no others: there is nothing to judge there."""
    tissue = [patch for patch in patches if patch.chance > LEAST_CHANCE]
    return tissue or patches


def _check_enough(
    fields: Sequence[Field], train: Sequence[Patch], validation: Sequence[Patch]
) -> None:
    if len(train) >= LEAST_TRAIN and len(validation) >= LEAST_VALIDATION:
        return
    um = fields[0].model_um
    raise ValueError(
        f"too few patches: {len(train)} to train and {len(validation)} to validate, "
        f"at least {LEAST_TRAIN} and {LEAST_VALIDATION} are needed, each {WINDOW} x {WINDOW} px of "
        f"{um:g} um and no part of both: give larger images or a larger region (from "
        f"{2 * WINDOW * um:g} x {WINDOW * um:g} um), or more of them"
    )

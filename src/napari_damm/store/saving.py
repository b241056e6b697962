"""Saving a result that is in memory, with everything it holds, as a store on disk.

Shard by shard, so that memory does not grow with the section; all levels are copied as they are, so
that the saved result is the same to the last bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.store.layout import ShardStatus, to_half
from napari_damm.store.result import Result, open_result
from napari_damm.store.writing import ResultStore
from napari_damm.util.files import REMOVE, check_new, seal
from napari_damm.util.tiling import Box

if TYPE_CHECKING:
    from napari_damm.store.arrays import Array
    from napari_damm.store.layout import Level


def save_result(result: Result, path: str | Path) -> Result:
    """Write a finished result into a new folder, and return it as it is there.

    Raises
    ------
    ValueError
        If the run was not finished.
    OSError
        If there is something at `path`, its folder is missing, or the disk is full; nothing is left
        behind.
    """
    path = Path(path)
    check_new(path, REMOVE)
    if not result.complete:
        raise ValueError("the result is not finished: only finished ones can be saved")
    # Until the last shard is there, the store says of itself that it is unfinished.
    store = ResultStore.create(path, result.layout, {**result.record, "finished": None})
    try:
        for row, col in np.ndindex(result.status.shape):
            _copy_shard(result, store, (row, col))
        store.finish({"finished": result.record["finished"]})
    except BaseException:
        store.discard()
        raise
    store.close()
    return open_result(path)


def _copy_shard(result: Result, store: ResultStore, at: tuple[int, int]) -> None:
    status = ShardStatus(int(result.status[at]))
    if status in (ShardStatus.PENDING, ShardStatus.BACKGROUND):
        store.mark(*at, ShardStatus.BACKGROUND)
        return
    layout, arrays = result.layout, store.arrays
    box, cells = layout.shard_box(*at), layout.shard_cells(*at)
    pyramids = (
        (layout.levels, result.levels, arrays.levels),
        (layout.std_levels, result.std_levels, arrays.std_levels),
        (layout.sample_levels, result.samples, arrays.samples),
    )
    for levels, sources, targets in pyramids:
        for level, source, target in zip(levels, sources, targets, strict=True):
            _copy(source, target, _at_level(box, level))
    _copy(result.uncertainty, arrays.uncertainty, cells)
    _copy(result.branch, arrays.branch, cells)
    if result.familiarity is not None and arrays.familiarity is not None:
        _copy(result.familiarity, arrays.familiarity, cells)
    assert store.path is not None
    store.commit(*at, status, seal(store.path, store.writer.files(*at)))


def _at_level(box: Box, level: Level) -> Box:
    """Return the pixels of a coarser level that a shard owns."""
    y0, x0 = box.y0 // level.factor, box.x0 // level.factor
    y1, x1 = (-(-end // level.factor) for end in (box.y1, box.x1))
    return Box(y0, x0, y1, x1)


def _copy(source: Any, target: Array, box: Box) -> None:
    values = np.asarray(source[box.slices])
    target[box.slices] = to_half(values) if values.dtype.kind == "f" else values

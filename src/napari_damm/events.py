"""What a running job tells whoever drives it.

`predict(...)` and `fine_tune(...)` are generators of these frozen values. The command line turns
them into a progress bar, a widget into layers, a test into a list. Closing the generator cancels
the job. Nothing is handed down into the engine: no callbacks, no loggers, no widgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy


@dataclass(frozen=True)
class Notice:
    """One sentence for the user that changes nothing (`level` is "info" or "warning")."""

    message: str
    level: str = "info"


@dataclass(frozen=True)
class Planned:
    """The job is resolved and its store exists; this run has computed nothing yet.

    `windows` and `shards` are those of the whole job; an earlier run has stored `windows_done` and
    `shards_done` of them. `seconds`, `memory_bytes` and `disk_bytes` say what the rest will take
    (None or 0 where that is unknown).

    `shape` is that of the NP map in model pixels, `origin` the world position (y, x) in um of its
    upper left *corner*. `canvas` is a `napari_damm.canvas.LiveCanvas`: it shows what is stored
    plus the tiles fed to it. `record` is the job record that is saved with the result.
    """

    shape: tuple[int, int]
    pixel_size_um: float
    origin: tuple[float, float]
    windows: int
    background_windows: int
    shards: int
    steps: int
    record: Mapping[str, Any]
    canvas: Any
    windows_done: int = 0
    shards_done: int = 0
    seconds: float | None = None
    memory_bytes: int = 0
    disk_bytes: int = 0


@dataclass(frozen=True)
class Step:
    """A denoising step of one batch is done; `done` of `total` window-steps of the whole job."""

    done: int
    total: int


@dataclass(frozen=True)
class Tile:
    """A window is done: what its area of the result looks like now.

    `np` (h, w) float32 is the blend of the windows finished so far at model pixel (y, x) of the
    NP map; `uncertainty` (float32) and `branch` (uint8) are the cells that this window owns, at
    cell (cell_y, cell_x) of the two coarse maps. Ramps towards unfinished neighbours change
    when those finish, in a later Tile.
    """

    y: int
    x: int
    np: numpy.ndarray
    cell_y: int
    cell_x: int
    uncertainty: numpy.ndarray
    branch: numpy.ndarray
    windows_done: int
    windows: int


@dataclass(frozen=True)
class ShardDone:
    """A shard is final and, where the store is on disk, safely there."""

    row: int
    col: int
    shards_done: int
    shards: int


@dataclass(frozen=True)
class FailedItem:
    """One window or file could not be done; the job went on."""

    item: str
    message: str


@dataclass(frozen=True)
class Finished:
    """The last event. `result` is a `napari_damm.store.Result` (of a training: the model)."""

    result: Any
    seconds: float
    failed: tuple[str, ...] = ()


Event = Notice | Planned | Step | Tile | ShardDone | FailedItem | Finished

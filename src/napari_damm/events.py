"""What a running job tells whoever drives it.

`predict(...)` and `fine_tune(...)` are generators of these frozen values. The command line turns
them into a progress bar, a widget into layers, a test into a list. Closing the generator cancels
the job. Nothing is handed down into the engine: no callbacks, no loggers, no widgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy


class Branch(IntEnum):
    """Which branch of the network a cell of the result comes from, as stored in `branch`."""

    NOT_PREDICTED = 0
    UNI_MODAL = 1
    MULTI_MODAL = 2

    @property
    def colour(self) -> str:
        """Okabe and Ito's orange and blue: told apart by colour-blind readers; grey for none."""
        return ("#404040", "#e69f00", "#56b4e9")[self]


@dataclass(frozen=True)
class Notice:
    """One sentence for the user that changes nothing (`level` is "info" or "warning")."""

    message: str
    level: str = "info"


@dataclass(frozen=True)
class Planned:
    """The job is resolved and its store exists; this run has computed nothing yet.

    `windows` and `shards` are those of the whole job; an earlier run has stored `windows_done` and
    `shards_done` of them. `steps` are those of one window, all its samples together. `seconds`,
    `memory_bytes` and `disk_bytes` say what the rest will take (None or 0 where that is unknown).

    `shape` is that of the NP map in model pixels, `origin` the world position (y, x) in um of its
    upper left *corner*. `preview` is a `napari_damm.engine.live_preview.LivePreview`: it shows what
    is stored plus the tiles fed to it. `record` is the job record that is saved with the result.
    """

    shape: tuple[int, int]
    pixel_size_um: float
    origin: tuple[float, float]
    windows: int
    background_windows: int
    shards: int
    steps: int
    record: Mapping[str, Any]
    preview: Any
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
    NP map, `np_std` its standard deviation over samples (None where a single one is drawn);
    `uncertainty` (float32) and `branch` (uint8) are the cells that this window owns, at
    cell (cell_y, cell_x) of the coarse maps; so is `familiarity` (float32; None where the model
    does not say which images it knows). Ramps towards unfinished neighbours change
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
    np_std: numpy.ndarray | None = None
    familiarity: numpy.ndarray | None = None

    @property
    def mostly_multi_modal(self) -> bool:
        """Whether at least half of its cells, if it has any, used both images."""
        multi = int((self.branch == Branch.MULTI_MODAL).sum())
        return 2 * multi >= self.branch.size > 0


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
class SectionStarted:
    """A section of a batch begins: what follows is of it, until `SectionDone` or `SectionFailed`.

    `section` is what people call it, `number` counts from 1.
    """

    section: str
    number: int
    total: int


@dataclass(frozen=True)
class SectionDone:
    """A section of a batch is predicted; `failed` are windows that could not be.

    `result` is a `napari_damm.store.Result`.
    """

    section: str
    result: Any
    seconds: float
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class SectionFailed:
    """A section of a batch could not be predicted; the batch goes on with the next."""

    section: str
    message: str


@dataclass(frozen=True)
class Finished:
    """The last event.

    `result` is a `napari_damm.store.Result`; of a training a `TrainedModel`, of an evaluation a
    `Report`, of a batch a `BatchReport`.
    """

    result: Any
    seconds: float
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainPlanned:
    """The training is resolved: its data are measured and split. Nothing has been learnt yet.

    `steps` is how many there will be, None where `minutes` decide. `steps_done` were made by an
    earlier run that is being resumed. `folder` is the run's folder, `record` what goes on the card.
    `validation_corners_um` are the upper left corners (y, x) of the windows that are scored, in the
    worlds of their sections.
    """

    sections: int
    train_patches: int
    validation_patches: int
    modalities: tuple[str, str, str]
    pixel_size_um: float
    folder: Path
    record: Mapping[str, Any]
    steps: int | None = None
    minutes: float | None = None
    steps_done: int = 0
    validation_corners_um: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Preparing:
    """Work that is not learning, such as "measuring sections": `done` of `total` (0: unknown)."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class TrainStep:
    """One step of a training.

    `phase` is "joint", "gated", "detail" or "autoencoder of <modality>"; for the last two
    `loss` is the only loss. `progress` (0..1) and `seconds_left` (None: not known yet) are of the
    whole training, `waiting` is the share of the time since the last step that went into its data:
    on a graphics card of the card's own time, computing them or idle (see `train.data_time`).
    """

    step: int
    epoch: int
    phase: str
    progress: float
    loss: float
    loss_uni: float = float("nan")
    loss_multi: float = float("nan")
    confidence: float = float("nan")
    learning_rate: float = float("nan")
    samples_per_s: float = float("nan")
    waiting: float = 0.0
    seconds_left: float | None = None


@dataclass(frozen=True)
class ValidationTile:
    """One window that no training patch touches, as images (h, w) float32 of 0..1.

    `y`, `x` are its corner in model pixels of the section `section`, `corner_um` the same in the
    world (upper left corner of its first pixel). `before` is predicted by the base model (None when
    training from scratch), `now` by the model as it is.
    """

    section: str
    y: int
    x: int
    pixel_size_um: float
    corner_um: tuple[float, float]
    primary: numpy.ndarray
    secondary: numpy.ndarray
    truth: numpy.ndarray
    before: numpy.ndarray | None
    now: numpy.ndarray


GAIN = ("ssim_gain_low", "ssim_gain_high")
"""Scores that say between what the gain in SSIM over the base model lies (95 %)."""


@dataclass(frozen=True)
class Validated:
    """The model was tried on the validation windows, gated, with single samples.

    `scores` has "ssim", "psnr", "mse", "r2" and "std_ratio" (spread of the prediction over that
    of the truth) and "r", the correlation with it, and where there are windows enough those of
    `GAIN`; `base_scores` the same of the base model (empty when training from scratch). `step` 0
    is before any training. `best`: this is the best so far, and it was kept.
    """

    step: int
    progress: float
    scores: Mapping[str, float]
    base_scores: Mapping[str, float]
    best: bool
    tiles: tuple[ValidationTile, ...] = ()


@dataclass(frozen=True)
class Saved:
    """A checkpoint of step `step` is safely on disk: the training can be resumed from there."""

    path: Path
    step: int


Event = (
    Notice
    | Planned
    | Step
    | Tile
    | ShardDone
    | FailedItem
    | SectionStarted
    | SectionDone
    | SectionFailed
    | TrainPlanned
    | Preparing
    | TrainStep
    | Validated
    | Saved
    | Finished
)

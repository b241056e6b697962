"""The folder of a training: what it holds, who may write it, and how far it has come.

1. `read_training` says how far a training is. Nothing here reads tensors, or loads torch.
2. `check_new` and `check_same` refuse a folder before anything is written.
3. `RunFolder` is the folder in use: one run writes it at a time (the lock dies with its process);
   `run.json` is replaced whole.

```
RUN/
  run.json               settings, data, progress, scores: everything below in plain words
  last.ckpt              the state to resume from (safetensors)
  first_stages/          the same of the autoencoders, where they are trained
  curves.csv             a line per logged step and per validation
  latents/               cached; may be deleted, and is made again
  NAME.safetensors       the best model so far, once there is one
```
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from napari_damm.train.config import TrainConfig
from napari_damm.util.advice import Advice
from napari_damm.util.bounded_json import read_json
from napari_damm.util.files import (
    RESUME_OR_REMOVE,
    check_own,
    check_writable,
    output_exists,
    replace_file,
)
from napari_damm.util.lock import LOCK, WriterLock
from napari_damm.util.text import printable

STATE_FILE = "run.json"
LAST = "last.ckpt"
NAMED = 3
CURVES = "curves.csv"
LATENTS = "latents"
MOST_BYTES = 64 * 2**20
"""Of `run.json`: ours are some kilobytes."""
AUTOENCODERS = "first_stages"
LEFTOVERS = ("writer.lock", "writer.json")
"""What a lock may leave behind in a folder that holds nothing else."""
# Another value of these does not make it another training.
FREE = {"epochs", "minutes", "patience", "checkpoint_minutes", "name", "device", "devices",
        "strategy", "validation_tiles"}  # fmt: skip

OTHER_BASE = "base model is another than the one"


@dataclass(frozen=True)
class TrainingState:
    """How far a training has come.

    `model` is the file of the model that it made, None while there is none; it is there when the
    training has finished, or was stopped after its first validation. `base` is the name of the
    model that it started from, None from scratch. `resumable`: there is more to do. `data` lists
    the sections, in words.
    """

    folder: Path
    name: str
    config: TrainConfig
    base: str | None
    data: tuple[str, ...]
    step: int
    progress: float
    finished: bool
    resumable: bool
    model: Path | None
    scores: Mapping[str, float]
    base_scores: Mapping[str, float]
    record: Mapping[str, Any]


@dataclass(frozen=True)
class TrainedModel:
    """What a training ends with: the model's file, its card, and how it and its base scored."""

    path: Path
    name: str
    card: Mapping[str, Any]
    scores: Mapping[str, float]
    base_scores: Mapping[str, float]
    folder: Path


def trainings_folder() -> Path:
    """Where trainings are kept that were given no folder."""
    return user_data_path("napari-damm", False) / "trainings"


def default_folder(name: str) -> Path:
    """Return the folder of the training of a model of this name."""
    return trainings_folder() / name


def read_training(folder: str | Path) -> TrainingState | None:
    """Say how far the training in a folder has come; None if there is none.

    Raises
    ------
    OSError
        If its `run.json` cannot be read.
    ValueError
        If it is damaged.
    """
    folder = Path(folder)
    path = folder / STATE_FILE
    if not path.exists():
        return None
    record = read_json(path, MOST_BYTES)
    try:
        config = TrainConfig.from_dict(record["config"])
        model = folder / _plain_name(record["model"]) if record.get("model") else None
        return TrainingState(
            folder=folder,
            name=config.name,
            config=config,
            base=record["base"],
            data=tuple(str(section["name"]) for section in record["data"]),
            step=int(record["step"]),
            progress=float(record["progress"]),
            finished=bool(record["finished"]),
            resumable=not record["finished"],
            model=model if model is not None and model.is_file() else None,
            scores=_numbers(record.get("scores", {})),
            base_scores=_numbers(record.get("base_scores", {})),
            record=record,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove the folder {folder}") from None


class RunFolder:
    """The folder of one run, locked until `close`."""

    def __init__(self, path: Path, lock: bool = True) -> None:
        """Make the folder where it is missing, and lock it: that is for one process to do.

        Raises
        ------
        OSError
            If it cannot be made, or another run writes it.
        """
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = WriterLock(path) if lock else None

    def close(self) -> None:
        """Let another run have it."""
        if self._lock is not None:
            self._lock.release()

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / LAST

    def model_path(self, name: str) -> Path:
        """Where the model goes."""
        return self.path / f"{name}.safetensors"

    def write_state(self, state: Mapping[str, Any]) -> None:
        """Replace `run.json`."""
        text = json.dumps(state, indent=1, default=str)
        replace_file(self.path / STATE_FILE, text.encode())


def check_new(path: Path) -> None:
    """Refuse a folder that holds something already.

    Raises
    ------
    OutputExists
        If so.
    NotADirectoryError, PermissionError
        If it cannot be made, since a file is in the way, or nothing may be written there.
    """
    if path.exists() and (
        not path.is_dir() or any(each.name not in LEFTOVERS for each in path.iterdir())
    ):
        raise output_exists(path, RESUME_OR_REMOVE)
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{parent} is no folder: choose another place for {path.name}")
    check_writable(path)


def check_same(path: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse to resume a training with other data or another base.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    state = read_training(path)
    assert state is not None
    there = state.record
    older = {"targets_sha256": wanted["targets_sha256"]}  # which trainings of before lack
    for key, what in (
        ("base_sha256", OTHER_BASE),
        ("data_sha256", "images or their intensities differ from those"),
        ("targets_sha256", "images of the target differ from those"),
    ):
        if there.get(key, older.get(key)) != wanted[key]:
            known = _difference(there, wanted) if key == "data_sha256" else ""
            raise _other(path, f"the {what} that it was begun with{known}")


def check_same_base(begun: TrainingState, sha256: str | None) -> None:
    """Refuse to resume a training from another base model.

    Raises
    ------
    ValueError
        Saying so.
    """
    if begun.record.get("base_sha256") != sha256:
        raise _other(begun.folder, f"the {OTHER_BASE} that it was begun with")


def check_same_settings(begun: TrainingState, config: TrainConfig) -> None:
    """Refuse to resume a training with other settings, save those of `FREE`.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    before, now = begun.config.to_dict(), config.to_dict()
    for key in now:
        if key not in FREE and before.get(key) != now[key]:
            raise _other(begun.folder, f"{key} is {before.get(key)!r} there and {now[key]!r} here")


def _other(path: Path, how: str) -> ValueError:
    return ValueError(
        f"{path} cannot be resumed: {how}; give the same, or train into another folder"
    )


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in which names or pixel sizes the data of two records differ; "" for neither."""
    names, sizes = zip(*(_names_and_sizes(record) for record in (before, now)), strict=True)
    if names[0] != names[1]:
        return f" (begun on {_few(names[0])}, given {_few(names[1])})"
    if all(sizes) and sizes[0] != sizes[1]:
        return f" (pixels of {_few(sizes[0])} um then, of {_few(sizes[1])} um now)"
    return ""


def _names_and_sizes(record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    names, sizes = [], []
    for section in record["data"]:
        names.append(str(section["name"]))
        identity = section.get("identity")
        vessels = identity.get("vessels") if isinstance(identity, Mapping) else None
        size = vessels.get("pixel_size_um") if isinstance(vessels, Mapping) else None
        sizes += [f"{size:g}"] if isinstance(size, int | float) else []
    return names, list(dict.fromkeys(sizes))


def _few(names: Sequence[str]) -> str:
    return printable(", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else ""))


def check_checkpoint(state: TrainingState) -> None:
    """Refuse to go on with a training whose checkpoint is gone: it would begin at step 0.

    Raises
    ------
    FileNotFoundError
        If steps were made, and there is no checkpoint of them.
    OSError
        If a link or a pipe is in the place of a file: it leads elsewhere, or blocks.
    """
    for part in (state.folder / LATENTS, state.folder / AUTOENCODERS):
        check_own(part, *(part.iterdir() if part.is_dir() else ()))
    check_own(*(state.folder / name for name in (LAST, CURVES, LOCK)))
    path = state.folder / LAST
    if state.step > 0 and not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, so the training cannot go on from step {state.step}: put it back, "
            "or train into another folder"
        )


def begun_training(path: Path) -> TrainingState:
    """Return how far the training in a folder has come.

    Raises
    ------
    ValueError
        If there is none.
    """
    state = read_training(path)
    if state is None:
        raise ValueError(
            Advice(f"there is no training in {path} to resume", "start it without {resume}")
        )
    return state


def _plain_name(name: str) -> str:
    """Return the name of a file in the folder; one that leads out of it is refused."""
    if Path(name).name != name or name in (".", ".."):
        raise ValueError(f"its model is {name!r}, which is no file of the folder")
    return name


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores that are numbers (those that are none are null)."""
    return {name: float(value) for name, value in scores.items() if value is not None}

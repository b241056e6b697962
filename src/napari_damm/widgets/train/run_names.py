"""What a training can be called, what there is under a name already, and how that goes on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from napari_damm.train import run_folder
from napari_damm.train.config import TrainConfig
from napari_damm.train.run_folder import TrainingState
from napari_damm.util.text import count as counted
from napari_damm.widgets.paths import cannot_look_up, check_lookup

USUAL = "my model"


@dataclass(frozen=True)
class NameState:
    """A name: `problem` says why nothing new can be begun under it; `begun` can be resumed.

    What has finished is resumed for longer.
    """

    problem: str = ""
    begun: TrainingState | None = None


def look_up(name: str, taken: Collection[str]) -> NameState:
    """Say what there is under a name; `taken` are the models in the list."""
    name = name.strip()
    if not name:
        return NameState("Enter a name for the new model")
    if any(separator in name for separator in "/\\") or name in (".", ".."):
        return NameState(f"A model cannot be called '{name}': use letters, digits and spaces")
    folder = run_folder.default_folder(name)
    try:
        check_lookup(folder / f"{name}.safetensors")
        state, occupied = run_folder.read_training(folder), _occupied(folder)
    except OSError as error:
        return NameState(cannot_look_up(name, error))
    except ValueError as error:
        return NameState(str(error))
    if state is not None and state.resumable:
        done = f"stopped at {100 * state.progress:.0f} %"
        return NameState(
            f"The training of '{name}' was {done}: Resume continues it; to begin another, choose "
            "another name",
            state,
        )
    if state is not None and state.finished and (folder / run_folder.LAST).is_file():
        return NameState(
            f"'{name}' was trained for {_length(state.config)}: Resume trains it longer, by what "
            "is set below its name; to begin another, choose another name",
            state,
        )
    if name in taken:
        return NameState(f"A model named '{name}' is there already: choose another name")
    if occupied:
        return NameState(f"'{name}' was trained before, in {folder}: choose another name")
    return NameState()


def continued(begun: TrainingState, more: TrainConfig) -> TrainConfig:
    """Return the settings to go on with: as begun; what has finished, for `more` of its time.

    Raises
    ------
    ValueError
        If one is measured in minutes and the other in epochs.
    """
    before = begun.config
    if not begun.finished:
        return before
    if before.minutes is None and more.minutes is None:
        return replace(before, epochs=before.epochs + more.epochs)
    if before.minutes is not None and more.minutes is not None:
        return replace(before, minutes=before.minutes + more.minutes)
    unit = "Epochs" if before.minutes is None else "Minutes"
    raise ValueError(f"'{before.name}' was trained by {unit.lower()}: choose {unit} to go on")


def _length(config: TrainConfig) -> str:
    if config.minutes is None:
        return counted(config.epochs, "epoch")
    return f"{config.minutes:g} min"


def free_name(taken: Collection[str]) -> str:
    """Suggest a name that nothing has yet."""
    names = (USUAL if n == 1 else f"{USUAL} {n}" for n in count(1))
    return next(
        name
        for name in names
        if name not in taken and not _occupied(run_folder.default_folder(name))
    )


def _occupied(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))

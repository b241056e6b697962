"""What a training can be called, and what there is under a name already."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from napari_damm.train import run_folder
from napari_damm.train.run_folder import TrainingState
from napari_damm.widgets.paths import cannot_look_up, check_lookup

USUAL = "my model"


@dataclass(frozen=True)
class NameState:
    """A name: `problem` says why nothing new can be begun under it; `begun` can be resumed."""

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
    if name in taken:
        return NameState(f"A model named '{name}' is there already: choose another name")
    if occupied:
        return NameState(f"'{name}' was trained before, in {folder}: choose another name")
    return NameState()


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

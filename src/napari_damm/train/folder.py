"""What a training leaves on disk, so that a stop of any kind loses little.

1. One run writes a folder at a time (the lock dies with its process).
2. `run.json` says in words how far it is; it is replaced whole.
3. `curves.csv` gets a line per ten steps and per validation; on resuming, what lies behind the
   checkpoint is cut off.
4. The model is written, with its card, whenever a validation finds it better than before.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_damm.train.run_folder import (
    CURVES,
    LAST,
    STATE_FILE,
    TrainingState,
    read_training,
)
from napari_damm.util.advice import Advice
from napari_damm.util.files import RESUME_OR_REMOVE, output_exists, replace_file
from napari_damm.util.lock import WriterLock

COLUMNS = (
    "step", "epoch", "phase", "loss", "loss_uni", "loss_multi", "confidence", "learning_rate",
    "ssim", "psnr", "mse", "r2", "std_ratio",
)  # fmt: skip
LEFTOVERS = ("writer.lock", "writer.json")
"""What a lock may leave behind in a folder that holds nothing else."""
# Another value of these does not make it another training.
FREE = {"epochs", "minutes", "patience", "checkpoint_minutes", "name", "device", "devices",
        "strategy", "validation_tiles"}  # fmt: skip


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

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line to the curves."""
        path = self.path / CURVES
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, restval="")
            if new:
                writer.writeheader()
            writer.writerow({k: _short(v) for k, v in row.items() if k in COLUMNS})

    def curves(self, up_to: int | None = None) -> list[dict[str, str]]:
        """Return the lines of the curves; with `up_to`, cut off those of later steps first."""
        path = self.path / CURVES
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8") as stream:
            rows = [row for row in csv.DictReader(stream) if (row["step"] or "").isdigit()]
        if up_to is None:
            return rows
        kept = [row for row in rows if int(row["step"]) <= up_to]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS)
        writer.writeheader()
        writer.writerows(kept)
        replace_file(path, text.getvalue().encode())
        return kept


def check_new(path: Path) -> None:
    """Refuse a folder that holds something already.

    Raises
    ------
    OutputExists
        If so.
    NotADirectoryError
        If it cannot be made, since a file is in the way.
    """
    if path.exists() and (
        not path.is_dir() or any(each.name not in LEFTOVERS for each in path.iterdir())
    ):
        raise output_exists(path, RESUME_OR_REMOVE)
    parent = next(p for p in path.absolute().parents if p.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"{parent} is no folder: choose another place for {path.name}")


def check_same(path: Path, wanted: Mapping[str, Any]) -> None:
    """Refuse to resume a training with other data, another base or other settings.

    Raises
    ------
    ValueError
        Naming what differs.
    """
    state = read_training(path)
    assert state is not None
    there = state.record
    for key, what in (
        ("base_sha256", "base model"),
        ("data_sha256", "images or their intensities"),
    ):
        if there.get(key) != wanted[key]:
            raise ValueError(
                f"{path} cannot be resumed: the {what} differ from those that it was begun with; "
                "give the same, or train into another folder"
            )
    before, now = state.config.to_dict(), wanted["config"]
    for key in now:
        if key not in FREE and before.get(key) != now[key]:
            raise ValueError(
                f"{path} cannot be resumed: {key} is {before.get(key)!r} there and {now[key]!r} "
                "here; give the same, or train into another folder"
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


def thin(rows: Sequence[Mapping[str, str]], count: int = 200) -> list[Mapping[str, str]]:
    """Return at most `count` of the rows, evenly."""
    return list(rows[:: max(1, -(-len(rows) // count))])


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value

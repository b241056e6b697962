"""The learning curves of a training: a CSV file with a line per ten steps and per validation."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_damm.train.run_folder import CURVES
from napari_damm.util.files import open_regular, replace_file

COLUMNS = (
    "step", "epoch", "phase", "loss", "loss_uni", "loss_multi", "confidence", "learning_rate",
    "ssim", "psnr", "mse", "r2", "std_ratio", "r",
)  # fmt: skip
CURVE_STEPS = 10
"""Steps whose mean is a line."""
MOST_BYTES = 64 * 2**20
_STEP = re.compile("[0-9]{1,15}")


def append_row(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a line to the curves of the training in a folder.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = folder / CURVES
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="")
        if new:
            writer.writeheader()
        writer.writerow({k: _short(v) for k, v in row.items() if k in COLUMNS})


def read_rows(folder: Path) -> list[dict[str, str]]:
    """Return the lines of the curves, none if there are none; torn and odd ones are left out.

    Raises
    ------
    OSError
        If the file cannot be read, or is none.
    """
    path = folder / CURVES
    if not path.exists():
        return []
    with open_regular(path) as stream:
        text = stream.read(MOST_BYTES).decode("utf-8", "replace")
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error:  # a field without end: not from us
        return []
    return [row for row in rows if _STEP.fullmatch(row.get("step") or "") and _are_numbers(row)]


def cut_rows(folder: Path, up_to: int) -> None:
    """Drop the lines of steps after `up_to`: a resumed training makes them again.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    if not (folder / CURVES).exists():
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(row for row in read_rows(folder) if int(row["step"]) <= up_to)
    replace_file(folder / CURVES, text.getvalue().encode())


def thin(rows: Sequence[Mapping[str, str]], count: int = 200) -> list[Mapping[str, str]]:
    """Return at most `count` of the rows, evenly."""
    return list(rows[:: max(1, -(-len(rows) // count))])


def _are_numbers(row: Mapping[str, str | None]) -> bool:
    """Whether all that is to be a number is one, or is left out."""
    try:
        for name in COLUMNS:
            if name != "phase":
                float(row.get(name) or 0)
    except ValueError:
        return False
    return True


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value

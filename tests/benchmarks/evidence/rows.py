"""What was measured of one section, as one file: numbers and names as JSON, arrays beside them.

A file appears whole or not at all, so that any number of processes may write and be stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]

_TEXT = "json"


def write_row(path: Path, row: Mapping[str, Any]) -> None:
    """Write a row; its arrays must be at the top level."""
    arrays = {name: value for name, value in row.items() if isinstance(value, np.ndarray)}
    rest = {name: value for name, value in row.items() if name not in arrays}
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with begun.open("wb") as stream:
        np.savez(stream, **{_TEXT: np.array(json.dumps(rest))}, **arrays)
    begun.replace(path)


def read_row(path: Path) -> Row:
    """Read a row back."""
    with np.load(path, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in kept.files if name != _TEXT}
        return {**json.loads(str(kept[_TEXT])), **arrays}

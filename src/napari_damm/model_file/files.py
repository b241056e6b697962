"""Whole files: copied, and summed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from napari_damm.util.files import written_whole


def sha256(path: str | Path) -> str:
    """Sum up a file as hexadecimal digits, reading it piece by piece."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    with source.open("rb") as original, written_whole(target) as copy:
        shutil.copyfileobj(original, copy, 2**20)

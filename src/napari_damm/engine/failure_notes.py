"""Why a section of a batch failed, kept beside where its result would be, for whoever comes later.

A line of text in `NAME.failed.txt`; it goes when the section is predicted after all.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from napari_damm.engine.batch_sections import ENDING
from napari_damm.util.files import open_regular, replace_file
from napari_damm.util.text import printable

NOTE = ".failed.txt"
MOST_BYTES = 4096


def note_failure(store: Path, section: str, reason: str) -> None:
    """Write down why a section has no result; where that cannot be written, nothing is."""
    with suppress(OSError):
        replace_file(_place(store), f"{section}: {reason}\n".encode())


def forget_failure(store: Path) -> None:
    """Remove what was written down of an earlier try."""
    with suppress(OSError):
        _place(store).unlink(missing_ok=True)


def failure_of(store: Path) -> str:
    """Return why a section failed when it was last tried; "" where nothing is known."""
    try:
        with open_regular(_place(store)) as stream:
            return printable(stream.read(MOST_BYTES).decode("utf-8", "replace").strip())
    except OSError:
        return ""


def _place(store: Path) -> Path:
    return store.with_name(store.name.removesuffix(ENDING) + NOTE)

"""The journal of a store: what is safely there, one JSON line per committed shard.

1. A line is appended, and synced, only after the files that it speaks of. A shard without a line
   was never written.
2. The last line of a shard counts.
3. A torn last line (power cut, full disk) is no entry, and the next append starts on a new line.
4. Reading keeps one number per shard in memory, however long the journal has grown.
"""

from __future__ import annotations

import json
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path

import numpy as np

from napari_damm.store.layout import ShardStatus
from napari_damm.util.bounded_json import parse_json
from napari_damm.util.files import open_regular, sync_files

JOURNAL = "journal.jsonl"
LONGEST_LINE = 2**20
"""Bytes; a line names some thirty files."""


@dataclass(frozen=True)
class Entry:
    """One committed shard.

    Attributes
    ----------
    row, col
        Which shard.
    status
        What became of it.
    files
        sha256 of each of its files, by name relative to the group; None for one that is missing by
        design.
    windows
        How many windows were computed for it.
    """

    row: int
    col: int
    status: ShardStatus
    files: Mapping[str, str | None]
    windows: int = 0

    def line(self, time: str) -> bytes:
        """Return the entry as a line of the journal."""
        values = {
            "shard": [self.row, self.col],
            "status": int(self.status),
            "files": dict(self.files),
            "windows": self.windows,
            "time": time,
        }
        return json.dumps(values, sort_keys=True).encode() + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Entry | None:
        """Return the entry in a line; None where it is torn or is something else."""
        try:
            values = parse_json(line, LONGEST_LINE)
            row, col = map(operator.index, values["shard"])
            status, files = ShardStatus(values["status"]), dict(values["files"])
            return cls(row, col, status, files, operator.index(values.get("windows", 0)))
        except (ValueError, KeyError, TypeError, AttributeError):
            return None


class Journal:
    """The append-only list of what is safely stored in a group."""

    def __init__(self, root: Path, grid: tuple[int, int]) -> None:
        """Use the journal of the group at `root` with `grid` shards; it need not exist yet."""
        self._root = root
        self._path = root / JOURNAL
        self._grid = grid

    def append(self, entries: Iterable[Entry]) -> None:
        """Add entries, with the time, and sync once."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._path.open("a+b") as file:
            if not _ends_clean(self._path):
                file.write(b"\n")
            file.writelines(entry.line(now) for entry in entries)
        sync_files(self._root, [JOURNAL])

    def latest(self) -> Iterator[Entry]:
        """Yield the last entry of every shard that has one, in the order of the shards."""
        try:
            file = open_regular(self._path)
        except FileNotFoundError:
            return
        with file:
            for start in self._last_lines(file):
                file.seek(start)
                if entry := Entry.parse(file.readline(LONGEST_LINE)):
                    yield entry

    def _last_lines(self, file: BufferedReader) -> list[int]:
        """Return where in the file the last entry of each shard starts."""
        starts = np.full(self._grid, -1, np.int64)
        start = 0
        while line := file.readline(LONGEST_LINE):  # a longer one is cut into pieces, and no entry
            entry = Entry.parse(line)
            if entry and 0 <= entry.row < self._grid[0] and 0 <= entry.col < self._grid[1]:
                starts[entry.row, entry.col] = start
            start += len(line)
        return [int(start) for start in starts[starts >= 0]]


def _ends_clean(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

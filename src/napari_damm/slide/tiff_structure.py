"""Is a TIFF whole? tifffile shows a file that broke off as one with fewer channels, or no names.

1. The header points to a chain of directories (TIFF 6.0, section 2; BigTIFF has wider fields).
2. A directory is a table of tags; a value that does not fit into its tag lies elsewhere.
3. SubIFDs, where pyramids are kept, are one of those values.
4. Every directory, and every value that we depend on, must end before the file does.

Whether the pixels are there is checked where they are located (`napari_damm.slide.tiff`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUB_IFDS = 330
# Description, strip and tile positions, resolution, SubIFDs. Damage to other tags does no harm.
NEEDED_TAGS = {270, 273, 279, 282, 283, 324, 325, SUB_IFDS}
MOST_TAGS = 4096  # More are not tags, but pixels where a directory should be.
VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 13: 4, 16: 8, 18: 8}
POINTER = {4: "I", 13: "I", 16: "Q", 18: "Q"}


@dataclass(frozen=True)
class _Format:
    """How numbers are stored: `count` and `pointer` are struct codes, `order` is < or >."""

    order: str
    count: str
    pointer: str

    def read(self, file: BinaryIO, code: str) -> int:
        data = file.read(struct.calcsize("=" + code))
        value: int = struct.unpack(self.order + code, data)[0]
        return value


def directories_are_whole(path: Path) -> bool:
    """Return whether all directories of a TIFF, and the values they need, lie inside the file."""
    if path.suffix.lower() == ".ndpi":
        # Hamamatsu stores 64-bit positions in 32-bit fields; only tifffile knows how.
        return True
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            order = "<" if file.read(2) == b"II" else ">"
            big = struct.unpack(order + "H", file.read(2))[0] == 43
            kind = _Format(order, "Q", "Q") if big else _Format(order, "H", "I")
            file.seek(8 if big else 4)
            todo, seen = [kind.read(file, kind.pointer)], {0}
            while todo:
                at = todo.pop()
                if at not in seen:
                    seen.add(at)
                    todo += _follow(file, kind, at, size)
    except (struct.error, _CutOffError):
        return False
    return True


class _CutOffError(Exception):
    """Something that the file refers to is not there."""


def _follow(file: BinaryIO, kind: _Format, at: int, size: int) -> list[int]:
    """Check the directory at byte `at`; return where it points to."""
    if at >= size:
        raise _CutOffError
    file.seek(at)
    count = kind.read(file, kind.count)
    if count > MOST_TAGS:
        raise _CutOffError
    tags = [_tag(file, kind) for _ in range(count)]
    todo = [kind.read(file, kind.pointer)]
    for code, value_type, length, value_at in tags:
        if code not in NEEDED_TAGS:
            continue
        if value_at + length * VALUE_BYTES.get(value_type, 1) > size:
            raise _CutOffError
        if code == SUB_IFDS and value_type in POINTER:
            file.seek(value_at)
            todo += [kind.read(file, POINTER[value_type]) for _ in range(length)]
    return todo


def _tag(file: BinaryIO, kind: _Format) -> tuple[int, int, int, int]:
    """Return code, type, count and the position of the value."""
    code, value_type = kind.read(file, "H"), kind.read(file, "H")
    count = kind.read(file, kind.pointer)
    here = file.tell()
    elsewhere = kind.read(file, kind.pointer)
    inside = count * VALUE_BYTES.get(value_type, 1) <= struct.calcsize("=" + kind.pointer)
    return code, value_type, count, here if inside else elsewhere

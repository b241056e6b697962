"""Which section is of which animal, and which group that is in: a table (CSV: file, animal, group).

1. Commas, semicolons or tabs; UTF-8, or UTF-16 as Excel's "Unicode text" is.
2. A file is found by its name, whatever the folders and the system before it.
3. What nobody can mean is refused: a file twice, an animal in two groups, one name in two cases.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from napari_damm.util.files import open_regular

COLUMNS = ("file", "animal", "group")
MOST_BYTES = 16 * 2**20


class Member(NamedTuple):
    """Which animal a section is of, and which group that is in."""

    animal: str
    group: str


def read_groups(path: str | Path) -> dict[str, Member]:
    """Read which animal and group each file is of, by the file's name.

    Raises
    ------
    ValueError
        If a column or a value is missing, a file stands there twice, or an animal in two groups.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    text = _text(path)
    try:
        return _members(path, text)
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV table ({error}): give one") from error


def _text(path: Path) -> str:
    """Return what a table says, of which there may be so much."""
    with open_regular(path) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path} is larger than {MOST_BYTES // 2**20} MB: give a table of files")
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return unicodedata.normalize("NFC", content.decode("utf-16" if wide else "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a text file in UTF-8: give a CSV table (in Excel: CSV UTF-8)"
        ) from error


def _members(path: Path, text: str) -> dict[str, Member]:
    first = text.partition("\n")[0]
    between = next((each for each in ";\t" if first.count(each) > 1), ",")
    table = csv.DictReader(io.StringIO(text), delimiter=between)
    names = {name.strip().casefold(): name for name in table.fieldnames or () if name}
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise ValueError(f"{path} lacks the column {missing[0]!r}: it needs {', '.join(COLUMNS)}")
    members: dict[str, Member] = {}
    of_animal: dict[str, str] = {}
    written: dict[tuple[str, str], str] = {}
    for number, line in enumerate(table, 2):
        file, animal, group = ((line[names[column]] or "").strip() for column in COLUMNS)
        if not (file or animal or group):
            continue
        if not (file and animal and group):
            raise ValueError(f"line {number} of {path} lacks a file, an animal or a group")
        for what, word in (("an animal", animal), ("a group", group)):
            before = written.setdefault((what, word.casefold()), word)
            if before != word:
                raise ValueError(f"{path} calls {what} {before!r} and {word!r}: write one of them")
        name = _file_name(file)
        if name in members:
            raise ValueError(f"{path} names the file {name!r} twice")
        if of_animal.setdefault(animal, group) != group:
            raise ValueError(
                f"{path} puts animal {animal!r} into two groups, {of_animal[animal]!r} and "
                f"{group!r}: an animal belongs to one"
            )
        members[name] = Member(animal, group)
    if not members:
        raise ValueError(f"{path} names no file")
    return members


def _file_name(path: str) -> str:
    """Return the last part of a path of any system, its letters composed (macOS parts them)."""
    return unicodedata.normalize("NFC", re.split(r"[\\/]", path)[-1])


def member_of(members: Mapping[str, Member], name: str, file: str) -> Member:
    """Return whose a section is.

    Raises
    ------
    ValueError
        If the table does not say.
    """
    for key in (_file_name(name), _file_name(file)):
        if key in members:
            return members[key]
    raise ValueError(f"the table of groups does not name {name}: add a line for it")

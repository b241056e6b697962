"""Where a result goes, and what is there already.

1. Nothing entered: the result stays in memory. Otherwise a path that ends in .ome.zarr.
2. The path is free, or holds an unfinished result of ours, which can be resumed with the settings
   that it was begun with, or is taken.
3. To tell, the group's metadata and journal are read as plain text: milliseconds, no zarr.
4. A large section in a folder that can be written to gets a path suggested beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.util.bounded_json import parse_json, read_json
from napari_damm.util.text import printable
from napari_damm.widgets.paths import LOOKUP_ERRORS, cannot_look_up, check_lookup
from napari_damm.widgets.preferences import RESULT_ENDING
from napari_damm.widgets.viewer.reader import STORE_KEY, is_result
from napari_damm.widgets.viewer.roles import RESULT_KEY

if TYPE_CHECKING:
    from napari.layers import Image

ENDING = ".ome.zarr"
LARGE_PX = 4096
SETTLED = (1, 2)  # done, background: as in napari_damm.store, too heavy to import for a look
IMAGE_ENDINGS = (".ome.tiff", ".ome.tif", ".ome.zarr")


@dataclass(frozen=True)
class Unfinished:
    """A result that a run was stopped in: what it is part of, and how far it came."""

    record: Mapping[str, Any]
    shard: int
    shards_done: int
    shards: int


@dataclass(frozen=True)
class Destination:
    """A checked path; None means memory. `problem` says why it cannot be used."""

    path: Path | None = None
    note: str = ""
    problem: str = ""
    unfinished: Unfinished | None = None


def look(text: str, large: bool = False) -> Destination:
    """Say what is at the path that was entered; `large` tells that the section is."""
    try:
        return _look(text, large)
    except LOOKUP_ERRORS as error:
        return Destination(problem=cannot_look_up(text, error))


def _look(text: str, large: bool) -> Destination:
    path = result_path(text)
    if path is None:
        note = "in memory: gone when napari closes"
        advice = "; for an image of this size, save it: then it can be resumed"
        return Destination(note=note + (advice if large else ""))
    check_lookup(path)
    if not path.exists():
        return _new(path)
    unfinished = _unfinished(path)
    if unfinished is None:
        what = "holds a finished result" if is_result(str(path)) else "exists already"
        return Destination(path, problem=f"{path.name} {what}: choose another name to save to")
    done, total = unfinished.shards_done, unfinished.shards
    settings = _settings(unfinished.record)
    state = f"{done} of {total} parts are done" if done else "begun, nothing is saved yet"
    note = f"{state}{settings}: Resume continues it"
    return Destination(path, note, unfinished=unfinished)


def result_path(text: str) -> Path | None:
    """Complete what was entered to a path that ends in .ome.zarr; None for nothing."""
    text = text.strip()
    if not text:
        return None
    path = Path(text).expanduser().absolute()
    # A file dialog steps into a folder that is chosen, and a result is a folder.
    inside = next((p for p in path.parents if p.name.endswith(ENDING) and is_result(str(p))), None)
    if inside is not None:
        return inside
    if path.name.endswith(ENDING):
        return path
    return path.with_name(path.name.removesuffix(".zarr") + ENDING)


def is_large(layer: Image) -> bool:
    """Tell whether an image is so large that its result belongs on disk."""
    sides = layer.data.shape[-3:-1] if layer.rgb else layer.data.shape[-2:]
    return bool(max(sides) > LARGE_PX)


def suggest(layer: Image, folder: str = "") -> str:
    """Suggest a path in the folder that is preferred, or beside the file of a large image.

    Returns "" where there is no good one.
    """
    source = layer.source.path
    if not isinstance(source, str | os.PathLike) or not (folder or is_large(layer)):
        return ""
    file = Path(source)
    if folder:
        file = Path(folder).expanduser() / file.name
    try:
        if not Path(source).exists() or not os.access(file.parent, os.W_OK):
            return ""
    except LOOKUP_ERRORS:  # a layer can say anything of where it comes from
        return ""
    name = file.name
    ending = next((e for e in IMAGE_ENDINGS if name.lower().endswith(e)), file.suffix)
    stem = name[: len(name) - len(ending)]
    return str(file.absolute().with_name(stem + RESULT_ENDING))


def _new(path: Path) -> Destination:
    folder = path.parent
    if not folder.is_dir():
        return Destination(path, problem=f"The folder {folder} does not exist: choose another")
    if not os.access(folder, os.W_OK):
        return Destination(path, problem=f"The folder {folder} is read-only: choose another")
    return Destination(path, f"a new {path.name}, saved part by part")


def _unfinished(path: Path) -> Unfinished | None:
    """Read how far a result came; None if it is finished, or none of ours."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        attributes = read_json(path / "zarr.json")["attributes"]
        layout, record = attributes[STORE_KEY]["layout"], dict(attributes[RESULT_KEY])
        side = int(layout["shard"])
        rows, cols = (-(-int(size) // side) for size in layout["shape"])
        done = _settled_shards(path / "journal.jsonl")
        if done < rows * cols or not record.get("finished"):
            return Unfinished(record, side, done, rows * cols)
    return None


def _settled_shards(journal: Path) -> int:
    """Count the shards whose last journal line says that they are done."""
    last: dict[tuple[int, ...], int] = {}
    if not journal.exists():
        return 0
    for line in journal.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, KeyError, TypeError):  # a line torn by a power cut
            entry = parse_json(line)
            last[tuple(entry["shard"])] = entry["status"]
    return sum(status in SETTLED for status in last.values())


def _settings(record: Mapping[str, Any]) -> str:
    words = [
        str(record.get("mode") or ""),
        "a region" if record.get("roi") or record.get("areas") else "",
    ]
    samples = record.get("samples", 1)
    words.append(f"{samples} samples" if samples != 1 else "")
    model = record.get("model")
    name = model.get("name") if isinstance(model, dict) else None
    words.insert(0, f"model {name}" if name else "")
    known = ", ".join(word for word in words if word)
    return printable(f" ({known})") if known else ""

"""A result from elsewhere: what is seen to before it is read, or written into.

1. `read_attributes` reads the group's metadata within bounds, before zarr does.
2. `check_arrays` compares what each array says of itself with the layout: sizes that do not belong
   together would read as a finished result, or take all memory; and no codec is used but ours.
3. `check_record` looks at the kinds of the job record's entries that the rest relies on.
4. `check_own_files` refuses to go on writing into a folder that leads elsewhere.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_damm.store.layout import Level, ResultLayout
from napari_damm.util.areas import Areas
from napari_damm.util.bounded_json import read_json

CODECS = {"bytes", "zstd", "crc32c"}
SHARDING = "sharding_indexed"
IN_PLACE = ("journal.jsonl", "writer.lock", "writer.json")
"""Files that are written into, not replaced."""


def read_attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of the group at `path`.

    Raises
    ------
    OSError, ValueError
        If there are none that can be read.
    """
    metadata = read_json(path / "zarr.json")
    attributes = metadata.get("attributes") if isinstance(metadata, dict) else None
    if not isinstance(attributes, dict):
        raise ValueError(f"{path / 'zarr.json'} has no attributes")
    return attributes


def check_arrays(path: Path, layout: ResultLayout) -> None:
    """Compare what the arrays of a stored result say of themselves with its layout.

    Raises
    ------
    OSError, ValueError
        If one is missing or differs.
    """
    cells, shape = layout.cells_chunk, layout.cells_shape
    for level in layout.all_levels:
        _check_array(path, level, "float16", sharded=True)
    small = [("uncertainty", "float16"), ("branch", "uint8")]
    small += [("familiarity", "float16")] if layout.with_familiarity else []
    for name, dtype in small:
        _check_array(path, Level(name, shape, cells, cells, 1), dtype)
    _check_array(path, Level("status", layout.grid, layout.grid, layout.grid, 1), "uint8")


def _check_array(path: Path, level: Level, dtype: str, sharded: bool = False) -> None:
    said = read_json(path / level.path / "zarr.json")
    if not isinstance(said, dict):
        raise ValueError(f"{level.path} is no array")
    codecs = said.get("codecs")
    inner = codecs
    grid = _configured(said.get("chunk_grid"), "chunk_shape")
    in_shards = isinstance(codecs, list) and [_name(codec) for codec in codecs] == [SHARDING]
    if isinstance(codecs, list) and in_shards:
        inner = _configured(codecs[0], "codecs")
        index = _configured(codecs[0], "index_codecs")
        chunk = _configured(codecs[0], "chunk_shape")
        inner = [*inner, *index] if isinstance(inner, list) and isinstance(index, list) else None
    else:
        chunk = grid
    wanted = {
        "shape": (said.get("shape"), list(level.shape)),
        "data_type": (said.get("data_type"), dtype),
        "shard": (grid, list(level.shard)),
        "chunk": (chunk, list(level.chunk)),
        "sharding": (in_shards, sharded),
        "fill_value": (said.get("fill_value"), 0),
        "node_type": (said.get("node_type"), "array"),
    }
    for what, (found, expected) in wanted.items():
        if found != expected:
            raise ValueError(f"{what} of {level.path} is {found!r:.60}, expected {expected!r}")
    names = [_name(codec) for codec in inner] if isinstance(inner, list) else [None]
    if not CODECS.issuperset(names) or said.get("storage_transformers"):
        raise ValueError(f"{level.path} is stored with {names!r:.80}, expected {sorted(CODECS)}")


def _name(codec: Any) -> str | None:
    name = codec.get("name") if isinstance(codec, dict) else None
    return name if isinstance(name, str) else None


def _configured(part: Any, key: str) -> Any:
    configuration = part.get("configuration") if isinstance(part, dict) else None
    return configuration.get(key) if isinstance(configuration, dict) else None


# ---------------------------------------------------------------- the job record


ROLES = {"vessels", "nuclei"}


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _is_sides(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_region(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_areas(value: Any) -> bool:
    with suppress(KeyError, TypeError, ValueError):
        Areas.from_json(value)
        return True
    return False


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _is_limits(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) <= ROLES and all(map(_is_pair, value.values()))


def _is_words(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value.values()))


def _is_model(value: Any) -> bool:
    return isinstance(value, Mapping) and _has(
        value,
        name=_is_text,
        sha256=_is_text,
        modalities=_is_modalities,
        training_data=_is_words,
        warning=_is_text,
    )


def _is_modalities(value: Any) -> bool:
    return _is_texts(value) and len(value) == 3


def _is_input(value: Any) -> bool:
    """Tell whether a section's identity is such that the section can be looked for."""
    return (
        isinstance(value, Mapping)
        and _has(value, kind=_is_text, **dict.fromkeys(ROLES, _is_picture))
        and (value.get("kind") != "files" or set(value) >= ROLES)
    )


def _is_picture(value: Any) -> bool:
    return isinstance(value, Mapping) and _has(
        value,
        path=_is_text,
        name=_is_text,
        channel=_is_text,
        pixel_size_um=_is_number,
        origin_um=_is_pair,
        z=_is_count,
        t=_is_count,
        image=lambda image: _is_text(image) or _is_count(image),
    )


def _has(values: Mapping[str, Any], **checks: Callable[[Any], bool]) -> bool:
    """Tell whether those entries that are there are right."""
    return all(is_right(values[name]) for name, is_right in checks.items() if name in values)


def _is_trust(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and _is_text(value.get("verdict"))
        and _is_texts(value.get("reasons"))
        and isinstance(value.get("shares"), Mapping)
        and all(map(_is_number, value["shares"].values()))
    )


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


COUNTS = ("windows", "background_windows", "multi_modal_windows", "windows_with_cells")
KINDS: dict[str, Callable[[Any], bool]] = {
    "input": _is_input,
    "model": _is_model,
    "lattice": _is_table,
    "versions": _is_words,
    **dict.fromkeys(("mode", "device", "machine", "started", "start", "precision"), _is_text),
    "region_name": _is_text,
    **dict.fromkeys(("seed", "samples", "batch_size", "views"), _is_count),
    "timesteps": _is_counts,
    **dict.fromkeys(COUNTS, _is_count),
    **dict.fromkeys(("spread_factor", "gamma", "seconds"), _is_number),
    **dict.fromkeys(("pixel_size_um", "slide_pixel_size_um"), _is_number),
    **dict.fromkeys(("resumed", "failed"), _is_texts),
    "stated_pixel_size_um": _is_sides,
    "normalisation": _is_limits,
    "trust": _is_trust,
    "finished": _or_none(_is_text),
    "roi": _or_none(_is_region),
    "areas": _or_none(_is_areas),
    "steps": _or_none(_is_count),
    "compiled": lambda value: isinstance(value, bool),
}


def check_record(record: Any) -> dict[str, Any]:
    """Return a job record whose entries are of the kinds that their readers rely on.

    Raises
    ------
    ValueError
        If one is not.
    """
    if not isinstance(record, dict):
        raise ValueError("the job record is not a table")
    for name, is_right in KINDS.items():
        if name in record and not is_right(record[name]):
            raise ValueError(f"{name} in the job record is {record[name]!r:.60}")
    return record


# ---------------------------------------------------------------- where it leads


def check_own_files(root: Path) -> None:
    """Refuse to write into a folder from which links, pipes or devices lead elsewhere.

    Raises
    ------
    ValueError
        Naming the first of them.
    """
    for entry in _entries(root):
        status = entry.stat(follow_symlinks=False)
        name = os.path.relpath(entry.path, root)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ValueError(
                f"{root} cannot be continued: {name} in it is a link, or no file; predict it again"
            )
        if name in IN_PLACE and status.st_nlink > 1:
            raise ValueError(
                f"{root} cannot be continued: {name} in it is a file elsewhere too (a hard link); "
                "copy the folder and continue the copy"
            )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)

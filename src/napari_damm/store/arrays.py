"""The zarr group and arrays of a result, created or opened.

```
R.ome.zarr/      attributes: ome (OME-Zarr 0.5), napari_damm (the job record),
                 napari_damm_store (format and layout)
  np/0, np/1 ..  float16 pyramid, sharded
  np_std/0 ..    the same for the standard deviation over samples (where there are several)
  samples/0 ..   float16, each sample on its own: means of 4 x 4 pixels, sharded
  uncertainty    float16, one value per cell of 32 px
  branch         uint8, one value per cell
  familiarity    float16, one value per cell (where the model says which images it knows)
  status         uint8, one value per shard
  journal.jsonl  what is safely stored (on disk only)
  writer.lock, writer.json  who is writing (on disk only)
```
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import LocalStore, MemoryStore

from napari_damm.store.checking import check_arrays, check_record, read_attributes
from napari_damm.store.layout import ResultLayout
from napari_damm.util.bounded_json import read_json
from napari_damm.util.errors import is_disk_full, one_line
from napari_damm.util.files import replace_file

RECORD = "napari_damm"
STORE = "napari_damm_store"
FORMAT = 1

Array = zarr.Array[Any]


@dataclass(frozen=True)
class Arrays:
    """The arrays of one result; `levels` is the nanoparticle map, finest first.

    `std_levels` is the map of the standard deviation, empty where there is none; `familiarity` is
    None where there is no such map, `samples` empty where a single one was drawn.
    """

    levels: tuple[Array, ...]
    std_levels: tuple[Array, ...]
    uncertainty: Array
    branch: Array
    status: Array
    familiarity: Array | None = None
    samples: tuple[Array, ...] = ()


def create_group(path: Path | None, layout: ResultLayout, record: dict[str, Any]) -> zarr.Group:
    """Create the group (in memory without a path) with its attributes and empty arrays."""
    attributes = {
        "ome": layout.ome_attributes(),
        RECORD: record,
        STORE: {"format": FORMAT, "layout": layout.to_json()},
    }
    store = MemoryStore() if path is None else LocalStore(path)
    group = zarr.create_group(store, attributes=attributes, zarr_format=3)
    for level in layout.all_levels:
        group.require_group(level.path.partition("/")[0])
        _create(group, level.path, level.shape, "float16", level.chunk, level.shard)
    _create(group, "uncertainty", layout.cells_shape, "float16", layout.cells_chunk)
    _create(group, "branch", layout.cells_shape, "uint8", layout.cells_chunk)
    if layout.with_familiarity:
        _create(group, "familiarity", layout.cells_shape, "float16", layout.cells_chunk)
    _create(group, "status", layout.grid, "uint8", layout.grid)
    return group


def open_group(path: Path, writable: bool = False) -> zarr.Group:
    """Open the group of a stored result.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If what is there is not a result store that this version reads.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give the path of a result (.ome.zarr)")
    refusal = f"{path} is not a napari-damm result: give the folder that predict wrote"
    try:
        attributes = read_attributes(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{refusal} ({one_line(error)})") from error
    own = attributes.get(STORE)
    if not isinstance(own, dict):
        raise ValueError(refusal)
    if own.get("format") != FORMAT:
        raise ValueError(
            f"{path} has result format {own.get('format')}, this version reads {FORMAT}: "
            "open it with the napari-damm version that wrote it"
        )
    with damage_named(path):
        check_record(attributes.get(RECORD))
        check_arrays(path, ResultLayout.from_json(own["layout"]))
        store = LocalStore(path, read_only=not writable)
        return zarr.open_group(store, mode="r+" if writable else "r", zarr_format=3)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in reading a group of ours into one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        if is_disk_full(error):
            raise
        raise ValueError(f"{path} is damaged ({one_line(error)}): predict it again") from error


def layout_of(group: zarr.Group) -> ResultLayout:
    """Return the layout that a group of ours was created with."""
    attributes: dict[str, Any] = dict(group.attrs.asdict())
    return ResultLayout.from_json(attributes[STORE]["layout"])


def record_of(group: zarr.Group) -> dict[str, Any]:
    """Return the job record of a group of ours."""
    attributes: dict[str, Any] = dict(group.attrs.asdict())
    return check_record(attributes[RECORD])


def with_record(group: zarr.Group, path: Path | None, record: dict[str, Any]) -> zarr.Group:
    """Return the group with another job record, on disk atomically and synced."""
    if path is None:
        return group.update_attributes({RECORD: record})
    # zarr would rename the new metadata into place unsynced: a power cut could leave it empty.
    metadata = read_json(path / "zarr.json")
    metadata["attributes"][RECORD] = record
    replace_file(path / "zarr.json", json.dumps(metadata, indent=2).encode())
    return open_group(path, writable=True)


def open_arrays(group: zarr.Group, layout: ResultLayout) -> Arrays:
    """Return the arrays that `create_group` made."""
    levels, std_levels, samples = (
        tuple(_array(group, level.path) for level in maps)
        for maps in (layout.levels, layout.std_levels, layout.sample_levels)
    )
    uncertainty, branch, status = (
        _array(group, name) for name in ("uncertainty", "branch", "status")
    )
    familiarity = _array(group, "familiarity") if layout.with_familiarity else None
    return Arrays(levels, std_levels, uncertainty, branch, status, familiarity, samples)


def _create(
    group: zarr.Group,
    name: str,
    shape: tuple[int, int],
    dtype: str,
    chunks: tuple[int, int],
    shards: tuple[int, int] | None = None,
) -> None:
    group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        # The checksum lets any reader notice a flipped bit, not only ours.
        compressors=[ZstdCodec(level=3, checksum=True)],
        fill_value=0,
        dimension_names=("y", "x"),
        config={"write_empty_chunks": False},
    )


def _array(group: zarr.Group, name: str) -> Array:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is not an array")
    return array

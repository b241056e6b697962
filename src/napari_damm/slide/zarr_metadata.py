"""Metadata of zarr arrays that were made elsewhere, looked at before a library acts on them.

1. Every `.zarray` and `zarr.json` in a folder, to a few levels down, is read as plain JSON.
2. Shapes and chunks must be whole numbers of 1 or more: chunks of 0 make readers loop for ever.
3. Codecs must be known to unpack numbers: those for Python objects run code from the data.
4. Numbers are packed once: how large they become can be told from what is stored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

DEPTH = 4
MOST_METADATA = 10_000
MOST_BYTES = 16 * 2**20
CODECS = {
    "bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "zlib", "gzip", "zstd", "lz4",
    "bz2", "lzma", "delta", "shuffle", "fixedscaleoffset", "packbits", "bitround", "quantize",
    "astype", "crc32", "adler32", "fletcher32",
}  # fmt: skip
"""Names of codecs, without a "numcodecs." before them, that make numbers from bytes."""
PACKERS = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma"}
"""Those from which come more bytes than were stored."""
SHARDED = "sharding_indexed"
WIDEST = 8
"""Bytes of the widest number that a filter may have made of a pixel."""


class Packing(NamedTuple):
    """How an array stores its chunks.

    Attributes
    ----------
    most_bytes
        What a chunk, or a whole shard, holds unpacked.
    packer
        Name of the codec that packs; empty: none.
    shard_chunks
        Chunks in a shard; 0: the array has none.
    index_first
        A shard's index is at its start.
    """

    most_bytes: int
    packer: str
    shard_chunks: int
    index_first: bool


def check_arrays(folder: Path) -> dict[str, Packing]:
    """Check the metadata of every array in a folder; return how each, by its path, is stored.

    Raises
    ------
    ValueError
        Naming the array whose shape, chunks, type or codec cannot be meant.
    """
    packings: dict[str, Packing] = {}
    for file, metadata in _metadata(folder):
        where = file.parent
        grid = metadata.get("chunk_grid")
        configuration = grid.get("configuration") if isinstance(grid, Mapping) else None
        chunks = configuration if isinstance(configuration, Mapping) else {}
        chunk = metadata.get("chunks", chunks.get("chunk_shape"))
        for what, value in (("shape", metadata.get("shape")), ("chunks", chunk)):
            if value is not None and not _is_shape(value):
                raise ValueError(f"{where} has {what} {value!r:.60}: export it again")
        kind = metadata.get("dtype", metadata.get("data_type"))
        if isinstance(kind, str) and kind.lstrip("<>|=").startswith("O"):
            raise ValueError(f"{where} holds Python objects, no numbers: export it again")
        found = [name for name, _ in _codecs(metadata)]
        for name in found:
            if name not in CODECS:
                raise ValueError(
                    f"{where} is packed with {name!r:.60}, which is not read from files: save it "
                    "with blosc, zstd or gzip"
                )
        packers = [name for name in found if name in PACKERS]
        if len(packers) > 1 or found.count(SHARDED) > 1:
            names = ", ".join(packers) or SHARDED
            raise ValueError(f"{where} is packed twice ({names:.60}): save it with one of them")
        if isinstance(chunk, list):
            at = where.relative_to(folder).as_posix()
            packings["" if at == "." else at] = _packing(where, metadata, chunk, packers)
    return packings


def _packing(
    where: Path, metadata: Mapping[str, Any], chunk: list[int], packers: list[str]
) -> Packing:
    packer, most_bytes = packers[0] if packers else "", WIDEST * math.prod(chunk)
    shards = [configuration for name, configuration in _codecs(metadata) if name == SHARDED]
    if not shards:
        return Packing(most_bytes, packer, 0, False)
    (shard,) = shards
    inner: Any = shard.get("chunk_shape")
    if not _is_shape(inner) or len(inner) != len(chunk):
        raise ValueError(f"{where} has shards in parts of {inner!r:.60}: export it again")
    index = [name for name, _ in _codecs({"codecs": _list(shard.get("index_codecs"))})]
    if index != ["bytes", "crc32c"]:
        raise ValueError(f"{where} has an index packed by {index!r:.60}: export it again")
    count = math.prod(n // m for n, m in zip(chunk, inner, strict=True))
    return Packing(most_bytes, packer, count, shard.get("index_location") == "start")


def _metadata(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    level, count = [folder], 0
    for _ in range(DEPTH):
        below: list[Path] = []
        for place in level:
            for name in (".zarray", "zarr.json", ".zgroup", ".zattrs"):
                file = place / name
                if not file.is_file():
                    if file.exists() and not file.is_dir():
                        raise ValueError(f"{file} is a pipe or a device, no file: export it again")
                    continue
                count += 1
                if count > MOST_METADATA or file.stat().st_size > MOST_BYTES:
                    raise ValueError(f"{folder} has too much metadata: export it again")
                found = _read(file)
                if isinstance(found, Mapping) and "shape" in found:
                    yield file, found
                    break
            else:
                # below an array there are only chunks
                below += sorted(p for p in place.iterdir() if p.is_dir() and not p.is_symlink())
        level = below[: MOST_METADATA + 1]


def _read(file: Path) -> Any:
    # zarr reads it again: attributes may hold NaN, as some programs write them
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "nested without end" if isinstance(error, RecursionError) else error
        raise ValueError(f"{file} is damaged metadata ({reason}): export it again") from None


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 1 <= n < 2**48 for n in value
    )


def _codecs(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield names and configurations of all codecs, those inside shards too."""
    found = [metadata.get("compressor"), *_list(metadata.get("filters"))]
    found += _list(metadata.get("codecs"))
    for codec in found:
        if not isinstance(codec, Mapping):
            continue
        name = str(codec.get("id", codec.get("name", "")))
        inner = codec.get("configuration")
        configuration = inner if isinstance(inner, Mapping) else {}
        yield name.removeprefix("numcodecs.").casefold(), configuration
        yield from _codecs({"codecs": _list(configuration.get("codecs"))})
        yield from _codecs({"codecs": _list(configuration.get("index_codecs"))})


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

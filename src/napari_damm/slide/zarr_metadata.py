"""Metadata of zarr arrays that were made elsewhere, looked at before a library acts on them.

1. Every `.zarray` and `zarr.json` in a folder, to a few levels down, is read as plain JSON.
2. Shapes and chunks must be whole numbers of 1 or more: chunks of 0 make readers loop for ever.
3. Codecs must be known to unpack numbers: those for Python objects run code from the data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DEPTH = 4
MOST_METADATA = 10_000
MOST_BYTES = 16 * 2**20
CODECS = {
    "bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "zlib", "gzip", "zstd", "lz4",
    "bz2", "lzma", "delta", "shuffle", "fixedscaleoffset", "packbits", "bitround", "quantize",
    "astype", "crc32", "adler32", "fletcher32", "zfpy", "pcodec",
}  # fmt: skip
"""Names of codecs, without a "numcodecs." before them, that make numbers from bytes."""


def check_arrays(folder: Path) -> None:
    """Check the metadata of every array in a folder.

    Raises
    ------
    ValueError
        Naming the array whose shape, chunks, type or codec cannot be meant.
    """
    for file, metadata in _metadata(folder):
        where = file.parent
        grid = metadata.get("chunk_grid")
        configuration = grid.get("configuration") if isinstance(grid, Mapping) else None
        chunks = configuration if isinstance(configuration, Mapping) else {}
        for what, value in (
            ("shape", metadata.get("shape")),
            ("chunks", metadata.get("chunks", chunks.get("chunk_shape"))),
        ):
            if value is not None and not _is_shape(value):
                raise ValueError(f"{where} has {what} {value!r:.60}: export it again")
        kind = metadata.get("dtype", metadata.get("data_type"))
        if isinstance(kind, str) and kind.lstrip("<>|=").startswith("O"):
            raise ValueError(f"{where} holds Python objects, no numbers: export it again")
        for name in _codecs(metadata):
            if name.removeprefix("numcodecs.").casefold() not in CODECS:
                raise ValueError(
                    f"{where} is packed with {name!r:.60}, which is not read from files: save it "
                    "with blosc, zstd or gzip"
                )


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
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = "nested without end" if isinstance(error, RecursionError) else error
        raise ValueError(f"{file} is damaged metadata ({reason}): export it again") from None


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 1 <= n < 2**48 for n in value
    )


def _codecs(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all codecs, those inside shards too."""
    found = [metadata.get("compressor"), *_list(metadata.get("filters"))]
    found += _list(metadata.get("codecs"))
    for codec in found:
        if not isinstance(codec, Mapping):
            continue
        yield str(codec.get("id", codec.get("name", "")))
        inner = codec.get("configuration")
        if isinstance(inner, Mapping):
            yield from _codecs({"codecs": _list(inner.get("codecs"))})
            yield from _codecs({"codecs": _list(inner.get("index_codecs"))})


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

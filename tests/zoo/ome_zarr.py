"""OME-Zarr images from elsewhere."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from image_files import converted, ome_zarr
from numcodecs import Zstd

from zoo.case import Group, canary
from zoo.goods import predict

CASES = Group("ome zarr")

RNG = np.random.default_rng(8)
IMAGE = RNG.integers(100, 4000, (3, 150, 170)).astype(np.uint16)
NAMED = ["--vessels-channel", "0", "--nuclei-channel", "1"]


def spoiled(folder: Path, level: str = "0", version: str = "0.5", **changes: Any) -> list[str]:
    """Write a sound image, and change the metadata of an array."""
    path = ome_zarr(folder / "a.zarr", version, IMAGE)
    file = path / level / ("zarr.json" if version == "0.5" else ".zarray")
    metadata = json.loads(file.read_text())
    for key, value in changes.items():
        metadata[key] = value(metadata[key]) if callable(value) else value
    file.write_text(json.dumps(metadata))
    return predict(folder, *NAMED, section="a.zarr")


def grid(*chunks: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}


@CASES.refused("chunks of 0", "a\\.zarr")
def _no_chunk(folder: Path) -> list[str]:
    return spoiled(folder, chunk_grid=grid(1, 0, 64))


@CASES.refused("chunks of 0 in zarr 2", "a\\.zarr")
def _no_chunk_2(folder: Path) -> list[str]:
    return spoiled(folder, version="0.4", chunks=[1, 64, 0])


@CASES.refused("a thousand million channels", "1,000,000,000 channels")
def _channels(folder: Path) -> list[str]:
    return spoiled(folder, shape=[1_000_000_000, 150, 170])


@CASES.refused("a chunk of 100 GB", "chunks of")
def _chunk(folder: Path) -> list[str]:
    return spoiled(folder, shape=[3, 10**6, 10**6], chunk_grid=grid(1, 250_000, 250_000))


@CASES.refused("a section of 10 km", "windows of the model's|a\\.zarr")
def _vast(folder: Path) -> list[str]:
    return spoiled(folder, shape=[3, 10**10, 10**10])


@CASES.refused("a shape below 0", "a\\.zarr")
def _negative(folder: Path) -> list[str]:
    return spoiled(folder, shape=[3, -5, 170])


@CASES.refused("a pickle filter", "packed with 'pickle'")
def _pickle(folder: Path) -> list[str]:
    arguments = spoiled(folder, version="0.4", filters=[{"id": "pickle", "protocol": 5}])
    command = f"touch {canary(folder)}"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (command,)

    for chunk in (folder / "a.zarr" / "0").glob("[0-9]*"):
        chunk.write_bytes(pickle.dumps(Bomb()))
    return arguments


@CASES.refused("a chunk that becomes a gibibyte", "becomes larger")
def _bomb(folder: Path) -> list[str]:
    arguments = spoiled(folder)
    chunk = folder / "a.zarr" / "1" / "c" / "0" / "0" / "0"  # the level that is read
    assert chunk.is_file()
    chunk.write_bytes(Zstd(1).encode(np.zeros(2**30, np.uint8)))
    return arguments


@CASES.refused("a chunk that becomes a gibibyte, gzip", "becomes larger")
def _gzip_bomb(folder: Path) -> list[str]:
    arguments = spoiled(
        folder,
        "1",
        codecs=lambda codecs: [codecs[0], {"name": "gzip", "configuration": {"level": 1}}],
    )
    chunk = folder / "a.zarr" / "1" / "c" / "0" / "0" / "0"  # the level that is read
    chunk.write_bytes(gzip.compress(bytes(2**20)) * 1024)
    return arguments


@CASES.refused("chunks packed twice", "packed twice")
def _twice(folder: Path) -> list[str]:
    return spoiled(
        folder,
        codecs=lambda codecs: [*codecs, {"name": "gzip", "configuration": {"level": 1}}],
    )


@CASES.refused("an array of objects", "a\\.zarr")
def _objects(folder: Path) -> list[str]:
    return spoiled(folder, version="0.4", dtype="|O")


@CASES.refused("an unknown codec", "a\\.zarr")
def _codec(folder: Path) -> list[str]:
    return spoiled(folder, codecs=lambda codecs: [*codecs, {"name": "numcodecs.pickle"}])


@CASES.refused("axes without an end", "a\\.zarr")
def _deep(folder: Path) -> list[str]:
    arguments = spoiled(folder)
    (folder / "a.zarr" / "zarr.json").write_text("[" * 200_000)
    return arguments


@CASES.refused("a pipe for metadata", "is a pipe or a device")
def _pipe(folder: Path) -> list[str]:
    arguments = spoiled(folder)
    (folder / "a.zarr" / "0" / "zarr.json").unlink()
    os.mkfifo(folder / "a.zarr" / "0" / "zarr.json")
    return arguments


@CASES.refused("an array outside of the image", "is invalid|outside of itself")
def _outside(folder: Path) -> list[str]:
    ome_zarr(folder / "b.zarr", "0.5", IMAGE)
    path = ome_zarr(folder / "a.zarr", "0.5", IMAGE)
    group = zarr.open_group(path, mode="a")
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["datasets"][0]["path"] = "../b.zarr/0"
    group.attrs["ome"] = ome
    return predict(folder, *NAMED, section="a.zarr")


@CASES.refused("a printer's resolution", "it states .* um, as a printer's")
def _printer(folder: Path) -> list[str]:
    axes = [{"name": "c"}, *({"name": n, "unit": "centimeter"} for n in "yx")]
    ome_zarr(folder / "a.zarr", "0.5", IMAGE, axes=axes)
    return predict(folder, *NAMED, section="a.zarr")


@CASES.refused("a converter's images of one size", "holds 2 images of similar size")
def _converted(folder: Path) -> list[str]:
    converted(folder / "a.zarr", [IMAGE, IMAGE[::-1]])
    return predict(folder, *NAMED, section="a.zarr")

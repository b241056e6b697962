"""Chunks that become larger than their array states are refused before they fill the memory."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import subprocess
import sys
import zlib
from contextlib import suppress

import numcodecs
import numpy as np
import pytest
import zarr
from image_files import ALL, IMAGE, ome_zarr
from zarr.abc.store import RangeByteRequest
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype

from napari_damm.slide import open_slide, read_region
from napari_damm.slide.bounded_chunks import BoundedStore
from napari_damm.slide.readers import open_image
from napari_damm.util.tiling import Box

HUGE = 2**24
"""Bytes in a bomb: far more than the chunks of IMAGE, few enough to make."""


def packed_by(path, codec, chunks=(1, 64, 64), **more):
    """Write IMAGE anew, packed by a codec; return its first array's folder."""
    ome_zarr(path, "0.4" if isinstance(codec, numcodecs.abc.Codec) else "0.5")
    group = zarr.open_group(path, mode="a")
    array = group.create_array(
        "0", shape=IMAGE.shape, chunks=chunks, dtype=IMAGE.dtype, compressors=codec,
        overwrite=True, **more,
    )  # fmt: skip
    array[:] = IMAGE
    return path / "0"


def chunk_of(array):
    """Return the file of the first chunk of the first channel."""
    for name in ("0.0.0", "0/0/0", "c/0/0/0"):
        if (array / name).is_file():
            return array / name
    raise AssertionError(sorted(array.rglob("*")))


def read_first(path):
    return np.asarray(open_image(path).planes[0][0][ALL])


def zstd_without_size(data):
    """Return a frame whose header does not say how large its content is (made by the tool)."""
    done = numcodecs.Zstd(1).encode(data)
    assert done[4] >> 6 == 2, "four bytes of size, in a single segment or not"
    single = done[4] >> 5 & 1
    head = bytes([done[4] & 0b00011111])  # no size; a window of 2**27 instead of a single segment
    return done[:4] + head + b"\x88" + done[5 + (not single) + 4 :]


PACKED = {
    "zstd": (ZstdCodec(), lambda data: numcodecs.Zstd(1).encode(data)),
    "zstd of unknown size": (ZstdCodec(), zstd_without_size),
    "blosc": (BloscCodec(), lambda data: numcodecs.Blosc().encode(data)),
    "gzip": (GzipCodec(), gzip.compress),
    "gzip in members": (
        GzipCodec(),
        lambda data: b"".join(gzip.compress(data[: 2**20]) for _ in range(16)),
    ),
    "lz4, zarr 2": (numcodecs.LZ4(), lambda data: numcodecs.LZ4().encode(data)),
    "zlib, zarr 2": (numcodecs.Zlib(), zlib.compress),
    "bz2, zarr 2": (numcodecs.BZ2(), bz2.compress),
    "lzma, zarr 2": (numcodecs.LZMA(), lzma.compress),
    "not packed": (None, bytes),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_chunk_that_becomes_too_large_is_refused(tmp_path, name):
    codec, pack = PACKED[name]
    array = packed_by(tmp_path / "a.zarr", codec)
    np.testing.assert_array_equal(read_first(tmp_path / "a.zarr"), IMAGE[0])
    chunk_of(array).write_bytes(pack(bytes(HUGE)))
    with pytest.raises((ValueError, OSError), match="becomes larger than"):
        read_first(tmp_path / "a.zarr")


@pytest.mark.parametrize("name", [n for n in PACKED if n != "not packed"])
def test_a_chunk_of_rubbish_is_an_error_of_the_reader(tmp_path, name):
    array = packed_by(tmp_path / "a.zarr", PACKED[name][0])
    chunk = chunk_of(array)
    for content in (b"", b"\x28\xb5\x2f\xfd", bytes(3), bytes(64), chunk.read_bytes()[:-9]):
        chunk.write_bytes(content)
        slide = open_slide(tmp_path / "a.zarr", vessels_channel="0", nuclei_channel="1")
        with suppress(ValueError, OSError):  # or zeros, where it says so little
            read_region(slide.vessels, Box(0, 0, 64, 64), 1.0, slide.origin, (150, 170))


def test_zstd_of_unknown_size_within_the_limit_is_read(tmp_path):
    array = packed_by(tmp_path / "a.zarr", ZstdCodec(), chunks=(1, 256, 256))
    chunk = chunk_of(array)
    # 256 x 256 px of 2 bytes have a header with four bytes of size
    content = np.zeros((256, 256), IMAGE.dtype)
    chunk.write_bytes(zstd_without_size(content.tobytes()))
    np.testing.assert_array_equal(read_first(tmp_path / "a.zarr"), content[:150, :170])


@pytest.mark.parametrize("location", ["start", "end"])
def test_chunks_in_a_shard_are_looked_at_one_by_one(tmp_path, location):
    array = packed_by(
        tmp_path / "a.zarr",
        ZstdCodec(),
        shards={"shape": (1, 256, 256), "index_location": location},
    )
    np.testing.assert_array_equal(read_first(tmp_path / "a.zarr"), IMAGE[0])
    shard = chunk_of(array)
    bomb = bytes(numcodecs.Zstd(1).encode(bytes(HUGE)))
    parts, index = 16, np.full((16, 2), 2**64 - 1, "<u8")
    before = 16 * parts + 4 if location == "start" else 0
    index[0] = before, len(bomb)
    checked = bytes(numcodecs.CRC32C(location="end").encode(index.tobytes()))
    shard.write_bytes(checked + bomb if location == "start" else bomb + checked)
    with pytest.raises((ValueError, OSError), match="becomes larger than"):
        read_first(tmp_path / "a.zarr")  # the whole shard
    with pytest.raises((ValueError, OSError), match="becomes larger than"):
        np.asarray(open_image(tmp_path / "a.zarr").planes[0][0][slice(0, 9), slice(0, 9)])


def test_parts_of_a_shard_are_looked_at_one_by_one_as_newer_zarr_asks_for_them(tmp_path):
    array = packed_by(tmp_path / "a.zarr", ZstdCodec(), shards=(1, 256, 256))
    bomb = bytes(numcodecs.Zstd(1).encode(bytes(HUGE)))
    good = bytes(numcodecs.Zstd(1).encode(bytes(64)))
    shard = chunk_of(array)
    shard.write_bytes(good + bomb)
    store = BoundedStore.at(tmp_path / "a.zarr")
    key = shard.relative_to(tmp_path / "a.zarr").as_posix()
    parts = [RangeByteRequest(0, len(good)), RangeByteRequest(len(good), len(good) + len(bomb))]

    async def read(parts):
        prototype = default_buffer_prototype()
        return [each async for each in store.get_ranges(key, parts, prototype=prototype)]

    ((number, found),) = asyncio.run(read(parts[:1]))[0]
    assert (number, found.to_bytes()) == (0, good)
    with pytest.raises(ValueError, match="becomes larger than"):
        asyncio.run(read(parts))


def test_packing_twice_is_refused(tmp_path):
    packed_by(tmp_path / "a.zarr", [GzipCodec(), ZstdCodec()])
    with pytest.raises(ValueError, match="packed twice"):
        open_image(tmp_path / "a.zarr")


def test_a_shard_index_of_another_kind_is_refused(tmp_path):
    array = packed_by(tmp_path / "a.zarr", ZstdCodec(), shards=(1, 256, 256))
    file = array / "zarr.json"
    file.write_text(file.read_text().replace('"crc32c"', '"shuffle"'))
    with pytest.raises(ValueError, match="index packed by"):
        open_image(tmp_path / "a.zarr")


def test_a_bomb_takes_no_memory(tmp_path):
    array = packed_by(tmp_path / "a.zarr", ZstdCodec())
    chunk_of(array).write_bytes(numcodecs.Zstd(1).encode(np.zeros(2**29, np.uint8)))
    program = (
        "import resource, sys\n"
        "from napari_damm.slide.readers import open_image\n"
        "image = open_image(sys.argv[1])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: image.planes[0][0][slice(0, 9), slice(0, 9)]\n"
        "except (ValueError, OSError): pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "a.zarr"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) < 100_000  # KiB

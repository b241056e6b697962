"""Pictures that are small as files and huge when they are decoded."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile

from zoo.case import Group
from zoo.goods import predict

CASES = Group("bombs")

NAMED = ["--vessels-channel", "0", "--nuclei-channel", "1", "--pixel-size", "1"]
RNG = np.random.default_rng(9)
RGB = RNG.integers(0, 255, (256, 256, 3)).astype(np.uint8)
COMPRESSION = 259
GIB = 2**30


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a part of a PNG file with its check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """Return a square PNG of packed rows."""
    header = struct.pack(">II5B", side, side, depth, colour, 0, 0, 0)
    parts = [png_chunk(b"IHDR", header), *more, png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zeros(size: int, packer: Callable[[], Any]) -> bytes:
    """Return `size` zeros, packed piece by piece."""
    stream = packer()
    piece = bytes(2**24)
    packed = b"".join(stream.compress(piece) for _ in range(size // 2**24))
    return packed + stream.flush()


def with_segment(path: Path, scheme: int, segment: bytes, image: np.ndarray = RGB) -> None:
    """Write a TIFF whose only tile is `segment`, said to be packed by `scheme`."""
    tifffile.imwrite(path, image, photometric="rgb", tile=(256, 256))
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(segment)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tags = tif.pages.first.tags
        tags[COMPRESSION].overwrite(scheme)
        tags["TileOffsets"].overwrite(end)
        tags["TileByteCounts"].overwrite(len(segment))


def jpeg_of(side: int) -> bytes:
    """Return a JPEG of a few pixels whose header states more."""
    data = bytearray(imagecodecs.jpeg8_encode(RGB))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def jpeg2000_of(side: int) -> bytes:
    data = bytearray(imagecodecs.jpeg2k_encode(RGB, codecformat="j2k"))
    at = data.index(b"\xff\x51")
    data[at + 6 : at + 14] = struct.pack(">II", side, side)
    data[at + 22 : at + 30] = struct.pack(">II", side, side)
    return bytes(data)


def jpeg_xr_of(side: int) -> bytes:
    data = bytearray(imagecodecs.jpegxr_encode(RGB))
    at = data.index(b"WMPHOTO\0") + 12
    code = ">HH" if data[at - 2] & 0x80 else ">II"
    data[at : at + struct.calcsize(code)] = struct.pack(code, side - 1, side - 1)
    return bytes(data)


def webp_of(side: int) -> bytes:
    data = bytearray(imagecodecs.webp_encode(RGB, lossless=False))
    at = data.index(b"VP8 ") + 14
    data[at : at + 4] = struct.pack("<HH", side - 1, side - 1)
    return bytes(data)


SEGMENTS: dict[str, tuple[int, Callable[[], bytes]]] = {
    "deflate": (8, lambda: zeros(GIB, lambda: zlib.compressobj(1))),
    "old deflate": (32946, lambda: zeros(GIB, lambda: zlib.compressobj(1))),
    "zstd": (50000, lambda: imagecodecs.zstd_encode(np.zeros(GIB, np.uint8), level=1)),
    "lzma": (34925, lambda: zeros(GIB, lambda: lzma.LZMACompressor(preset=0))),
    "lzw": (5, lambda: imagecodecs.lzw_encode(np.zeros(GIB // 2, np.uint8))),
    "packbits": (32773, lambda: b"\x81\x00" * 2**24),
    "jpeg": (7, lambda: jpeg_of(65_500)),
    "jpeg 2000": (34712, lambda: jpeg2000_of(60_000)),
    "png": (34933, lambda: png(60_000, 8, 2, zeros(2 * GIB, lambda: zlib.compressobj(1)))),
    "webp": (50001, lambda: webp_of(16_384)),
    "jpeg xr": (34934, lambda: jpeg_xr_of(60_000)),
    "jpeg xl": (50002, lambda: imagecodecs.jpegxl_encode(RGB)),
    "lerc": (34887, lambda: imagecodecs.lerc_encode(RGB)),
}


def _tile(scheme: int, segment: Callable[[], bytes]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        with_segment(folder / "a.tif", scheme, segment())
        return predict(folder, *NAMED, section="a.tif")

    return make


for _name, (_scheme, _segment) in SEGMENTS.items():
    _says = "states .* px in|is packed by|damaged|blank"
    CASES.refused(f"a tile packed by {_name}", _says, quick=False)(_tile(_scheme, _segment))


@CASES.refused("a PNG of two GB of 16-bit colours", "a\\.png states", quick=False)
def _deep_png(folder: Path) -> list[str]:
    rows = zeros(2**24, lambda: zlib.compressobj(1))
    (folder / "a.png").write_bytes(png(16_000, 16, 6, rows))
    return predict(folder, *NAMED, section="a.png")


@CASES.refused("a PNG of few pixels and a GB of rows", "more rows than it states")
def _long_png(folder: Path) -> list[str]:
    rows = zeros(GIB, lambda: zlib.compressobj(1))
    (folder / "a.png").write_bytes(png(64, 8, 2, rows))
    return predict(folder, *NAMED, section="a.png")


@CASES.refused("a PNG with a text of a GB", "blank")
def _text_png(folder: Path) -> list[str]:
    text = png_chunk(b"zTXt", b"Comment\0\0" + zeros(GIB, lambda: zlib.compressobj(1)))
    rows = zlib.compress(bytes(64 * (64 * 3 + 1)))
    (folder / "a.png").write_bytes(png(64, 8, 2, rows, text))
    return predict(folder, *NAMED, section="a.png")


@CASES.refused("a JPEG of a hundred thousand scans", "more scans than any picture needs")
def _scans(folder: Path) -> list[str]:
    data = imagecodecs.jpeg8_encode(RGB, optimize=True)
    at = data.index(b"\xff\xda")
    scans = (b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(4)) * 100_000
    (folder / "a.jpg").write_bytes(data[:at] + scans + data[at:])
    return predict(folder, *NAMED, section="a.jpg")


@CASES.refused("a JPEG that hides its size behind fill bytes", "65,500 x 65,500 px")
def _filled(folder: Path) -> list[str]:
    data = jpeg_of(65_500)
    (folder / "a.jpg").write_bytes(data.replace(b"\xff\xc0", b"\xff" * 9 + b"\xc0", 1))
    return predict(folder, *NAMED, section="a.jpg")


@CASES.refused("a tile of 40 GB of nothing", "a tile takes")
def _hollow(folder: Path) -> list[str]:
    path = folder / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(256, 256), bigtiff=True)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tags = tif.pages.first.tags
        tags[COMPRESSION].overwrite(8)
        tags["TileByteCounts"].overwrite(40 * GIB)
    with path.open("ab") as file:
        file.truncate(41 * GIB)
    return predict(folder, *NAMED, section="a.tif")


@CASES.refused("a PNG of 40 GB of nothing", "must be decoded whole")
def _hollow_png(folder: Path) -> list[str]:
    with (folder / "a.png").open("wb") as file:
        file.write(png(64, 8, 2, b""))
        file.truncate(40 * GIB)
    return predict(folder, *NAMED, section="a.png")

"""What compressed pictures state of themselves, read before anything is decoded.

1. A JPEG, JPEG 2000, JPEG XR, WebP or PNG states its size at its start; decoders take memory for
   that, whatever the file around it says. Where no size is found, it is damaged: decoders are more
   patient than we are.
2. A progressive JPEG goes through all its pixels once per scan; a PNG may hold more rows than it
   has. Both are bounded.
3. Other packers (deflate, LZW, zstd ...) are told how much to unpack, and do no more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
JPEG_SCAN = b"\xff\xda"
STANDALONE = {0x01, *range(0xD0, 0xD9)}
"""Markers of JPEG that nothing belongs to."""
MOST_SCANNED = 2**32
"""Pixels that are gone through in all scans: 16 times 16,384 x 16,384."""
PNG_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}
"""Samples of a decoded pixel, by type of colour; a palette becomes colours."""
PNG_STORED = PNG_SAMPLES | {3: 1}
ADAM7 = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
"""Passes of an interlaced PNG: first row, first column, steps of both."""
PIECE = 2**20


class Stated(NamedTuple):
    """The size of a picture, in its own words; `sample_bytes` those of one sample, decoded."""

    height: int
    width: int
    samples: int
    sample_bytes: int = 1

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded picture."""
        return self.height * self.width * self.samples * self.sample_bytes


class NoSizeError(ValueError):
    """A picture does not say how large it is, or claims what it cannot hold."""


def _or_damaged(read: Callable[[bytes], Stated]) -> Callable[[bytes], Stated]:
    def reads(data: bytes) -> Stated:
        try:
            return read(data)
        except NoSizeError:
            raise
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise NoSizeError("its size is not stated") from error

    reads.__doc__ = read.__doc__
    return reads


@_or_damaged
def jpeg(data: bytes) -> Stated:
    """Return what the first frame of a JPEG states (ITU-T T.81, B.2.2).

    Raises
    ------
    NoSizeError
        If there is none before the first scan, or too many scans for its size.
    """
    at = 2
    while True:
        # As decoders do: what is no marker is skipped, and fill bytes before one.
        at = data.index(b"\xff", at)
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in JPEG_FRAMES:
            precision, height, width, samples = struct.unpack_from(">BHHB", data, at + 2)
            stated = Stated(height, width, samples, 1 if precision <= 8 else 2)
            if data.count(JPEG_SCAN) * height * width > MOST_SCANNED:
                raise NoSizeError("it is drawn in more scans than any picture needs")
            return stated
        if marker in (0xD9, 0xDA):
            raise NoSizeError("its size is not stated")
        if marker not in STANDALONE | {0}:
            at += max(2, *struct.unpack_from(">H", data, at))


@_or_damaged
def jpeg2000(data: bytes) -> Stated:
    """Return what the SIZ segment of a JPEG 2000 states (ITU-T T.800, A.5.1), boxed or not."""
    at = 0
    if data[4:8] == b"jP  ":
        while data[at + 4 : at + 8] != b"jp2c":
            (length,) = struct.unpack_from(">I", data, at)
            head = 8
            if length == 1:
                (length,) = struct.unpack_from(">Q", data, at + 8)
                head = 16
            if length < head:
                raise NoSizeError("its size is not stated")
            at += length
        at += 16 if data[at : at + 4] == b"\0\0\0\1" else 8
    if data[at : at + 4] != b"\xff\x4f\xff\x51":
        raise NoSizeError("its size is not stated")
    x, y, left, top = struct.unpack_from(">4I", data, at + 8)
    (samples,) = struct.unpack_from(">H", data, at + 40)
    return Stated(y - top, x - left, samples, 4)


@_or_damaged
def jpeg_xr(data: bytes) -> Stated:
    """Return what a JPEG XR states, around its codestream and in it (ITU-T T.832, 8.3 and A.6)."""
    if data[:3] != b"II\xbc":
        raise NoSizeError("its size is not stated")
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    tags = [struct.unpack_from("<HHII", data, at + 2 + 12 * number) for number in range(count)]
    values = {code: value & (0xFFFF if kind == 3 else 0xFFFFFFFF) for code, kind, _, value in tags}
    start = values[0xBCC0]
    if data[start : start + 8] != b"WMPHOTO\0":
        raise NoSizeError("its size is not stated")
    short = data[start + 10] & 0x80
    width, height = struct.unpack_from(">HH" if short else ">II", data, start + 12)
    return Stated(max(height + 1, values[0xBC81]), max(width + 1, values[0xBC80]), 4, 2)


@_or_damaged
def webp(data: bytes) -> Stated:
    """Return what a WebP states (RFC 9649, 2.5 to 2.7): no side is over 16,384 px."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise NoSizeError("its size is not stated")
    return Stated(height, width, 4)


@_or_damaged
def png(data: bytes) -> Stated:
    """Return what the first chunk of a PNG states (PNG 1.2, 4.1.1)."""
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    return Stated(height, width, PNG_SAMPLES[colour], 2 if depth == 16 else 1)


def check_png_rows(data: bytes) -> None:
    """Refuse a PNG whose rows go on after its last one: decoders unpack those too.

    Raises
    ------
    NoSizeError
        If they do. Any other damage is left to the decoder.
    """
    stream, left = zlib.decompressobj(), _png_row_bytes(data)
    for packed in _png_data(data):
        while packed or stream.unconsumed_tail:
            try:
                left -= len(stream.decompress(packed, min(PIECE, left + 1)))
            except zlib.error:
                return
            if left < 0:
                raise NoSizeError("it holds more rows than it states")
            packed = stream.unconsumed_tail
            if stream.eof:
                return


def _png_row_bytes(data: bytes) -> int:
    """Return how many bytes the rows have, each with the byte that names its filter."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">II5B", data, 16)
    bits = PNG_STORED.get(colour, 4) * depth
    sizes = [(height, width)]
    if interlaced:
        sizes = [(-(-(height - y) // dy), -(-(width - x) // dx)) for y, x, dy, dx in ADAM7]
    return sum(rows * (1 + -(-columns * bits // 8)) for rows, columns in sizes if columns > 0)


def _png_data(data: bytes) -> Iterator[bytes]:
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        at += length + 12

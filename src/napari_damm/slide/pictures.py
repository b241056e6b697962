"""PNG and JPEG: they hold no pixel size and cannot be read in parts, so they are decoded whole.

1. Check that the end of the file is there, which decoders do not.
2. Decode, and keep each channel as a plane of its own, faster to slice than an interleaved one.
3. The pictures used last stay decoded, up to half a GB of them: a folder may hold thousands.
4. Another process gets the path and decodes the file again: pixels are not sent along.
"""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.slide import codestreams
from napari_damm.slide.planes import BlockCache, LazyPlane
from napari_damm.slide.raster import RGB, ImageFile
from napari_damm.util.errors import is_out_of_memory

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
MOST_BYTES = 2**30
"""Decoded: 16,384 x 16,384 px of 8-bit RGB with room to spare."""

DECODED_BYTES = 512 * 2**20

_DECODING = threading.Lock()
_DECODED = BlockCache(DECODED_BYTES)


class _BrokenOffError(Exception):
    """The end of the file is missing, which decoders fill with grey without a word."""


class Picture:
    """The channels of a picture file, decoded when they are asked for."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.kind = kind
        self._key = uuid.uuid4().hex

    @property
    def channels(self) -> np.ndarray:
        """The channels (channel, y, x)."""
        with _DECODING:
            pixels = _DECODED.get((self._key, 0, 0), lambda: _decode(self.path, self.kind))
        return pixels

    def __getstate__(self) -> dict[str, Any]:
        """Be another picture elsewhere: the file may be another there."""
        return self.__dict__ | {"_key": uuid.uuid4().hex}


class PictureSource:
    """One channel of a picture."""

    block: tuple[int, int] | None = None

    def __init__(self, picture: Picture, channel: int) -> None:
        pixels = picture.channels[channel]
        self.picture = picture
        self.channel = channel
        self.shape = (pixels.shape[0], pixels.shape[1])
        self.dtype = pixels.dtype

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""
        channels = self.picture.channels
        if self.channel >= len(channels) or channels[self.channel].shape != self.shape:
            raise OSError(f"{self.picture.path} is another picture now: open it again")
        pixels: np.ndarray = channels[self.channel][y0:y1, x0:x1]
        return pixels


def read_picture(path: Path, kind: str) -> ImageFile:
    """Decode a picture; `kind` is "PNG" or "JPEG".

    Raises
    ------
    ValueError
        It is damaged, or made for printing (CMYK).
    OSError
        It is truncated.
    """
    picture = Picture(path, kind)
    count = len(picture.channels)
    names = {1: ("grey",), 2: ("grey", "alpha"), 3: RGB[:3], 4: RGB}[count]
    planes = tuple((LazyPlane(PictureSource(picture, index)),) for index in range(count))
    return ImageFile(path, names, planes)


def _decode(path: Path, kind: str) -> np.ndarray:
    data = _content(path, kind)
    try:
        pixels = (_decode_png if kind == "PNG" else _decode_jpeg)(data)
    except _BrokenOffError as error:
        raise OSError(f"{path} is truncated: copy or export the file again") from error
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise _damaged(path, kind, error) from error
    grey = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.asarray(np.moveaxis(grey, -1, 0), order="C")


def _content(path: Path, kind: str) -> bytes:
    """Return a file's bytes; refuse one that states more pixels than memory should be asked for."""
    remedy = f"a {kind} must be decoded whole: save it as a tiled OME-TIFF"
    if (size := path.stat().st_size) > 2 * MOST_BYTES:
        raise ValueError(f"{path} has {size / 2**30:.1f} GiB, and {remedy}")
    data = path.read_bytes()
    try:
        stated = (codestreams.png if kind == "PNG" else codestreams.jpeg)(data)
    except codestreams.NoSizeError as error:
        raise _damaged(path, kind, error) from error
    if stated.nbytes > MOST_BYTES:
        raise ValueError(
            f"{path} states {stated.height:,} x {stated.width:,} px, "
            f"{stated.nbytes / 2**30:.1f} GiB, and {remedy}"
        )
    return data


def _damaged(path: Path, kind: str, problem: Exception) -> ValueError:
    return ValueError(f"{path} is a damaged {kind} ({problem}): copy or export the file again")


def _decode_png(data: bytes) -> np.ndarray:
    import imagecodecs

    if b"IEND" not in data[-4096:]:
        raise _BrokenOffError
    codestreams.check_png_rows(data)
    return np.asarray(imagecodecs.png_decode(data))


def _decode_jpeg(data: bytes) -> np.ndarray:
    import imagecodecs

    # Within a scan 0xff is always escaped, so the last of these two markers is a real one.
    if data.rfind(JPEG_END) < data.rfind(codestreams.JPEG_SCAN):
        raise _BrokenOffError
    pixels = np.asarray(imagecodecs.jpeg_decode(data))
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise ValueError("it is CMYK, made for printing")
    return pixels

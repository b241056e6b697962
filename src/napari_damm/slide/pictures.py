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
from typing import Any, BinaryIO

import numpy as np

from napari_damm.slide.planes import BlockCache, LazyPlane
from napari_damm.slide.raster import RGB, ImageFile

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
MOST_PIXELS = 2**28
"""16,384 x 16,384: a GB of RGB, decoded."""

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
    _check_size(path, kind)
    try:
        pixels = (_decode_png if kind == "PNG" else _decode_jpeg)(path.read_bytes())
    except _BrokenOffError as error:
        raise OSError(f"{path} is truncated: copy or export the file again") from error
    except Exception as error:
        raise ValueError(
            f"{path} is a damaged {kind} ({error}): copy or export the file again"
        ) from error
    grey = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.asarray(np.moveaxis(grey, -1, 0), order="C")


def _check_size(path: Path, kind: str) -> None:
    """Refuse a picture whose header states more pixels than memory should be asked for."""
    with path.open("rb") as file:
        height, width = (_png_size if kind == "PNG" else _jpeg_size)(file)
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"{path} states {height:,} x {width:,} px, and a {kind} must be decoded whole: save it "
            "as a tiled OME-TIFF"
        )


def _png_size(file: BinaryIO) -> tuple[int, int]:
    start = file.read(24)
    return int.from_bytes(start[20:24], "big"), int.from_bytes(start[16:20], "big")


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    """Return the size in the first start-of-frame segment; (0, 0) where there is none."""
    file.read(2)
    while (marker := file.read(2)) and marker[:1] == b"\xff":
        if marker[1] in JPEG_FRAMES:
            frame = file.read(7)
            return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[5:7], "big")
        file.seek(max(0, int.from_bytes(file.read(2), "big") - 2), 1)
    return 0, 0


def _decode_png(data: bytes) -> np.ndarray:
    import imagecodecs

    if b"IEND" not in data[-4096:]:
        raise _BrokenOffError
    return np.asarray(imagecodecs.png_decode(data))


def _decode_jpeg(data: bytes) -> np.ndarray:
    import imagecodecs

    # Within a scan 0xff is always escaped, so the last of these two markers is a real one.
    if data.rfind(JPEG_END) < data.rfind(JPEG_SCAN):
        raise _BrokenOffError
    pixels = np.asarray(imagecodecs.jpeg_decode(data))
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise ValueError("it is CMYK, made for printing")
    return pixels

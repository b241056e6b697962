"""CZI, as ZEISS microscopes write it, read block by block by ZEISS's own library.

1. The library is an extra (`napari-damm[czi]`); without it the file is refused with how to get it.
2. Channels, their names and the pixel size come from the file's XML, which is bounded before it is
   parsed. Of several scenes one is the image, by the rules of `images`.
3. A block is read when it is asked for. Pyramids in the file are not used: how their pixels lie on
   those of full resolution is not stated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from napari_damm.slide.images import choose_image
from napari_damm.slide.planes import LazyPlane, Plane
from napari_damm.slide.raster import RGB, ImageFile, Scale, lacks_library
from napari_damm.slide.stacks import StackSize, choose_plane
from napari_damm.util.text import printable

CZI_START = b"ZISRAWFI"
BLOCK = 1024
LONGEST_SIDE = 2**21
MOST_CHANNELS = 1000
LONGEST_XML = 16 * 2**20
SAMPLES = {"Gray8": 1, "Gray16": 1, "Gray32Float": 1, "Bgr24": 3, "Bgr48": 3}
DTYPES = {"Gray8": "u1", "Gray16": "u2", "Gray32Float": "f4", "Bgr24": "u1", "Bgr48": "u2"}
Box = tuple[int, int, int, int]
"""Corner (x, y) in the file's own coordinates, width and height."""


class CziSource:
    """One plane of a CZI file: (h, w), or (h, w, blue green red) of a colour camera."""

    def __init__(self, path: Path, box: Box, where: dict[str, Any], kind: str) -> None:
        self.path, self.box, self.where = path, box, where
        self.samples = SAMPLES[kind]
        self.shape = (box[3], box[2])
        self.dtype = np.dtype(DTYPES[kind])
        self.block: tuple[int, int] | None = (min(BLOCK, box[3]), min(BLOCK, box[2]))

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""
        x, y, _, _ = self.box
        with _opened(self.path) as czi:
            pixels: np.ndarray = czi.read(roi=(x + x0, y + y0, x1 - x0, y1 - y0), **self.where)
        if pixels.shape != (y1 - y0, x1 - x0, self.samples):
            raise OSError(f"{self.path} is another image now: open it again")
        return pixels if self.samples > 1 else pixels[..., 0]


def read_czi(path: Path, z: int | None, t: int | None, image: str | int | None) -> ImageFile:
    """Read what a CZI file holds, its pixels lazily.

    Raises
    ------
    ValueError
        If the library is missing, or it is no such file, or a stack or scenes without a choice.
    OSError
        If it cannot be read.
    """
    with _opened(path) as czi:
        sizes = {axis: stop - start for axis, (start, stop) in czi.total_bounding_box.items()}
        scenes = dict(czi.scenes_bounding_rectangle)
        whole = czi.total_bounding_rectangle
        kinds = {int(channel): str(kind) for channel, kind in czi.pixel_types.items()}
        text = czi.raw_metadata
    boxes = [(r.x, r.y, r.w, r.h) for r in scenes.values()] or [
        (whole.x, whole.y, whole.w, whole.h)
    ]
    channels = sizes.get("C", 1)
    _check_sizes(path, boxes, channels, kinds)
    names, pixel_size = _described(text, channels)
    choice = choose_image(path, [""] * len(boxes), [(h, w) for _, _, w, h in boxes], image)
    stack = StackSize(sizes.get("Z", 1), sizes.get("T", 1))
    where: dict[str, Any] = {
        "plane": {
            "Z": choose_plane(path, "z", stack.z, z),
            "T": choose_plane(path, "t", stack.t, t),
        }
    }
    if scenes:
        where["scene"] = list(scenes)[choice.number]
    called: list[str] = []
    planes: list[tuple[Plane, ...]] = []
    for channel in range(channels):
        here = where | {"plane": where["plane"] | {"C": channel}}
        source = CziSource(path, boxes[choice.number], here, kinds[channel])
        if source.samples == 1:
            called.append(names[channel])
            planes.append((LazyPlane(source),))
            continue
        first = LazyPlane(source, 2)
        called += RGB[:3] if channels == 1 else [f"{names[channel]} {c}" for c in RGB[:3]]
        planes += [(LazyPlane(source, sample, first.key),) for sample in (2, 1, 0)]
    return ImageFile(path, tuple(called), tuple(planes), pixel_size, stack=stack, image=choice)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file with the library, whose complaints become sentences."""
    try:
        from pylibCZIrw import czi as library
    except ImportError:
        raise lacks_library(path, "a CZI file", "czi") from None
    try:
        with library.open_czi(str(path)) as czi:
            yield czi
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: check the path") from None
        reason = printable(str(error).partition("\n")[0][:150])
        raise OSError(f"{path} cannot be read as CZI ({reason}): copy or export it again") from None


def _check_sizes(path: Path, boxes: list[Box], channels: int, kinds: dict[int, str]) -> None:
    """Refuse what no microscope writes, and pixels that are no intensities."""
    for _, _, width, height in boxes:
        if not (1 <= width <= LONGEST_SIDE and 1 <= height <= LONGEST_SIDE):
            raise ValueError(f"{path} claims an image of {width} x {height} px: export it again")
    if not 1 <= channels <= MOST_CHANNELS or set(kinds) < set(range(channels)):
        raise ValueError(f"{path} claims {channels} channels and describes {len(kinds)}")
    for channel in range(channels):
        if kinds[channel] not in SAMPLES:
            raise ValueError(
                f"channel {channel} of {path} has pixels of kind {kinds[channel][:40]!r}: "
                f"export an OME-TIFF with one of {', '.join(SAMPLES)}"
            )


def _described(text: str, channels: int) -> tuple[list[str], Scale | None]:
    """Return the channels' names and the pixel size (y, x) in um, as far as the XML says them."""
    names = [f"channel {channel}" for channel in range(channels)]
    if len(text) > LONGEST_XML or "<!" in text.replace("<!--", ""):  # no entities, no types
        return names, None
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError):
        return names, None
    listed = root.findall(".//Information/Image/Dimensions/Channels/Channel")
    for number, element in enumerate(listed[:channels]):
        names[number] = printable(element.get("Name", "").strip()[:100]) or names[number]
    metres = {each.get("Id"): each.findtext("Value") for each in root.findall(".//Items/Distance")}
    sizes = [_um(metres.get(axis)) for axis in "YX"]
    return names, None if None in sizes else (sizes[0] or 0.0, sizes[1] or 0.0)


def _um(metres: str | None) -> float | None:
    try:
        size = float(metres or "") * 1e6
    except ValueError:
        return None
    return size if math.isfinite(size) and size > 0 else None

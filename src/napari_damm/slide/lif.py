"""LIF and LOF, as Leica microscopes write them: found by the library liffile, mapped from the file.

1. The library is an extra (`napari-damm[lif]`); without it the file is refused with how to get it.
2. It finds the images, their descriptions (XML), and where in the file their pixels lie. These are
   not compressed: a plane is a view of the mapped file, and only what is asked for is read.
3. Of several images one is meant, by the rules of `images`; of a stack, one plane. Tiles that were
   not merged, and spectra, are refused: they are no one picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from napari_damm.slide.images import choose_image
from napari_damm.slide.planes import LazyPlane, Plane
from napari_damm.slide.raster import RGB, ImageFile, Scale, lacks_library, to_um
from napari_damm.slide.stacks import StackSize, choose_plane
from napari_damm.util.text import printable

LIF_START, SECOND_MARK, SECOND_AT = b"p\0\0\0", 0x2A, 8
BLOCK = 1024
LONGEST_SIDE, MOST_IMAGES, MOST_CHANNELS = 2**21, 10_000, 1000
AXES = {1: "x", 2: "y", 3: "z", 4: "t"}
TILES = 10
"""Numbers of dimensions in the description."""
KINDS = {(0, 1): "<u1", (0, 2): "<u2", (0, 4): "<u4", (1, 4): "<f4", (1, 8): "<f8"}
"""Pixels by whether they are floating and how many bytes they have."""


@dataclass(frozen=True)
class Axis:
    """A dimension of an image: its length, and a step along it in bytes and in um."""

    count: int
    bytes: int
    um: float | None


@dataclass(frozen=True)
class Channel:
    """A channel of an image: its name, kind of pixel, and how many bytes behind the first it is."""

    name: str
    kind: str
    bytes: int
    colour: int


@dataclass(frozen=True)
class Described:
    """An image of a file, as the library finds it: its description, and where its pixels are."""

    name: str
    description: Element
    offset: int
    size: int


class LifSource:
    """One plane (h, w) of a file, at `offset` bytes, with `steps` bytes from pixel to pixel."""

    def __init__(
        self, path: Path, offset: int, steps: tuple[int, int], shape: tuple[int, int], kind: str
    ) -> None:
        self.path, self.offset, self.steps, self.shape = path, offset, steps, shape
        self.stored = np.dtype(kind)
        self.dtype = self.stored.newbyteorder("=")
        self.block: tuple[int, int] | None = (min(BLOCK, shape[0]), min(BLOCK, shape[1]))

    def load(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the pixels [y0, y1) x [x0, x1)."""
        try:
            mapped = np.memmap(self.path, np.uint8, "r")
            plane = np.ndarray(self.shape, self.stored, mapped.data, self.offset, self.steps)
        except (ValueError, TypeError) as error:  # the plane does not lie within the file
            raise OSError(f"{self.path} is another file now: open it again") from error
        return np.array(plane[y0:y1, x0:x1], self.dtype)


def is_lif(start: bytes) -> bool:
    """Return whether a file that begins so is one of Leica's."""
    return start.startswith(LIF_START) and start[SECOND_AT : SECOND_AT + 1] == bytes([SECOND_MARK])


def read_lif(path: Path, z: int | None, t: int | None, image: str | int | None) -> ImageFile:
    """Read what a LIF or LOF file holds, its pixels lazily.

    Raises
    ------
    ValueError
        If the library is missing, or it is no such file, or a stack or images without a choice, or
        the image is no picture.
    OSError
        If it cannot be read.
    """
    images = [(each, _axes(each.description)) for each in _images(path)]
    images = [(each, axes) for each, axes in images if {1, 2} <= set(axes)]
    if not images:
        raise ValueError(f"{path} holds no image: export an OME-TIFF of what is meant")
    sizes = [(axes[2].count, axes[1].count) for _, axes in images]
    choice = choose_image(path, [each.name for each, _ in images], sizes, image)
    chosen, axes = images[choice.number]
    _check_axes(path, axes)
    channels = _channels(path, chosen.description)
    steps, shape = (axes[2].bytes, axes[1].bytes), sizes[choice.number]
    within = 0
    counts = {}
    for number, wanted in ((3, z), (4, t)):
        axis = axes.get(number, Axis(1, 0, None))
        counts[number] = axis.count
        within += choose_plane(path, AXES[number], axis.count, wanted) * axis.bytes
    there = min(chosen.size, path.stat().st_size - chosen.offset)
    planes: list[tuple[Plane, ...]] = []
    for channel in channels:
        first = within + channel.bytes
        last = first + (shape[0] - 1) * steps[0] + (shape[1] - 1) * steps[1]
        if last + np.dtype(channel.kind).itemsize > there:
            raise OSError(f"{path} holds less than it describes: copy or export it again")
        source = LifSource(path, chosen.offset + first, steps, shape, channel.kind)
        planes.append((LazyPlane(source),))
    scale = _scale(axes)
    stack = StackSize(counts[3], counts[4])
    names = tuple(each.name for each in channels)
    return ImageFile(path, names, tuple(planes), scale, stack=stack, image=choice)


def _images(path: Path) -> list[Described]:
    """Return the images that the library finds; what it complains of becomes a sentence."""
    try:
        import liffile
    except ImportError:
        raise lacks_library(path, "a Leica file", "lif") from None
    try:
        with liffile.LifFile(path) as file:
            places = {key: (each.offset, each.size) for key, each in file.memory_blocks.items()}
            named = [
                (name, each, _memory(each))
                for name, each in islice(_elements(file.xml_element), MOST_IMAGES)
            ]
            if file.type == liffile.LifFileType.LOF:  # it has one block, which may have no name
                named = [(name, each, next(iter(places))) for name, each, _ in named]
            return [Described(name, each, *places[key]) for name, each, key in named if key]
    except (ValueError, SyntaxError, LookupError, TypeError, AttributeError, RecursionError) as e:
        # the parser of XML complains with a SyntaxError
        reason = printable(str(e).partition("\n")[0][:150])
        raise OSError(f"{path} cannot be read as LIF ({reason}): copy or export it again") from None


def _elements(parent: Element, above: str = "") -> Iterator[tuple[str, Element]]:
    """Yield the images below an element of the description, and their names: a path of groups.

    Two may have one name, which the library's own list does not allow.
    """
    for each in parent.iterfind("./Element"):
        name = printable(each.get("Name", "").strip()[:100])
        if each.find("./Data/Image") is not None:
            yield above + name, each
        inside = each.find("./Children")
        if inside is not None:
            # the outermost group is the file itself
            nested = f"{above}{name}/" if parent.tag == "Children" else above
            yield from _elements(inside, nested)


def _memory(image: Element) -> str:
    """Return by what name the pixels of an image are found; "" of one that has none."""
    memory = image.find("./Memory")
    if memory is None or memory.get("Size", "0") == "0":
        return ""
    return memory.get("MemoryBlockID", "")


def _axes(description: Element) -> dict[int, Axis]:
    """Return the dimensions of an image by their number; {} for what has none that can be read."""
    found: dict[int, Axis] = {}
    try:
        for each in description.iterfind("./Data/Image/ImageDescription/Dimensions/*"):
            count, step = int(each.attrib["NumberOfElements"]), int(each.attrib["BytesInc"])
            if count < 1 or step < 0:
                return {}
            # from the middle of the first pixel to that of the last
            um = to_um(float(each.attrib["Length"]), each.get("Unit")) if count > 1 else None
            found[int(each.attrib["DimID"])] = Axis(count, step, um and um / (count - 1))
    except (KeyError, ValueError):
        return {}
    return found


def _check_axes(path: Path, axes: dict[int, Axis]) -> None:
    """Refuse what is no picture, and what no microscope writes."""
    height, width = axes[2].count, axes[1].count
    if max(height, width) > LONGEST_SIDE:
        raise ValueError(f"{path} claims an image of {width} x {height} px: export it again")
    if TILES in axes and axes[TILES].count > 1:
        raise ValueError(
            f"{path} holds {axes[TILES].count} tiles that were not merged: merge them in the "
            "microscope's software, or export an OME-TIFF"
        )
    for number, axis in axes.items():
        if axis.count > 1 and number not in (*AXES, TILES):
            raise ValueError(
                f"{path} has {axis.count} steps of a dimension besides x, y, z, t and channels "
                f"(number {number}): export an OME-TIFF of the one that is meant"
            )


def _channels(path: Path, description: Element) -> Sequence[Channel]:
    """Return the channels of an image, in their order in the file."""
    listed = description.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")
    found = []
    try:
        for number, each in enumerate(listed[: MOST_CHANNELS + 1]):
            bits = int(each.attrib["Resolution"])
            width = 1 if bits <= 8 else 2 if bits <= 16 else 4 if bits <= 32 else 8
            kind = KINDS.get((int(each.attrib["DataType"]), width))
            step, colour = int(each.attrib["BytesInc"]), int(each.get("ChannelTag", "0"))
            if kind is None or step < 0:
                raise ValueError(f"{bits} bits")
            found.append(Channel(_name(each, number, colour), kind, step, colour))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"channel {len(found)} of {path} has pixels of an unknown kind ({error}): "
            "export an OME-TIFF"
        ) from None
    if not 1 <= len(found) <= MOST_CHANNELS:
        raise ValueError(f"{path} describes {len(listed)} channels: export an OME-TIFF")
    return found


def _name(channel: Element, number: int, colour: int) -> str:
    """Return the name of a channel: its dye, its colour, or that of the table it is shown in."""
    named = {
        each.findtext("Key"): each.findtext("Value") or ""
        for each in channel.iterfind("ChannelProperty")
    }
    colours = RGB[colour - 1] if 1 <= colour <= 3 else ""
    for name in (named.get("DyeName", ""), named.get("DyeName0", ""), colours):
        if clean := printable(name.strip()[:100]):
            return clean
    table = printable(channel.get("LUTName", "").strip()[:60])
    return f"channel {number}" + (f" ({table})" if table else "")


def _scale(axes: dict[int, Axis]) -> Scale | None:
    """Return the size of a pixel (y, x) in um, where the file says it."""
    down, right = axes[2].um, axes[1].um
    if not down or not right or not math.isfinite(down * right) or min(down, right) <= 0:
        return None
    return down, right

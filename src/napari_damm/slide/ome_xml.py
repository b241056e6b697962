"""What the OME-XML of a TIFF says, image by image.

1. The XML lists images; each says in which file and at which page its planes are (`TiffData`).
2. An image of the TIFF is described by the element that names its pages: never by its number
   alone, for tifffile leaves out images whose files are absent.
3. Numbers in it are claims: they are bounded before anything is made of them.

Source: OME data model 2016-06, Image, Pixels, TiffData.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

from tifffile import TiffFile, TiffPageSeries

from napari_damm.util.version import OWN_CREATOR, PREDICTED

MOST_PLANES = 100_000
"""Planes that one image may claim: a year of minutes, by channels, is fewer than that."""
FARTHEST_UM = 1e9
"""A kilometre: no picture lies further off."""


class TooMuchClaimedError(ValueError):
    """The XML claims more than a file can hold."""


@dataclass(frozen=True)
class Pixels:
    """One image as the XML has it.

    `channels` are the channels' names, `sizes` the pixel size (y, x) as (text, unit), `files` the
    names of the files that hold its planes, with "" for the file itself. `corner` is where it lies
    (y, x) in um, only of files of our own: of others it is where a stage was, by axes of its own.
    `predicted` describes a map that we predicted, "" for a picture.
    """

    name: str
    channels: tuple[str, ...]
    sizes: tuple[tuple[str | None, str], tuple[str | None, str]]
    files: tuple[str, ...]
    element: ElementTree.Element
    corner: tuple[float, float] | None = None
    predicted: str = ""


def check_claims(path: Path, text: str | None) -> None:
    """Check what the XML claims, before a reader makes a list of planes or opens other files.

    Raises
    ------
    TooMuchClaimedError
        If an image claims more than a believable number of planes, or planes in another folder.
    """
    for element in _images(text):
        claimed = 1
        for axis in "CZT":
            size = element.get(f"Size{axis}", "1")
            claimed *= int(size) if size.isdecimal() and len(size) < 12 else MOST_PLANES + 1
        if claimed > MOST_PLANES:
            raise TooMuchClaimedError(
                f"{path} claims more than {MOST_PLANES:,} planes in its OME-XML: export it again"
            )
        for data in element.findall("{*}TiffData"):
            _check_place(path, data)


def _check_place(path: Path, data: ElementTree.Element) -> None:
    """Check one statement of where planes are."""
    for name in ("IFD", "FirstC", "FirstZ", "FirstT", "PlaneCount"):
        number = data.get(name, "0")
        if not number.isdecimal() or len(number) > 9 or int(number) > MOST_PLANES:
            raise TooMuchClaimedError(
                f"{path} claims {name} {number[:20]} in its OME-XML: export it again"
            )
    uuid = data.find("{*}UUID")
    file = "" if uuid is None else uuid.get("FileName", "")
    if PureWindowsPath(file).name != file:
        raise TooMuchClaimedError(
            f"{path} names {file[:80]!r} for its planes, outside of its own folder: put the files "
            "of a set beside each other"
        )


def pixels_of(tif: TiffFile, series: TiffPageSeries) -> Pixels | None:
    """Return what the XML says of a series; None where nothing in it is about these pages."""
    root = _root(tif.ome_metadata)
    own = Path(tif.filehandle.path).name
    own_uuid = (root.get("UUID") or "").strip()
    page = next((page for page in series if page is not None), None)
    if page is None:
        return None
    at = page.index if isinstance(page.index, int) else page.index[0]
    where = (Path(page.parent.filehandle.path).name, at)
    images = root.findall("{*}Image/{*}Pixels")
    for element in images:
        if any(_covers(data, where, own, own_uuid) for data in element.findall("{*}TiffData")):
            return _pixels(element, root, own_uuid)
    unplaced = [e for e in images if e.find("{*}TiffData") is None]
    return _pixels(unplaced[0], root, own_uuid) if len(images) == len(unplaced) == 1 else None


def missing_files(tif: TiffFile, pixels: Pixels | None) -> list[str]:
    """Return the files that should hold planes of an image and are not beside this one."""
    folder = Path(tif.filehandle.path).parent
    named = () if pixels is None else pixels.files
    return [name for name in named if name and not (folder / name).exists()]


def _covers(data: ElementTree.Element, where: tuple[str, int], own: str, own_uuid: str) -> bool:
    file = _file_of(data, own_uuid) or own
    first = _number(data.get("IFD"), 0)
    # without a number of planes: one where a page is named, else all that follow
    count = _number(data.get("PlaneCount"), 1 if data.get("IFD") else 2**31)
    return file == where[0] and first <= where[1] < first + count


def _file_of(data: ElementTree.Element, own_uuid: str) -> str:
    """Return the name of the file that holds these planes, "" for the file itself."""
    uuid = data.find("{*}UUID")
    if uuid is None or (own_uuid and (uuid.text or "").strip() == own_uuid):
        return ""
    # never a path: what lies beside the file is all that it may name
    return PurePosixPath(PureWindowsPath(uuid.get("FileName", "")).name).name


def _pixels(element: ElementTree.Element, root: ElementTree.Element, own_uuid: str) -> Pixels:
    parent = next((i for i in root.findall("{*}Image") if element in list(i)), root)
    files = [_file_of(data, own_uuid) for data in element.findall("{*}TiffData")]
    y, x = (
        (element.get(f"PhysicalSize{axis}"), element.get(f"PhysicalSize{axis}Unit", "µm"))
        for axis in "YX"
    )
    described = parent.findtext("{*}Description") or ""
    return Pixels(
        name=(parent.get("Name") or "").strip(),
        channels=tuple(c.get("Name", "") for c in element.findall("{*}Channel")),
        sizes=(y, x),
        files=tuple(dict.fromkeys(files)),
        element=element,
        corner=_corner(element) if _is_own(root) else None,
        predicted=described if _is_own(root) and described.startswith(PREDICTED) else "",
    )


def _is_own(root: ElementTree.Element) -> bool:
    return (root.get("Creator") or "").split()[:1] == [OWN_CREATOR]


def _corner(element: ElementTree.Element) -> tuple[float, float] | None:
    plane = element.find("{*}Plane")
    if plane is None:
        return None
    try:
        y, x = (float(plane.attrib[f"Position{axis}"]) for axis in "YX")
    except (KeyError, ValueError):
        return None
    return (y, x) if all(abs(value) < FARTHEST_UM for value in (y, x)) else None


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else otherwise


def _images(text: str | None) -> Iterator[ElementTree.Element]:
    yield from _root(text).findall("{*}Image/{*}Pixels")


def _root(text: str | None) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text or "<none/>")
    except ElementTree.ParseError:
        return ElementTree.Element("none")

"""From a path to channels that are read lazily: TIFF, OME-Zarr, CZI, LIF, PNG and JPEG.

1. Look at the first bytes, never at the name: a text file called .tif is refused as what it is.
2. TIFF goes to `tiff`, a directory to `ome_zarr`, CZI to `czi`, LIF to `lif`, PNG and
   JPEG to `pictures`.
3. Of a stack, one z plane and one time point are read: which must be said.

Every refusal is one sentence that names the file and says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_damm.slide.czi import CZI_START, read_czi
from napari_damm.slide.lif import is_lif, read_lif
from napari_damm.slide.ome_zarr import read_zarr
from napari_damm.slide.pictures import JPEG_START, PNG_START, read_picture
from napari_damm.slide.raster import READABLE, ImageFile
from napari_damm.slide.stacks import NO_STACK, StackSize, common_stack
from napari_damm.slide.tiff import read_tiff
from napari_damm.util.text import printable

STACKS = ("tiff", "zarr", "czi", "lif")
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_image(
    path: str | Path,
    z: int | None = None,
    t: int | None = None,
    image: str | int | None = None,
) -> ImageFile:
    """Read what an image file holds, its pixels lazily where its format allows.

    Parameters
    ----------
    path
        The file, or the directory of an OME-Zarr image.
    z, t
        Which z plane and which time point, from 0. An image that has only one ignores them.
    image
        Which image of a file that holds several: its name, or its number from 0. None = the
        largest, where the others are much smaller.

    Raises
    ------
    ValueError
        It is not an image that can be read, not a set of 2-D channels, several images or a stack
        without a choice.
    OSError
        It is missing, not accessible, or truncated.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "zarr":
        return read_zarr(path, z, t, image)
    if kind == "tiff":
        return read_tiff(path, z, t, image)
    if kind == "czi":
        return read_czi(path, z, t, image)
    if kind == "lif":
        return read_lif(path, z, t, image)
    if image not in (None, 0, "0"):
        raise ValueError(f"no image {image!r} in {path}: a {kind} holds one, number 0")
    return read_picture(path, kind)


def open_further(
    path: str | Path, z: int | None, t: int | None, image: str | int | None
) -> ImageFile:
    """Open a further file of a field: where it leaves the image open, that of the first file.

    Raises
    ------
    ValueError, OSError
        As `open_image`.
    """
    try:
        return open_image(path, z, t)
    except ValueError:
        if image is None:
            raise
        return open_image(path, z, t, image)


def stack_size(
    path: str | Path, nuclei: str | Path | None = None, image: str | int | None = None
) -> StackSize:
    """Return how many z planes and time points there are to choose from. Reads no pixels.

    Parameters
    ----------
    path, nuclei, image
        As for `open_slide`.

    Raises
    ------
    ValueError
        It is not an image that can be read, or two stacks differ in size.
    OSError
        It is missing, not accessible, or truncated.
    """
    sizes = {Path(path): _stack_of(Path(path), open_image, image)}
    if nuclei is not None and Path(nuclei) not in sizes:
        sizes[Path(nuclei)] = _stack_of(Path(nuclei), open_further, image)
    return common_stack(sizes)


def _stack_of(path: Path, read: Callable[..., ImageFile], image: str | int | None) -> StackSize:
    return read(path, 0, 0, image).stack if _kind(path) in STACKS else NO_STACK


def _check_name(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: check the path")
    if printable(str(path)) != str(path):
        # Records name their section, and lines of a table or terminal name it, too.
        raise ValueError(f"{path} has letters in its name that cannot be written: rename it")


def _kind(path: Path) -> str:
    _check_name(path)
    if path.is_dir():
        return "zarr"
    if not path.is_file():
        raise ValueError(f"{path} is a pipe or a device, no file: give an image file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise OSError(f"{path} cannot be opened ({error.strerror}): check its access") from error
    if not start:
        raise ValueError(f"{path} is empty (0 bytes): copy or export the file again")
    if start.startswith(TIFF_STARTS):
        return "tiff"
    if start.startswith(CZI_START):
        return "czi"
    if is_lif(start):
        return "lif"
    for kind, expected in (("PNG", PNG_START), ("JPEG", JPEG_START)):
        if start.startswith(expected):
            return kind
    raise ValueError(f"{path} is not an image of a known kind: save it as {READABLE}")

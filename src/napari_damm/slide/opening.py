"""From files to a slide.

1. `open_slide` reads one file, or one per role, and decides which channels are meant: by name, by
   number, or by what such channels are usually called.
2. It settles the pixel size: as given, else as the file states it; never guessed.
3. `open_beside` opens a further channel of the same field.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from napari_damm.slide.channels import (
    choose_channels,
    find_channel,
    guess_channel,
    unclear_channel,
)
from napari_damm.slide.identity import identify_files
from napari_damm.slide.raster import (
    SQUARE_TOLERANCE,
    ImageFile,
    Raster,
    Scale,
    square_pixel_um,
)
from napari_damm.slide.readers import open_further, open_image
from napari_damm.slide.slide import Slide
from napari_damm.slide.stacks import check_indices, common_stack
from napari_damm.util.advice import Advice
from napari_damm.util.given import check_path
from napari_damm.util.pixel_sizes import LARGEST_USUAL_PIXEL_UM

SIZE_TOLERANCE = 0.01
NOWHERE = (0.0, 0.0)
"""The corner of images that state no place."""


def open_slide(  # noqa: PLR0913 - one argument for everything that may have to be said
    path: str | Path,
    nuclei: str | Path | None = None,
    vessels_channel: str | int | None = None,
    nuclei_channel: str | int | None = None,
    pixel_size_um: float | None = None,
    z: int | None = None,
    t: int | None = None,
    image: str | int | None = None,
    coarse_pixels: bool = False,
) -> Slide:
    """Open a section, lazily.

    Parameters
    ----------
    path
        OME-TIFF, TIFF, OME-Zarr, PNG or JPEG with the vessels, and the nuclei unless `nuclei` is
        given.
    nuclei
        A second file, with the nuclei, of the same field.
    vessels_channel, nuclei_channel
        Name (in any case) or number from 0; RGB pictures have red, green and blue. None = the
        one with a usual name (CD31, DAPI ...), the only one, or the other one of two.
    pixel_size_um
        Side of a pixel of `path` in um; overrides what the file says. It holds for `nuclei` too
        if that has the same shape, or states no size.
    z, t
        Which z plane and time point of a stack, from 0, of both files; `stack_size` says how many
        there are. A file that is no stack goes with every plane of the other.
    image
        Which image of `path`, where it holds several: its name, or its number from 0; of `nuclei`
        too, where none of its images is meant without saying.
    coarse_pixels
        Whether a `pixel_size_um` above 25 um is meant: mostly it is a slip of the unit.

    Raises
    ------
    ValueError
        Not an image, no such channel or plane, no pixel size, several images without a choice, or
        two files that do not fit.
    OSError
        A file is missing, not accessible or truncated.
    """
    if path is None:
        raise ValueError("path must be the path of an image, got None")
    check_path(path, "path")
    check_path(nuclei, "nuclei")
    main = open_image(path, z, t, image)
    other = main if nuclei is None else open_further(nuclei, z, t, image)
    for file in (main, other):
        _check_is_picture(file)
    if main.placed != other.placed:  # what states no place lies where the other does
        main, other = (
            (main, other.at(main.origin)) if main.placed else (main.at(other.origin), other)
        )
    stack = common_stack({main.path: main.stack, other.path: other.stack})
    check_indices(main.path, stack, z, t)
    v, n = choose_channels(main, other, vessels_channel, nuclei_channel)
    um = _pixel_size_um(main, pixel_size_um, coarse_pixels)
    channels = [_raster(main, index, um) for index in range(len(main.channels))]
    doubts = [_contradiction(main, um)]
    if other is not main:
        raster = _raster(other, n, _pixel_size_beside(channels[v], other, pixel_size_um))
        _check_same_field(channels[v], raster, str(main.path), str(other.path))
        doubts.append(_contradiction(other, raster.pixel_size_um))
        if raster.name.casefold() in {channel.name.casefold() for channel in channels}:
            raster = replace(raster, name=f"{raster.name} ({other.path.name})")
        n = len(channels)
        channels.append(raster)
    roles = {"vessels": channels[v], "nuclei": channels[n]}
    files = {
        role: (file.path, file.stack.chosen(z, t) | _image_number(file), file.beside)
        for role, file in (("vessels", main), ("nuclei", other))
    }
    identify = partial(identify_files, files, roles)
    chosen = stack.chosen(z, t)
    name = " ".join([main.path.name, *(f"{a}{i}" for a, i in chosen.items())])
    slide = Slide(
        tuple(channels), channels[v], channels[n], name, identify, chosen, _said(main, other),
        "; ".join(filter(None, doubts)), _contradicted(main, um),
    )  # fmt: skip
    # Now, not when a result is written: by then the file may have changed.
    _ = slide.identity
    return slide


def open_beside(
    slide: Slide,
    path: str | Path,
    channel: str | int | None = None,
    pixel_size_um: float | None = None,
    role: str = "target",
) -> Raster:
    """Open a further channel of the field of a slide that was opened from files.

    Parameters
    ----------
    slide
        From `open_slide`.
    path
        A file of its own for this channel.
    channel
        Name or number; None = the only one, or the one with a usual name for the role.
    pixel_size_um
        What was given for the slide: it holds here too where the shapes agree.
    role
        What the channel is, for messages.

    Raises
    ------
    ValueError
        As `open_slide`.
    """
    image = slide.identity.get("vessels", {}).get("image")
    other = open_further(path, slide.index.get("z"), slide.index.get("t"), image)
    _check_is_picture(other)
    if channel is None and len(other.channels) == 1:
        index: int | None = 0
    elif channel is None:
        index = guess_channel(other.channels, role)
    else:
        index = find_channel(other.channels, channel, str(other.path))
    if index is None:
        raise unclear_channel(other, role)
    if not other.placed or slide.vessels.origin == NOWHERE:
        other = other.at(slide.vessels.origin)
    raster = _raster(other, index, _pixel_size_beside(slide.vessels, other, pixel_size_um))
    _check_same_field(slide.vessels, raster, slide.name, str(other.path))
    return raster


def _check_is_picture(file: ImageFile) -> None:
    """Refuse a map of our own as what it was predicted from, or is to be compared with."""
    if file.predicted:
        raise ValueError(
            f"{file.path} is a predicted map, no picture of a section: give the image that was "
            "taken"
        )


def _image_number(file: ImageFile) -> dict[str, int]:
    """Return which image was read, where the file holds several."""
    return {"image": file.image.number} if len(file.image.names) > 1 else {}


def _said(main: ImageFile, other: ImageFile) -> str:
    """Name the files of a slide, and their images where there was a choice."""
    parts = [f"{f.path.name} {f.image}".strip() for f in (main, other)]
    return parts[0] if other is main else f"{parts[0]} and {parts[1]}"


def _contradiction(file: ImageFile, taken_um: float) -> str:
    """Say that another pixel size was given than the file states, "" where that is not so."""
    stated = _contradicted(file, taken_um)
    if stated is None:
        return ""
    y, x = stated
    size = f"{y:g}" if y == x else f"{y:g} x {x:g} (y, x)"
    return f"{file.path} states pixels of {size} um; {taken_um:g} um are taken, as was given"


def _pixel_size_um(file: ImageFile, given: float | None, coarse: bool = False) -> float:
    if given is not None:
        size = square_pixel_um(given, str(file.path))
        if size > LARGEST_USUAL_PIXEL_UM and not coarse:
            raise ValueError(
                Advice(
                    f"a pixel size of {size:g} um is larger than any microscope's",
                    "give {pixel_size_um} in micrometres, or {coarse_pixels} if it is meant",
                )
            )
        return size
    if file.pixel_size_um is None:
        raise ValueError(
            Advice(f"{file.path} has no pixel size ({file.no_size})", "give {pixel_size_um}")
        )
    return square_pixel_um(file.pixel_size_um, str(file.path))


def _contradicted(file: ImageFile, um: float) -> Scale | None:
    """Return the pixel size that a file states, if it is not the one that is used."""
    stated = file.pixel_size_um
    if stated is None or all(abs(side - um) <= SQUARE_TOLERANCE * um for side in stated):
        return None
    return stated


def _pixel_size_beside(vessels: Raster, other: ImageFile, given: float | None) -> float:
    """Return the pixel size of a further file of the same field."""
    same_shape = vessels.shape == other.planes[0][0].shape
    if other.pixel_size_um is None or (given is not None and same_shape):
        return vessels.pixel_size_um
    return square_pixel_um(other.pixel_size_um, str(other.path))


def _check_same_field(vessels: Raster, nuclei: Raster, main: str, other: str) -> None:
    if vessels.origin != nuclei.origin:
        return  # Both files say where they lie: whether they overlap is checked by Slide.
    same_grid = vessels.pixel_size_um == nuclei.pixel_size_um
    tolerance = [
        0.0 if same_grid else max(SIZE_TOLERANCE * extent, 2 * nuclei.pixel_size_um)
        for extent in vessels.extent_um
    ]
    pairs = zip(vessels.extent_um, nuclei.extent_um, tolerance, strict=True)
    if any(abs(a - b) > allowed for a, b, allowed in pairs):
        sizes = [
            f"{path} is {raster.shape[0]} x {raster.shape[1]} px of {raster.pixel_size_um:g} um"
            for path, raster in ((main, vessels), (other, nuclei))
        ]
        raise ValueError(
            f"sizes differ, {sizes[0]} and {sizes[1]}: give two images of the same field"
        )


def _raster(file: ImageFile, index: int, pixel_size_um: float) -> Raster:
    return Raster(file.channels[index], file.planes[index], pixel_size_um, file.origin)

"""A slide: the channels of a section, two of which are known as vessels and nuclei.

1. `open_slide` reads one file, or one per role, and decides which channels are meant: by name, by
   number, or by what such channels are usually called.
2. It settles the pixel size: as given, else as the file states it; never guessed.
3. `slide_from_arrays` does the same for pictures that are already in memory or lazily at hand.
4. `Slide` checks that the two channels lie on each other, in um.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np

from napari_damm.slide.channels import (
    choose_channels,
    find_channel,
    guess_channel,
    unclear_channel,
)
from napari_damm.slide.identity import check_files, identify_arrays, identify_files
from napari_damm.slide.planes import ArraySource, LazyPlane, Plane
from napari_damm.slide.raster import (
    LARGEST_USUAL_PIXEL_UM,
    ImageFile,
    Raster,
    Scale,
    square_pixel_um,
)
from napari_damm.slide.readers import open_image
from napari_damm.slide.stacks import check_indices, common_stack
from napari_damm.util.advice import Advice

SIZE_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class Slide:
    """The channels of a section.

    Parameters
    ----------
    channels
        All channels that can be asked for.
    vessels, nuclei
        The two that predictions are made from. The vessels' grid is the slide's.
    name
        What people call it.
    identify
        Returns what tells this input from another (JSON-able). Called once, when needed: of
        arrays it reads the content.
    index
        Of a stack, which plane this is, by axis ("z", "t").
    source
        What was read, for people: file, and image where it holds several.
    """

    channels: tuple[Raster, ...]
    vessels: Raster
    nuclei: Raster
    name: str
    identify: Callable[[], dict[str, Any]] = field(repr=False)
    index: Mapping[str, int] = field(default_factory=dict, repr=False)
    source: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Check that vessels and nuclei share ground."""
        boxes = [_corners(raster) for raster in (self.vessels, self.nuclei)]
        for axis in (0, 1):
            (low_a, high_a), (low_b, high_b) = (box[axis] for box in boxes)
            if min(high_a, high_b) <= max(low_a, low_b):
                raise ValueError(
                    f"{self.vessels.name!r} and {self.nuclei.name!r} do not overlap: "
                    f"{'yx'[axis]} runs over {low_a:g}.."
                    f"{high_a:g} um in one and {low_b:g}..{high_b:g} um in the other; give two "
                    "images of the same field"
                )

    @property
    def pixel_size_um(self) -> float:
        """Side of a vessels' pixel in um."""
        return self.vessels.pixel_size_um

    @property
    def origin(self) -> Scale:
        """World position (y, x) in um of the vessels' upper left corner."""
        return self.vessels.origin

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in vessels' pixels."""
        return self.vessels.shape

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this input from another: paths, sizes, times and hashes, per role."""
        return self.identify()

    def __str__(self) -> str:
        """Say which channels are taken for what."""
        of = f" of {self.source or self.name}"
        return f"vessels: channel {self.vessels.name!r}, nuclei: channel {self.nuclei.name!r}{of}"

    def check_unchanged(self, whole: bool = False) -> None:
        """Check that the files of this slide are those that it was opened from.

        Cheap enough to be asked for every shard; `whole` looks at each chunk of a directory too.
        Slides of arrays are not checked.

        Raises
        ------
        JobFault
            If a file was replaced, changed or removed.
        """
        check_files(self.identity, whole)

    def channel(self, name: str | int) -> Raster:
        """Return a channel by name (in any case) or number."""
        return self.channels[find_channel([c.name for c in self.channels], name, self.name)]


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
        Which image of `path`, where it holds several: its name, or its number from 0.
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
    main = open_image(path, z, t, image)
    other = main if nuclei is None else open_image(nuclei, z, t)
    stack = common_stack({main.path: main.stack, other.path: other.stack})
    check_indices(main.path, stack, z, t)
    v, n = choose_channels(main, other, vessels_channel, nuclei_channel)
    um = _pixel_size_um(main, pixel_size_um, coarse_pixels)
    channels = [_raster(main, index, um) for index in range(len(main.channels))]
    if other is not main:
        raster = _raster(other, n, _pixel_size_beside(channels[v], other, pixel_size_um))
        _check_same_field(channels[v], raster, str(main.path), str(other.path))
        if raster.name.casefold() in {channel.name.casefold() for channel in channels}:
            raster = replace(raster, name=f"{raster.name} ({other.path.name})")
        n = len(channels)
        channels.append(raster)
    roles = {"vessels": channels[v], "nuclei": channels[n]}
    files = {
        role: (file.path, file.stack.chosen(z, t) | _image_number(file))
        for role, file in (("vessels", main), ("nuclei", other))
    }
    identify = partial(identify_files, files, roles)
    chosen = stack.chosen(z, t)
    name = " ".join([main.path.name, *(f"{a}{i}" for a, i in chosen.items())])
    slide = Slide(
        tuple(channels), channels[v], channels[n], name, identify, chosen, _said(main, other)
    )
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
    other = open_image(path, slide.index.get("z"), slide.index.get("t"))
    if channel is None and len(other.channels) == 1:
        index: int | None = 0
    elif channel is None:
        index = guess_channel(other.channels, role)
    else:
        index = find_channel(other.channels, channel, str(other.path))
    if index is None:
        raise unclear_channel(other, role)
    raster = _raster(other, index, _pixel_size_beside(slide.vessels, other, pixel_size_um))
    _check_same_field(slide.vessels, raster, slide.name, str(other.path))
    return raster


def slide_from_arrays(
    channels: Mapping[str, Any],
    pixel_size_um: float | Scale | Mapping[str, float | Scale],
    origin: Scale | Mapping[str, Scale] = (0.0, 0.0),
    vessels: str = "vessels",
    nuclei: str = "nuclei",
    name: str = "arrays",
    titles: Mapping[str, str] | None = None,
) -> Slide:
    """Make a slide of pictures at hand.

    Parameters
    ----------
    channels
        Name -> image (y, x), or list of pyramid levels (finest first); numpy, dask or zarr.
    pixel_size_um
        Side of a pixel in um (or (y, x)), for all channels or by name.
    origin
        World position (y, x) in um of the upper left corner, for all channels or by name.
    vessels, nuclei
        Names of the two channels that predictions are made from.
    name
        What people call the slide.
    titles
        By channel, what people call the picture that it is of, such as layer and plane. It goes
        into the record.

    Raises
    ------
    ValueError
        If an image is not 2-D, has no intensities, or the two do not overlap.
    """
    rasters = []
    for channel, image in channels.items():
        size = pixel_size_um[channel] if isinstance(pixel_size_um, Mapping) else pixel_size_um
        corner = origin[channel] if isinstance(origin, Mapping) else origin
        levels = image if isinstance(image, Sequence) else [image]
        rasters.append(
            Raster(
                channel,
                tuple(_plane(level, channel) for level in levels),
                square_pixel_um(size, f"channel {channel!r}"),
                (float(corner[0]), float(corner[1])),
            )
        )
    names = [raster.name for raster in rasters]
    roles = {
        role: rasters[find_channel(names, wanted, name)]
        for role, wanted in (("vessels", vessels), ("nuclei", nuclei))
    }
    identify = partial(identify_arrays, roles, titles)
    return Slide(tuple(rasters), roles["vessels"], roles["nuclei"], name, identify)


def _image_number(file: ImageFile) -> dict[str, int]:
    """Return which image was read, where the file holds several."""
    return {"image": file.image.number} if len(file.image.names) > 1 else {}


def _said(main: ImageFile, other: ImageFile) -> str:
    """Name the files of a slide, and their images where there was a choice."""
    parts = [f"{f.path.name} {f.image}".strip() for f in (main, other)]
    return parts[0] if other is main else f"{parts[0]} and {parts[1]}"


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


def _plane(level: Any, channel: str) -> Plane:
    """Return an array as a plane that is cheap to slice."""
    if isinstance(level, np.ndarray):
        return level
    if len(level.shape) != 2:
        raise ValueError(
            f"channel {channel!r} must be 2-D (y, x), got shape {tuple(level.shape)}: choose one "
            "channel, time point and z plane"
        )
    if isinstance(level, da.Array) or hasattr(level, "chunks"):
        return LazyPlane(ArraySource(level))
    return np.asarray(level)


def _corners(raster: Raster) -> tuple[Scale, Scale]:
    """Return (low, high) in um along y and along x."""
    (y, x), (height, width) = raster.origin, raster.extent_um
    return (y, y + height), (x, x + width)

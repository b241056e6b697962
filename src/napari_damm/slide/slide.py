"""A slide: the channels of a section, two of which are known as vessels and nuclei.

1. `Slide` checks that the two channels lie on each other, in um.
2. `slide_from_arrays` makes one of pictures that are in memory or lazily at hand; `opening` of
   files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import dask.array as da
import numpy as np

from napari_damm.slide.channels import find_channel
from napari_damm.slide.identity import check_files, identify_arrays
from napari_damm.slide.planes import ArraySource, LazyPlane, Plane
from napari_damm.slide.raster import Raster, Scale, square_pixel_um


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
    doubt
        What somebody should know before this slide is used; "" where there is nothing.
    stated_pixel_um
        What the file states for the side (y, x) of a pixel, where another size was given.
    """

    channels: tuple[Raster, ...]
    vessels: Raster
    nuclei: Raster
    name: str
    identify: Callable[[], dict[str, Any]] = field(repr=False)
    index: Mapping[str, int] = field(default_factory=dict, repr=False)
    source: str = field(default="", repr=False)
    doubt: str = field(default="", repr=False)
    stated_pixel_um: Scale | None = field(default=None, repr=False)

    @property
    def nuclei_share(self) -> float:
        """Share of the vessels' image, 0..1, that the nuclei's image covers."""
        return covered_share(self.vessels, self.nuclei)

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
        size = _of_channel(pixel_size_um, channel, "pixel_size_um")
        corner = _of_channel(origin, channel, "origin")
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


def _of_channel(given: Any, channel: str, name: str) -> Any:
    """Return what is given for all channels, or by name."""
    if not isinstance(given, Mapping):
        return given
    if channel not in given:
        raise ValueError(f"{name} has no entry for channel {channel!r}: it has {', '.join(given)}")
    return given[channel]


def _plane(level: Any, channel: str) -> Plane:
    """Return an array as a plane that is cheap to slice."""
    if not hasattr(level, "shape") or not hasattr(level, "dtype"):
        raise ValueError(
            f"channel {channel!r} must be an image (numpy, dask or zarr), or a list of them from "
            f"fine to coarse, got {level!r:.60}"
        )
    if any(isinstance(length, float) for length in level.shape):
        raise ValueError(
            f"channel {channel!r} is a dask array of a size that it does not know, "
            f"{tuple(level.shape)}: call its compute_chunk_sizes() first"
        )
    if np.ma.is_masked(level) or isinstance(getattr(level, "_meta", None), np.ma.MaskedArray):
        # its values would be read whatever the mask says
        raise ValueError(
            f"channel {channel!r} is a masked array: give numbers with filled(), NaN at the border "
            "for what is no picture"
        )
    if isinstance(level, np.ndarray):
        return np.asarray(level)
    if len(level.shape) != 2:
        raise ValueError(
            f"channel {channel!r} must be 2-D (y, x), got shape {tuple(level.shape)}: choose one "
            "channel, time point and z plane"
        )
    if isinstance(level, da.Array) or hasattr(level, "chunks"):
        return LazyPlane(ArraySource(level))
    return np.asarray(level)


def covered_share(raster: Raster, other: Raster) -> float:
    """Return the share of an image, 0..1, that another one covers."""
    share = 1.0
    for (low, high), (other_low, other_high) in zip(_corners(raster), _corners(other), strict=True):
        share *= max(0.0, min(high, other_high) - max(low, other_low)) / (high - low)
    return share


def _corners(raster: Raster) -> tuple[Scale, Scale]:
    """Return (low, high) in um along y and along x."""
    (y, x), (height, width) = raster.origin, raster.extent_um
    return (y, y + height), (x, x + width)

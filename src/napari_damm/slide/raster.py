"""One channel of a slide, and what a reader makes of a file.

1. A `Raster` is a pyramid of planes, finest first, with its place in the world in um.
2. An `ImageFile` holds the channels of a file, with its pixel size where the file states one.
3. Lengths become um here, and pixels that are not square, or of absurd size, are refused here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, SupportsFloat

import dask.array as da
import numpy as np

from napari_damm.slide.fill import Fill, border_fill
from napari_damm.slide.images import ONLY_IMAGE, ImageChoice
from napari_damm.slide.planes import Plane, as_dask
from napari_damm.slide.stacks import NO_STACK, StackSize
from napari_damm.util.advice import Advice
from napari_damm.util.pixel_sizes import LARGEST_USUAL_PIXEL_UM

READABLE = "OME-TIFF, TIFF, OME-Zarr, PNG or JPEG"
RGB = ("red", "green", "blue", "alpha")
PIXEL_SIZE_RANGE_UM = (1e-3, 1e4)
SQUARE_TOLERANCE = 0.01

Scale = tuple[float, float]
"""A size or position (y, x) in um."""


def square_pixel_um(size: float | Scale, what: str) -> float:
    """Return the side of a pixel in um, from one number or (y, x).

    Raises
    ------
    ValueError
        Where the size is not a positive, believable number or y and x differ by more than 1 %.
    """
    y, x = size if isinstance(size, tuple | list | np.ndarray) else (size, size)
    low, high = PIXEL_SIZE_RANGE_UM
    for value in (y, x):
        if not (_is_number(value) and math.isfinite(value) and low <= value <= high):
            got = f"{value:g}" if _is_number(value) else f"{value!r:.60}"
            raise ValueError(
                Advice(
                    f"pixel size of {what} must be in {low:g}..{high:g} um, got {got}",
                    "give {pixel_size_um}",
                )
            )
    if abs(y - x) > SQUARE_TOLERANCE * max(y, x):
        raise ValueError(
            Advice(
                f"pixels of {what} must be square, got {y:g} x {x:g} um (y, x)",
                "resample the image to square pixels, or give {pixel_size_um} if the file is wrong",
            )
        )
    return float(y) if y == x else math.sqrt(y * x)


def _is_number(value: object) -> bool:
    return isinstance(value, SupportsFloat) and not isinstance(value, np.ndarray)


@dataclass(frozen=True, eq=False)
class Raster:
    """One channel: a pyramid of 2-D planes and its place in the world.

    Parameters
    ----------
    name
        The channel's name.
    planes
        Levels (y, x), finest first, integer or floating point.
    pixel_size_um
        Side of a pixel of the finest level.
    origin
        World position (y, x) in um of the upper left *corner* of pixel (0, 0).
    """

    name: str
    planes: tuple[Plane, ...]
    pixel_size_um: float
    origin: Scale = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Check that this is a picture that can be resampled."""
        what = f"channel {self.name!r}"
        square_pixel_um(self.pixel_size_um, what)
        if not all(math.isfinite(value) for value in self.origin):
            raise ValueError(f"origin of {what} must be finite, got {self.origin}")
        if not self.planes:
            raise ValueError(f"{what} has no levels: give at least one image")
        for plane in self.planes:
            if len(plane.shape) != 2 or min(plane.shape) < 1:
                raise ValueError(
                    f"{what} must be 2-D (y, x) with at least one pixel, got shape "
                    f"{tuple(plane.shape)}: choose one channel, time point and z plane"
                )
            if plane.dtype.kind not in "uif":
                kind = {"b": "a mask (true or false)", "c": "complex"}.get(plane.dtype.kind)
                raise ValueError(
                    f"{what} is {kind or plane.dtype}: give an image of integer or floating "
                    "point intensities"
                )
        areas = [math.prod(plane.shape) for plane in self.planes]
        if any(coarse >= fine for fine, coarse in pairwise(areas)):
            shapes = [tuple(plane.shape) for plane in self.planes]
            raise ValueError(f"levels of {what} must go from fine to coarse, got {shapes}")

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what can be made anew: dask arrays are heavy to send."""
        return {key: value for key, value in self.__dict__.items() if key != "levels"}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the finest level in pixels."""
        return self.planes[0].shape[0], self.planes[0].shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a pixel."""
        return self.planes[0].dtype

    @property
    def extent_um(self) -> Scale:
        """Height and width in um."""
        return self.shape[0] * self.pixel_size_um, self.shape[1] * self.pixel_size_um

    @cached_property
    def level_pixel_um(self) -> tuple[Scale, ...]:
        """Height and width in um of a pixel of each level.

        Levels are halved with rounding, so their shapes do not say the factor exactly: 31 px
        halved make 15. Each level is taken to be a whole factor coarser than the one before
        where rounding explains its shape, and to share its upper left corner.
        """
        sizes = [(self.pixel_size_um, self.pixel_size_um)]
        for fine, coarse in pairwise(self.planes):
            longer = int(fine.shape[1] > fine.shape[0])
            whole = round(fine.shape[longer] / coarse.shape[longer])
            explained = all(
                length // whole <= small <= -(-length // whole)
                for length, small in zip(fine.shape, coarse.shape, strict=True)
            )
            factors = (
                (float(whole), float(whole))
                if explained
                else (fine.shape[0] / coarse.shape[0], fine.shape[1] / coarse.shape[1])
            )
            sizes.append((sizes[-1][0] * factors[0], sizes[-1][1] * factors[1]))
        return tuple(sizes)

    @cached_property
    def fill(self) -> Fill:
        """What stands where there is no picture: values of the border, and NaN there."""
        return border_fill(self.planes)

    @cached_property
    def levels(self) -> tuple[da.Array, ...]:
        """The levels as dask arrays, for a viewer or for work on all of it."""
        return tuple(as_dask(plane) for plane in self.planes)


@dataclass(frozen=True)
class ImageFile:
    """What a reader makes of a file.

    `planes[channel][level]`; `pixel_size_um` and `origin` are (y, x); where the file states no
    usable pixel size it is None and `no_size` says why. `stack` says among how many z planes
    and time points these were chosen, `image` which image of the file they are, `beside` in which
    other files planes of that image lie, `placed` whether the file states where it lies,
    `predicted` describes a map that was saved from a prediction, "" for a picture.
    """

    path: Path
    channels: tuple[str, ...]
    planes: tuple[tuple[Plane, ...], ...]
    pixel_size_um: Scale | None = None
    origin: Scale = (0.0, 0.0)
    no_size: str = "it states none"
    stack: StackSize = NO_STACK
    image: ImageChoice = ONLY_IMAGE
    beside: tuple[Path, ...] = ()
    placed: bool = False
    predicted: str = ""

    def at(self, origin: Scale) -> ImageFile:
        """Return the same image, elsewhere."""
        return replace(self, origin=origin)


def lacks_library(path: Path, what: str, extra: str) -> ValueError:
    """Return the refusal of a file that a library reads which is not installed."""
    return ValueError(
        f"{path} is {what}: pip install 'napari-damm[{extra}]' to read it, or export an OME-TIFF"
    )


def doubted_size(size: Scale) -> str:
    """Return why a stated pixel size (y, x) in um is not believed without asking, or ""."""
    if max(size) <= LARGEST_USUAL_PIXEL_UM:
        return ""
    return f"it states {size[1]:.4g} um, as a printer's or screen's resolution would be"


_UM = {
    "pm": 1e-6, "å": 1e-4, "angstrom": 1e-4, "nm": 1e-3, "μm": 1.0, "um": 1.0, "mm": 1e3,
    "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25400.0, "inch": 25400.0, "inches": 25400.0,
    "\\u00b5m": 1.0, "micron": 1.0, "microns": 1.0, "picometer": 1e-6, "nanometer": 1e-3,
    "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6,
}  # fmt: skip


def to_um(value: float, unit: str | None) -> float | None:
    """Return a length in um; None where the unit is missing or is no length."""
    # Casefolding turns the micro sign into the Greek letter, and "Å" into "å".
    key = (unit or "").strip().casefold().replace("metre", "meter")
    key = key if key in _UM else key.removesuffix("s")
    return value * _UM[key] if key in _UM else None

"""Where training sections come from: files, folders, open layers, the simulator.

Each source is a frozen value that can be written into a settings file (`SectionSource` excepted:
it holds images). `sections.open_sections` makes sections of them. Any mix may be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.slide.raster import Scale

USES = ("split", "train", "validation")
INTENSITIES = ("auto", "image", "folder")
ROLES = ("primary", "secondary", "target")
RoiBox = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Region:
    """Which part of a section may be used: a mask (y, x), where it lies and how large its pixels.

    `origin` is the world position (y, x) in um of the upper left *corner* of the mask.
    """

    mask: NDArray[np.bool_]
    pixel_size_um: float
    origin: Scale = (0.0, 0.0)


@dataclass(frozen=True)
class SlideSource:
    """One section in files: `path`, with channels by name or number, as `open_slide` takes them.

    `secondary` and `target` are files of their own where the channels are not all in `path`.
    `roi` = (y0, x0, y1, x1) in pixels of the primary image, half-open. `use`: "split" into training
    and validation, or all for "train" or all for "validation".
    """

    path: str | Path
    primary_channel: str | int | None = None
    secondary_channel: str | int | None = None
    target_channel: str | int | None = None
    secondary: str | Path | None = None
    target: str | Path | None = None
    pixel_size_um: float | None = None
    roi: RoiBox | None = None
    z: int | None = None
    t: int | None = None
    use: str = "split"

    def __post_init__(self) -> None:
        """Check what can be checked without the files."""
        _check_choice("use", self.use, USES)
        if self.roi is not None:
            object.__setattr__(self, "roi", tuple(float(v) for v in self.roi))


@dataclass(frozen=True)
class FolderSource:
    """One sub-folder per modality with equal file names; each name is a section or a patch of one.

    `pixel_size_um` where the files do not state it. `intensities`: whether limits are measured in
    each image, or once in the whole folder (patches cut from sections); "auto" decides by size.
    """

    path: str | Path
    primary: str = "CD31"
    secondary: str = "DAPI"
    target: str = "QD"
    pixel_size_um: float | None = None
    intensities: str = "auto"
    use: str = "split"

    def __post_init__(self) -> None:
        """Check what can be checked without the files."""
        _check_choice("use", self.use, USES)
        _check_choice("intensities", self.intensities, INTENSITIES)


@dataclass(frozen=True)
class SimulatedSource:
    """Simulated sections of `size` px with seeds from `first_seed` on (below 10,000 to train)."""

    sections: int = 8
    size: int = 1024
    preset: str = "internal"
    first_seed: int = 0
    use: str = "split"

    def __post_init__(self) -> None:
        """Check the numbers."""
        _check_choice("use", self.use, USES)
        if self.sections < 1:
            raise ValueError(f"sections must be 1 or more, got {self.sections}")


@dataclass(frozen=True, eq=False)
class SectionSource:
    """One section whose images are at hand, such as open layers.

    Parameters
    ----------
    images
        "primary", "secondary" and "target" -> image (y, x) or list of pyramid levels, finest first;
        numpy, dask or zarr.
    pixel_size_um, origin
        Side of a pixel and world position (y, x) of the upper left corner in um, for all or by
        role.
    name
        What people call it.
    region
        The part that may be used; None = all.
    """

    images: Mapping[str, Any]
    pixel_size_um: float | Mapping[str, float]
    origin: Scale | Mapping[str, Scale] = (0.0, 0.0)
    name: str = "layers"
    region: Region | None = field(default=None, repr=False)
    use: str = "split"

    def __post_init__(self) -> None:
        """Check that there is an image for each role."""
        _check_choice("use", self.use, USES)
        missing = [role for role in ROLES if role not in self.images]
        if missing:
            raise ValueError(f"{self.name} has no {' and no '.join(missing)} image: give all three")


Source = SlideSource | FolderSource | SimulatedSource | SectionSource


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")

"""Where training sections come from: files, folders, open layers, the simulator.

Each source is a frozen value that can be written into a settings file (`SectionSource` excepted:
it holds images). `sections.open_sections` makes sections of them. Any mix may be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.slide.raster import Scale
from napari_damm.util.settings import is_finite

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

    `image` is one of several in a file. `secondary` and `target` are files of their own where the
    channels are not all in `path`.
    `roi` = (y0, x0, y1, x1) in pixels of the primary image, half-open. `use`: "split" into training
    and validation, or all for "train" or all for "validation". `coarse_pixels`: a `pixel_size_um`
    above 25 is meant.
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
    image: str | int | None = None
    coarse_pixels: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without the files."""
        _check_choice("use", self.use, USES)
        for name in ("path", "secondary", "target"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _absolute(getattr(self, name)))
        _check_pixel_size(self.pixel_size_um)
        if self.roi is not None:
            numbers = list(self.roi) if isinstance(self.roi, tuple | list) else []
            if len(numbers) != 4 or not all(is_finite(v) for v in numbers):
                raise ValueError(f"roi must be four numbers y0 x0 y1 x1, got {self.roi!r}")
            object.__setattr__(self, "roi", tuple(float(v) for v in numbers))


@dataclass(frozen=True)
class FolderSource:
    """One sub-folder per modality with equal file names; each name is a section or a patch of one.

    Or patches in numpy files under Complex* and SpOrange*, as HRPN and GANDA name them; the names
    of modalities do not matter then.

    `pixel_size_um` where the files do not state it. `intensities`: whether limits are measured in
    each image, or once in the whole folder (patches cut from sections); "auto" decides by size.
    `coarse_pixels`: a `pixel_size_um` above 25 is meant.
    """

    path: str | Path
    primary: str = "CD31"
    secondary: str = "DAPI"
    target: str = "QD"
    pixel_size_um: float | None = None
    intensities: str = "auto"
    use: str = "split"
    coarse_pixels: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked without the files."""
        _check_choice("use", self.use, USES)
        _check_choice("intensities", self.intensities, INTENSITIES)
        _check_pixel_size(self.pixel_size_um)
        object.__setattr__(self, "path", _absolute(self.path))


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
        for name, low in (("sections", 1), ("size", 1), ("first_seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{name} must be a whole number of {low} or more, got {value!r}")


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
_KINDS: dict[str, type[SlideSource | FolderSource | SimulatedSource]] = {
    "slide": SlideSource,
    "folder": FolderSource,
    "simulated": SimulatedSource,
}


def source_to_dict(source: Source) -> dict[str, Any] | None:
    """Return plain values for a settings file, paths made absolute; None of images at hand."""
    for kind, cls in _KINDS.items():
        if isinstance(source, cls):
            values = {name: _plain(value) for name, value in asdict(source).items()}
            return {"kind": kind, **{k: v for k, v in values.items() if v is not None}}
    return None


def source_from_dict(values: Mapping[str, Any], folder: Path | None = None) -> Source:
    """Read back what `source_to_dict` wrote, or a person did; paths are relative to `folder`.

    Raises
    ------
    ValueError
        If the kind or a name is unknown, or a value is refused.
    """
    given = dict(values)
    kind = given.pop("kind", None)
    if kind not in _KINDS:
        raise ValueError(f"kind of data must be one of {', '.join(_KINDS)}, got {kind!r}")
    cls = _KINDS[kind]
    known = [f.name for f in fields(cls)]
    for name in given:
        if name not in known:
            raise ValueError(
                f"unknown setting {name!r} of {kind} data: choose from {', '.join(known)}"
            )
    for name in ("path", "secondary", "target") if kind == "slide" else ("path",):
        if folder is not None and given.get(name) is not None and kind != "simulated":
            given[name] = folder / str(given[name])
    try:
        return cls(**given)
    except TypeError as error:
        raise ValueError(f"{kind} data need more settings ({error})") from None


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _absolute(path: str | Path) -> Path:
    """Return a path that means the same wherever a training is resumed from."""
    if not isinstance(path, str | Path):
        raise ValueError(f"path must be text, got {path!r}")
    return Path(path).expanduser().absolute()


def _check_pixel_size(value: object) -> None:
    if value is not None and not (_is_number(value) and value > 0):  # type: ignore[operator]
        raise ValueError(f"pixel_size_um must be above 0, got {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")

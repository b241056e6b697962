"""From a path to channels that are read lazily: TIFF, OME-Zarr, PNG and JPEG.

1. Look at the first bytes, never at the name: a text file called .tif is refused as what it is.
2. TIFF goes to `napari_damm.slide.tiff`.
3. A directory must be an OME-Zarr image (0.4 or 0.5): axes, scale, unit and channel labels come
   from its metadata, pixels chunk by chunk.
4. PNG and JPEG hold no pixel size and cannot be read in parts: they are decoded once.

Every refusal is one sentence that names the file and says what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.slide.planes import ArraySource, LazyPlane, Plane
from napari_damm.slide.raster import ImageFile, Scale, to_um
from napari_damm.slide.tiff import RGB, read_tiff

READABLE = "OME-TIFF, TIFF, OME-Zarr, PNG or JPEG"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8\xff"
JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
AXIS_NAMES = {"z": "z planes", "t": "time points"}


def open_image(path: str | Path) -> ImageFile:
    """Read what an image file holds, its pixels lazily where its format allows.

    Raises
    ------
    ValueError
        It is not an image that can be read, or not a set of 2-D channels.
    OSError
        It is missing, not accessible, or truncated.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: check the path")
    if path.is_dir():
        try:
            return _read_zarr(path)
        except (ValueError, OSError):
            raise
        except Exception as error:
            # Metadata is free JSON: whatever is missing in it fails in its own way.
            raise ValueError(f"{path} has damaged metadata ({error!r}): export it again") from error
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise OSError(f"{path} cannot be opened ({error.strerror}): check its access") from error
    if not start:
        raise ValueError(f"{path} is empty (0 bytes): copy or export the file again")
    if start.startswith(TIFF_STARTS):
        return read_tiff(path)
    if start.startswith(PNG_START):
        return _read_picture(path, "PNG", _decode_png)
    if start.startswith(JPEG_START):
        return _read_picture(path, "JPEG", _decode_jpeg)
    raise ValueError(f"{path} is not an image of a known kind: save it as {READABLE}")


def _read_picture(path: Path, kind: str, decode: Callable[[bytes], np.ndarray]) -> ImageFile:
    try:
        pixels = decode(path.read_bytes())
    except _BrokenOffError as error:
        raise OSError(f"{path} is truncated: copy or export the file again") from error
    except Exception as error:
        raise ValueError(
            f"{path} is a damaged {kind} ({error}): copy or export the file again"
        ) from error
    # A view would keep the interleaved original; planes of their own are faster to slice, too.
    grey = pixels[..., None] if pixels.ndim == 2 else pixels
    channels = [np.ascontiguousarray(grey[..., index]) for index in range(grey.shape[2])]
    names = {1: ("grey",), 2: ("grey", "alpha"), 3: RGB[:3], 4: RGB}[len(channels)]
    return ImageFile(path, names, tuple((channel,) for channel in channels))


class _BrokenOffError(Exception):
    """The end of the file is missing, which decoders fill with grey without a word."""


def _decode_png(data: bytes) -> np.ndarray:
    import imagecodecs

    if b"IEND" not in data[-4096:]:
        raise _BrokenOffError
    return np.asarray(imagecodecs.png_decode(data))


def _decode_jpeg(data: bytes) -> np.ndarray:
    import imagecodecs

    # Within a scan 0xff is always escaped, so the last of these two markers is a real one.
    if data.rfind(JPEG_END) < data.rfind(JPEG_SCAN):
        raise _BrokenOffError
    pixels = np.asarray(imagecodecs.jpeg_decode(data))
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        raise ValueError("it is CMYK, made for printing")
    return pixels


def _read_zarr(path: Path) -> ImageFile:
    group, multiscale, labels = _open_multiscale(path)
    axes = _axes(multiscale)
    datasets = multiscale.get("datasets") or []
    try:
        levels = [group[str(dataset["path"])] for dataset in datasets]
    except Exception as error:
        raise ValueError(
            f"{path} is incomplete, it has no array {error}: copy or export it again"
        ) from error
    if not levels or any(level.ndim != len(axes) for level in levels):
        raise ValueError(
            f"{path} is damaged, its axes {axes} are not those of its arrays: export it again"
        )
    count = _check_axes(path, axes, levels[0].shape)
    planes = [[_zarr_plane(level, axes, index) for level in levels] for index in range(count)]
    names = [str(label).strip() for label in labels] if len(labels) == count else [""] * count
    size, origin, no_size = _place(multiscale, datasets[0], axes)
    return ImageFile(
        path,
        tuple(name or str(index) for index, name in enumerate(names)),
        tuple(tuple(channel) for channel in planes),
        size,
        origin,
        no_size,
    )


def _open_multiscale(path: Path) -> tuple[Any, Mapping[str, Any], Sequence[str]]:
    """Return the group of an OME-Zarr image, its (first) multiscale and its channel labels."""
    import zarr

    other = f"{path} is a directory but not an OME-Zarr image: give the path of {READABLE}"
    try:
        group = zarr.open_group(path, mode="r")
    except Exception as error:
        raise ValueError(other) from error
    attributes: dict[str, Any] = dict(group.attrs)
    if "bioformats2raw.layout" in attributes or "bioformats2raw.layout" in attributes.get(
        "ome", {}
    ):
        if "0" not in group:
            raise ValueError(other)
        return _open_multiscale(path / "0")
    ome = attributes.get("ome", attributes)
    if "plate" in ome or "well" in ome:
        raise ValueError(f"{path} is a plate: give the path of one of the images inside it")
    multiscales = ome.get("multiscales")
    if not multiscales:
        raise ValueError(other)
    labels = [channel.get("label", "") for channel in ome.get("omero", {}).get("channels", [])]
    return group, multiscales[0], labels


def _axes(multiscale: Mapping[str, Any]) -> list[str]:
    """Return the names of the axes; versions before 0.4 give just names, or none (always tczyx)."""
    axes = multiscale.get("axes") or list("tczyx")
    return [axis if isinstance(axis, str) else str(axis["name"]) for axis in axes]


def _check_axes(path: Path, axes: Sequence[str], shape: Sequence[int]) -> int:
    """Return the number of channels."""
    if list(axes[-2:]) != ["y", "x"]:
        raise ValueError(f"{path} has axes {axes}: save it with the last two being y, x")
    for axis, length in zip(axes[:-2], shape, strict=False):
        if axis != "c" and length > 1:
            what = AXIS_NAMES.get(axis, f"planes along axis {axis!r}")
            raise ValueError(f"{path} has {length} {what}: save one of them as its own file")
    return int(shape[axes.index("c")]) if "c" in axes else 1


def _zarr_plane(level: Any, axes: Sequence[str], channel: int) -> Plane:
    index = tuple(None if axis in "yx" else channel if axis == "c" else 0 for axis in axes)
    return LazyPlane(ArraySource(level, index))


def _place(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], axes: Sequence[str]
) -> tuple[Scale | None, Scale, str]:
    """Return pixel size and corner (y, x) in um of the finest level, or why there is no size.

    A stated translation is the position of the first pixel's *centre*, as in napari; without
    one the corner is put at (0, 0), as for all other formats.
    """
    scale, translation = np.ones(len(axes)), np.zeros(len(axes))
    translated = False
    for holder in (dataset, multiscale):
        for transform in holder.get("coordinateTransformations") or []:
            if "scale" in transform:
                factor = np.asarray(transform["scale"], float)
                scale, translation = scale * factor, translation * factor
            if "translation" in transform:
                translation, translated = translation + transform["translation"], True
    units = [a.get("unit") for a in multiscale.get("axes", [])[-2:] if isinstance(a, dict)]
    um = [to_um(1.0, unit) or 0.0 for unit in units]
    if len(um) < 2 or not all(um):
        return None, (0.0, 0.0), "it states no unit of length"
    y, x = (float(value) for value in scale[-2:] * um)
    if not (0 < y < math.inf and 0 < x < math.inf):
        return None, (0.0, 0.0), f"it states {y:g} x {x:g} um"
    corner = translation[-2:] * um - (y / 2, x / 2) if translated else (0.0, 0.0)
    return (y, x), (float(corner[0]), float(corner[1])), ""

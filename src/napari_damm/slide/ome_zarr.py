"""OME-Zarr images (0.4 and 0.5) as channels that are read chunk by chunk.

1. Look at the metadata before zarr does: arrays that only lure it are refused (`zarr_metadata`).
2. Find the image that is meant: converters put it one level down; plates are refused.
3. Read axes, scale, unit, translation and channel labels from its metadata.
4. Each channel is a pyramid of planes, at the chosen z plane and time point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.slide.images import ONLY_IMAGE, ImageChoice, choose_image
from napari_damm.slide.planes import ArraySource, LazyPlane, Plane
from napari_damm.slide.raster import READABLE, ImageFile, Scale, doubted_size, to_um
from napari_damm.slide.stacks import StackSize, choose_plane
from napari_damm.slide.zarr_metadata import check_arrays
from napari_damm.util.image_names import first_image_in

RESULT = "napari_damm"
"""Attribute of what `predict` wrote, which no prediction, training or evaluation may take in."""
MOST_CHANNELS = 4096
MOST_IMAGES = 1000
MOST_CHUNK_BYTES = 2**31


def read_zarr(
    path: Path, z: int | None = None, t: int | None = None, image: str | int | None = None
) -> ImageFile:
    """Read what an OME-Zarr image holds, its pixels lazily, at plane `z` and time point `t`.

    Raises
    ------
    ValueError
        It is not such an image, its metadata are damaged, or it is a stack without a choice.
    OSError
        It is not accessible.
    """
    try:
        return _image_file(path, z, t, image)
    except (ValueError, OSError):
        raise
    except Exception as error:
        # Metadata is free JSON: whatever is missing in it fails in its own way.
        raise ValueError(f"{path} has damaged metadata ({error!r}): export it again") from error


def _image_file(path: Path, z: int | None, t: int | None, image: str | int | None) -> ImageFile:
    check_arrays(path)
    (group, multiscale, labels), choice = _chosen_image(path, image)
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
    for level in levels:
        _check_array(path, level)
    lengths = _lengths(path, axes, levels[0].shape)
    at = {axis: choose_plane(path, axis, lengths[axis], n) for axis, n in (("z", z), ("t", t))}
    # A pyramid of volumes has fewer z planes per level: those hold other planes than the finest.
    levels = [level for level in levels if level.shape[:-2] == levels[0].shape[:-2]]
    planes = [
        [_zarr_plane(level, axes, at | {"c": channel}) for level in levels]
        for channel in range(lengths["c"])
    ]
    names = (
        [str(label).strip() for label in labels]
        if len(labels) == len(planes)
        else [""] * len(planes)
    )
    size, origin, no_size = _place(multiscale, datasets[0], axes)
    placed = any("translation" in t for t in _transforms(multiscale, datasets[0]))
    if size is not None and (doubt := doubted_size(size)):
        size, no_size = None, doubt
    return ImageFile(
        path,
        tuple(name or str(index) for index, name in enumerate(names)),
        tuple(tuple(channel) for channel in planes),
        size,
        origin,
        no_size,
        StackSize(lengths["z"], lengths["t"]),
        choice,
        placed=placed,
    )


def _chosen_image(
    path: Path, wanted: str | int | None
) -> tuple[tuple[Any, Mapping[str, Any], Sequence[str]], ImageChoice]:
    """Return the image that is meant: bioformats2raw puts those of a file into groups 0, 1, ..."""
    import zarr

    try:
        attributes: dict[str, Any] = dict(zarr.open_group(path, mode="r").attrs)
    except Exception:
        return _open_multiscale(path), ONLY_IMAGE
    layout = "bioformats2raw.layout"
    if layout not in attributes and layout not in attributes.get("ome", {}):
        if wanted not in (None, 0, "0"):
            raise ValueError(f"no image {wanted!r} in {path}: it holds one, number 0")
        return _open_multiscale(path), ONLY_IMAGE
    numbers = sorted(int(p.name) for p in path.iterdir() if p.name.isdecimal() and p.is_dir())
    if not numbers:
        raise ValueError(f"{path} holds no image: give the path of {READABLE}")
    found = [_open_multiscale(path / str(number)) for number in numbers[:MOST_IMAGES]]
    sizes = [_finest_size(group, multiscale) for group, multiscale, _ in found]
    names = [str(multiscale.get("name") or "") for _, multiscale, _ in found]
    choice = choose_image(path, names, sizes, wanted)
    return found[choice.number], choice


def _finest_size(group: Any, multiscale: Mapping[str, Any]) -> tuple[int, int]:
    height, width = group[str(multiscale["datasets"][0]["path"])].shape[-2:]
    return int(height), int(width)


def _open_multiscale(path: Path) -> tuple[Any, Mapping[str, Any], Sequence[str]]:
    """Return the group of an OME-Zarr image, its (first) multiscale and its channel labels."""
    import zarr

    from napari_damm.slide.bounded_chunks import BoundedStore

    inside = first_image_in(path)
    instead = f"the path of {READABLE}" if inside is None else f"an image in it, such as {inside}"
    other = f"{path} is a directory but not an OME-Zarr image: give {instead}"
    store = BoundedStore.at(path)
    try:
        group = zarr.open_group(store, mode="r")
    except Exception as error:
        raise ValueError(other) from error
    attributes: dict[str, Any] = dict(group.attrs)
    ome = attributes.get("ome", attributes)
    if "plate" in ome or "well" in ome:
        raise ValueError(f"{path} is a plate: give the path of one of the images inside it")
    if RESULT in attributes:
        raise ValueError(
            f"{path} is a predicted map, no picture of a section: give the image that was taken"
        )
    multiscales = ome.get("multiscales")
    if not multiscales:
        raise ValueError(other)
    labels = [channel.get("label", "") for channel in ome.get("omero", {}).get("channels", [])]
    return group, multiscales[0], labels


def _axes(multiscale: Mapping[str, Any]) -> list[str]:
    """Return the names of the axes; versions before 0.4 give just names, or none (always tczyx)."""
    axes = multiscale.get("axes") or list("tczyx")
    return [axis if isinstance(axis, str) else str(axis["name"]) for axis in axes]


def _lengths(path: Path, axes: Sequence[str], shape: Sequence[int]) -> dict[str, int]:
    """Return the number of channels (c), z planes and time points (t)."""
    if list(axes[-2:]) != ["y", "x"]:
        raise ValueError(f"{path} has axes {axes}: save it with the last two being y, x")
    lengths = {"c": 1, "z": 1, "t": 1}
    for axis, length in zip(axes[:-2], shape, strict=False):
        if axis not in lengths and length > 1:
            raise ValueError(
                f"{path} has {length} planes along axis {axis!r}: save one of them as its own file"
            )
        lengths[axis] = int(length)
    if lengths["c"] > MOST_CHANNELS:
        raise ValueError(
            f"{path} claims {lengths['c']:,} channels, more than {MOST_CHANNELS:,}: export it again"
        )
    return lengths


def _check_array(path: Path, level: Any) -> None:
    """Check that an array can be read piece by piece: its shape and chunks are believable."""
    if min(level.shape, default=0) < 1 or min(level.chunks, default=0) < 1:
        raise ValueError(
            f"{path} has an array of shape {tuple(level.shape)} in chunks of "
            f"{tuple(level.chunks)}: export it again"
        )
    chunk = math.prod(level.chunks) * level.dtype.itemsize
    if chunk > MOST_CHUNK_BYTES:
        raise ValueError(
            f"{path} has chunks of {tuple(level.chunks)} px, {chunk / 2**30:.3g} GiB each: save it "
            "in smaller ones"
        )


def _zarr_plane(level: Any, axes: Sequence[str], at: Mapping[str, int]) -> Plane:
    return LazyPlane(ArraySource(level, tuple(None if a in "yx" else at.get(a, 0) for a in axes)))


def _transforms(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield what places the finest level in the world, the innermost first."""
    for holder in (dataset, multiscale):
        yield from holder.get("coordinateTransformations") or []


def _place(
    multiscale: Mapping[str, Any], dataset: Mapping[str, Any], axes: Sequence[str]
) -> tuple[Scale | None, Scale, str]:
    """Return pixel size and corner (y, x) in um of the finest level, or why there is no size.

    A stated translation is the position of the first pixel's *centre*, as in napari; without
    one the corner is put at (0, 0), as for all other formats.
    """
    scale, translation = np.ones(len(axes)), np.zeros(len(axes))
    translated = False
    for transform in _transforms(multiscale, dataset):
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

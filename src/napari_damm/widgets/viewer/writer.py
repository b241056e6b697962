"""Saving result layers: as OME-TIFF for other programs, as OME-Zarr with everything of the run.

1. `write_tiff` writes one layer as it is: maps as float32, the branch as whole numbers, with pixel
   size and place in um, band by band, so that memory does not grow with the section. Whoever saves
   any other picture under such a name gets it, too.
2. `write_store` writes the result that a layer belongs to, with all its maps and its record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.util.version import OWN_CREATOR, PREDICTED, __version__
from napari_damm.widgets.viewer.result_maps import MAP, MASKED, UM_PER_UNIT
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.run_notes import NOTES
from napari_damm.widgets.viewer.saved_layer import LABELS

TILE = 512
TIFF_ENDINGS = (".ome.tif", ".ome.tiff")
STORE_ENDING = ".ome.zarr"


def write_tiff(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write one layer as OME-TIFF, and return what was written.

    Raises
    ------
    ValueError
        If the layer is no picture of two dimensions.
    OSError
        If it cannot be written.
    """
    import tifffile

    from napari_damm.util.files import written_whole

    metadata = attributes.get("metadata") or {}
    image = data[0] if attributes.get("multiscale") else data
    if image.ndim != 2:
        raise ValueError(f"'{attributes.get('name')}' is not one picture (y, x): save it as .tif")
    dtype = np.dtype(np.float32) if image.dtype.kind == "f" else np.dtype(image.dtype)
    with written_whole(Path(path)) as stream:
        tifffile.imwrite(
            stream,
            _tiles(image, dtype),
            shape=image.shape,
            dtype=dtype,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="minisblack",
            ome=True,
            metadata=_ome(attributes, metadata),
        )
    return [path]


def write_store(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the whole result that a layer belongs to, and return what was written.

    Raises
    ------
    ValueError
        If the layer belongs to no finished prediction.
    OSError
        If there is something at `path`, or it cannot be written.
    """
    from napari_damm.store import save_result

    metadata = attributes.get("metadata") or {}
    notes = metadata.get(NOTES)
    result = getattr(notes, "result", None)
    if metadata.get(MAP) == MASKED:
        raise ValueError(
            f"'{attributes.get('name')}' is a part of a prediction, which is saved as a whole: "
            "save this layer as .ome.tif"
        )
    if result is None:
        raise ValueError(
            f"'{attributes.get('name')}' belongs to no finished prediction: choose another layer"
        )
    save_result(result, path)
    return [path]


def _tiles(image: Any, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    height, width = image.shape
    for y in range(0, height, TILE):
        band = np.asarray(image[y : y + TILE]).astype(dtype)
        for x in range(0, width, TILE):
            tile = band[:, x : x + TILE]
            pad = (0, TILE - tile.shape[0]), (0, TILE - tile.shape[1])
            yield np.pad(tile, pad)


def _ome(attributes: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    size, units = attributes["scale"][-2:], attributes.get("units") or ("um", "um")
    sides = [um_of(value, unit, metadata) for value, unit in zip(size, units[-2:], strict=True)]
    physical: dict[str, Any] = {}
    for axis, side in zip("YX", sides, strict=True):
        if side is not None:
            physical |= {f"PhysicalSize{axis}": side, f"PhysicalSize{axis}Unit": "µm"}
    if None not in sides:
        physical["Plane"] = _plane(attributes, [side or 0.0 for side in sides])
    record = metadata.get(RESULT_KEY) or {}
    model, mode = (record.get("model") or {}).get("name", ""), record.get("mode")
    said = [f"{PREDICTED}model {model}, mode {mode}"] if mode else []
    said += [LABELS] if "contrast_limits" not in attributes else []  # which images have
    return {
        "axes": "YX",
        "Creator": f"{OWN_CREATOR} {__version__}",
        "Name": str(attributes["name"]),
        "Channel": {"Name": [str(attributes["name"])]},
        "Description": "; ".join(said),
        **physical,
    }


def _plane(attributes: Mapping[str, Any], sides: Sequence[float]) -> dict[str, list[Any]]:
    """Return where the upper left corner of a layer of such pixels (um) lies; {} where turned."""
    turned = [
        matrix
        for name in ("rotate", "affine")
        if (matrix := attributes.get(name)) is not None and np.ndim(matrix) == 2
    ]
    if any(not np.allclose(matrix, np.eye(len(matrix))) for matrix in turned):
        return {}
    places = zip("YX", attributes.get("translate", (0, 0))[-2:], sides, strict=True)
    plane: dict[str, list[Any]] = {}
    for (axis, centre, side), size in zip(places, attributes["scale"][-2:], strict=True):
        corner = (float(centre) / float(size) - 0.5) * side
        plane |= {f"Position{axis}": [round(corner, 6)], f"Position{axis}Unit": ["µm"]}
    return plane


def um_of(value: float, unit: Any, metadata: Mapping[str, Any]) -> float | None:
    """Return a layer's scale in um; None where nobody said how large its pixels are.

    Layers of a run know how many um their unit is, though it may be no length, since somebody
    entered the pixel size. Of others a scale without a length is um, as everywhere here, but 1.
    """
    if isinstance(unit, str):
        return float(value)
    if unit.is_compatible_with("micrometer"):
        return float((value * unit).to("micrometer").magnitude)
    known = metadata.get(UM_PER_UNIT)
    if known is not None:
        return float(value) * float(known)
    return None if np.isclose(value, 1.0) else float(value)

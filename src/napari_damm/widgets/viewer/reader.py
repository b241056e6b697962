"""What napari opens with us: result stores, and sections whose pixel size the file states.

1. A result store (`*.ome.zarr`) becomes its layers, each with the job record. Any other zarr
   is declined, so that napari's own reader takes it.
2. An OME-TIFF of 2-D channels becomes one lazy, multiscale layer per channel, with its name and in
   um: what the pickers need to find vessels and nuclei. Stacks and the like are declined.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.roles import RGB_NAMES, UNKNOWN, stain_colour

if TYPE_CHECKING:
    from napari.types import LayerDataTuple

    from napari_damm.slide.raster import ImageFile

Reader = Callable[[str | Sequence[str]], list["LayerDataTuple"]]
STORE_KEY = "napari_damm_store"  # as in napari_damm.store, which is too heavy to import for a look


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for one result store or one section, else None."""
    if not isinstance(path, str):
        return None
    if Path(path).is_dir():
        return read_result if is_result(path) else None
    from napari_damm.slide.readers import open_image

    with suppress(OSError, ValueError):
        return partial(_read_section, open_image(path))
    return None


def is_result(path: str) -> bool:
    """Tell whether a folder is a result store, from its root metadata alone."""
    with suppress(OSError, ValueError):
        root = json.loads((Path(path) / "zarr.json").read_text(encoding="utf-8"))
        return STORE_KEY in root.get("attributes", {})
    return False


def read_result(path: str | Sequence[str]) -> list[LayerDataTuple]:
    """Open a result store lazily and return its layers."""
    from napari_damm import api
    from napari_damm.widgets.viewer.result_maps import Maps, layer_tuples

    assert isinstance(path, str)
    return layer_tuples(Maps.of_result(api.open_result(path)), World())


def _read_section(file: ImageFile, path: str | Sequence[str]) -> list[LayerDataTuple]:
    stained = [colour_of(name) != UNKNOWN for name in file.channels]
    # What is neither vessels nor nuclei is shown when asked for, unless there is nothing else.
    return [
        _channel(file, index, visible=known or not any(stained))
        for index, known in enumerate(stained)
    ]


def _channel(file: ImageFile, index: int, visible: bool) -> LayerDataTuple:
    from napari_damm.slide.planes import as_dask

    name, levels = file.channels[index], [as_dask(plane) for plane in file.planes[index]]
    arguments: dict[str, Any] = {
        "name": name,
        "blending": "additive",
        "colormap": colour_of(name),
        "visible": visible,
    }
    if file.pixel_size_um is not None:
        corner_and_size = zip(file.origin, file.pixel_size_um, strict=True)
        arguments["scale"] = file.pixel_size_um
        arguments["translate"] = tuple(corner + size / 2 for corner, size in corner_and_size)
        arguments["units"] = ("um", "um")
    several = len(levels) > 1
    arguments["multiscale"] = several
    return (levels if several else levels[0], arguments, "image")


def colour_of(name: str) -> str:
    """Return the colour of a channel: of its stain, or the one that it is named after."""
    return name if name in RGB_NAMES else stain_colour(name)

"""What napari opens with us: result stores, and sections whose pixel size the file states.

1. A result store (`*.ome.zarr`) becomes its layers, each with the job record. Any other zarr
   is left to napari's own reader.
2. An OME-TIFF of 2-D channels becomes one lazy, multiscale layer per channel, with its name and in
   um: what the pickers need to find vessels and nuclei. Of several images of similar size each
   gets layers of its own. Stacks and the like are left to napari's own reader: of OME-TIFFs
   napari asks nobody who is to read them, so they are handed on to it.
3. An OME-TIFF of a map that was predicted stays one: nobody predicts from it, or learns from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_damm.util.bounded_json import read_json
from napari_damm.util.text import printable
from napari_damm.util.version import PREDICTED
from napari_damm.widgets.preferences import HANDED_ON, NAPARI, open_results_unasked
from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.result_maps import PARTIAL
from napari_damm.widgets.viewer.roles import RESULT_KEY, RGB_NAMES, UNKNOWN, stain_colour
from napari_damm.widgets.viewer.run_notes import NOTES, RunNotes
from napari_damm.widgets.viewer.saved_layer import LABELS, saved_layer

if TYPE_CHECKING:
    from napari.types import LayerDataTuple

    from napari_damm.slide.raster import ImageFile

Reader = Callable[[str | Sequence[str]], list["LayerDataTuple"]]
STORE_KEY = "napari_damm_store"  # as in napari_damm.store, which is too heavy to import for a look


def get_reader(path: str | Sequence[str]) -> Reader | None:
    """Return a reader for one result store or one OME-TIFF, CZI or LIF, else None."""
    if not isinstance(path, str):
        return None
    if Path(path).is_dir():
        if is_result(path):
            return read_result
    else:
        with suppress(OSError, ValueError):
            return partial(_read_section, _images(path))
    return _as_napari_reads if path.lower().rstrip("/\\").endswith(HANDED_ON) else None


def _as_napari_reads(path: str | Sequence[str]) -> list[LayerDataTuple]:
    """Read a file as without us."""
    from npe2 import read

    assert isinstance(path, str)
    return list(read([path], stack=False, plugin_name=NAPARI))


def _images(path: str) -> list[ImageFile]:
    """Return the image of a file, or each of several of similar size."""
    from napari_damm.slide.readers import open_image

    try:
        return [open_image(path)]
    except ValueError:
        # the first says how many there are, unless something else is wrong with the file
        names = open_image(path, image=0).image.names
        return [open_image(path, image=number) for number in range(len(names))]


def is_result(path: str) -> bool:
    """Tell whether a folder is a result store, from its root metadata alone."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return STORE_KEY in read_json(Path(path) / "zarr.json")["attributes"]
    return False


def read_result(path: str | Sequence[str]) -> list[LayerDataTuple]:
    """Open a result store lazily and return its layers."""
    from napari import current_viewer

    from napari_damm import api
    from napari_damm.widgets.viewer.result_layers import name_reopened, settle_reopened
    from napari_damm.widgets.viewer.result_maps import Maps, layer_tuples

    assert isinstance(path, str)
    result = api.open_result(path)
    layers = layer_tuples(Maps.of_result(result), World())
    notes = RunNotes(result=result)
    for _, arguments, _ in layers:
        arguments["metadata"][NOTES] = notes
    open_results_unasked()
    viewer = current_viewer()
    if viewer is not None:
        name_reopened(viewer.layers, layers, _called(Path(path)))
        settle_reopened(viewer, notes, len(layers), Path(path).name)
    return layers


def _called(store: Path) -> str:
    """Return what people call a result: its folder without its endings."""
    name = store.name
    for ending in (".zarr", ".ome", ".damm"):
        name = name.removesuffix(ending)
    return printable(name or store.name)


def _read_section(images: list[ImageFile], path: str | Sequence[str]) -> list[LayerDataTuple]:
    # Images lie on each other here: the first is shown, the others are at hand.
    layers = [
        layer
        for number, file in enumerate(images)
        for layer in _layers(file, "" if len(images) == 1 else _title(file), number == 0)
    ]
    assert isinstance(path, str)
    saved = saved_layer(path) if len(layers) == 1 else None
    return layers if saved is None else [saved.restored(layer) for layer in layers]


def _title(file: ImageFile) -> str:
    return (file.image.names[file.image.number] or f"image {file.image.number}") + " "


def _layers(file: ImageFile, title: str, shown: bool) -> list[LayerDataTuple]:
    stained = [colour_of(name) != UNKNOWN for name in file.channels]
    # What is neither vessels nor nuclei is shown when asked for, unless there is nothing else.
    layers = []
    for index, known in enumerate(stained):
        data, arguments, kind = _channel(file, index, shown and (known or not any(stained)))
        layers.append((data, arguments | {"name": title + arguments["name"]}, kind))
    return layers


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
    if file.predicted:
        arguments["metadata"] = {RESULT_KEY: _record_of(file.predicted, name)}
    several = len(levels) > 1
    arguments["multiscale"] = several
    return (levels if several else levels[0], arguments, "image")


def _record_of(described: str, name: str) -> dict[str, Any]:
    """Return what is left of the record of a map that was saved as a picture, called `name`."""
    said = described.removeprefix(f"{PREDICTED}model ").removesuffix(f"; {LABELS}")
    model, _, mode = said.rpartition(", mode ")
    finished = None if PARTIAL.search(name) else "when it was saved"
    return {"mode": printable(mode), "model": {"name": printable(model)}, "finished": finished}


def colour_of(name: str) -> str:
    """Return the colour of a channel: of its stain, or the one that it is named after."""
    return name if name in RGB_NAMES else stain_colour(name)

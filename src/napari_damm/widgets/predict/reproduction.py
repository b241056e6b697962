"""A layer's prediction as a script, or as a command, that gives the same bits.

1. Of a result whose section was a file, record and file say everything (`engine.reproduction`).
2. Of layers: where a file holds the same pixels, it is opened. They are compared with what was
   predicted, pixel by pixel: a layer may have been changed, moved or read by other means since.
3. Where no file does, the script takes the layers themselves; it is for napari's console. A command
   cannot have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.viewer.layer_slides import LayerSource
from napari_damm.widgets.viewer.run_notes import RunNotes

if TYPE_CHECKING:
    from napari_damm.engine.reproduction import Opening

NAMES = ("channel", "name", "pixel_size_um", "origin_um")  # of an identity: no pixels


def python_text(record: Mapping[str, Any], notes: RunNotes) -> str:
    """Return a script that predicts a layer again."""
    from napari_damm.engine.reproduction import as_python, open_slide_lines

    try:
        opening = open_slide_lines(opening_of_run(record, notes))
    except ValueError:
        if not notes.inputs:
            raise
        opening = _layer_lines(record, notes.inputs)
    return as_python(record, opening, _model(notes))


def command_text(record: Mapping[str, Any], notes: RunNotes) -> str:
    """Return a command that predicts a layer again.

    Raises
    ------
    ValueError
        In one sentence, if none can.
    """
    from napari_damm.engine.reproduction import as_command

    return as_command(record, opening_of_run(record, notes), _model(notes))


def opening_of_run(record: Mapping[str, Any], notes: RunNotes) -> Opening:
    """Return how the section of a run is opened from its files.

    Raises
    ------
    ValueError
        If it came from no files, or they no longer hold what was predicted.
    """
    from napari_damm.engine.reproduction import opening_of

    if (record.get("input") or {}).get("kind") == "files":
        return opening_of(record)
    for role, source in notes.inputs.items():
        if source.path is None:
            raise ValueError(
                f"'{source.layer}' ({role}) was opened from no file: save it, open it from there "
                "and predict that"
            )
    for opening in _candidates(record, notes.inputs):
        return opening
    raise ValueError(
        "the files of the layers do not hold what was predicted: they, or the layers, were changed"
    )


def _candidates(record: Mapping[str, Any], inputs: Mapping[str, LayerSource]) -> Iterator[Opening]:
    """Yield the ways to open the files that give the same section."""
    from napari_damm.engine.reproduction import Opening

    vessels, nuclei = (inputs[role] for role in ("vessels", "nuclei"))
    given = record["input"]
    assert vessels.path is not None  # since opening_of_run
    for choice in _choices(vessels):
        with suppress(ValueError, OSError):
            arguments: dict[str, Any] = {}
            if nuclei.path != vessels.path:
                arguments["nuclei"] = nuclei.path
            for role, source in (("vessels", vessels), ("nuclei", nuclei)):
                arguments[f"{role}_channel"] = _channel(source, given[role], choice)
            first = Opening(vessels.path, arguments | choice)
            for opening in (first, first.with_pixel_size(given["vessels"]["pixel_size_um"])):
                if _same_section(opening, given):
                    yield opening


def _choices(source: LayerSource) -> Iterator[dict[str, int]]:
    """Yield which plane, or which image of the file, the layer may show."""
    yield {}
    yield from ({axis: k} for axis in ("z", "t") for k in dict.fromkeys(source.index))
    yield from ({"image": number} for number in range(4))


def _channel(source: LayerSource, given: Mapping[str, Any], choice: Mapping[str, int]) -> int:
    """Return which channel of a file has the pixels that were predicted."""
    from napari_damm.slide.identity import identify_arrays
    from napari_damm.slide.raster import Raster
    from napari_damm.slide.readers import open_image

    assert source.path is not None
    file = open_image(source.path, **choice)
    for number, planes in enumerate(file.planes):
        if tuple(plane.shape for plane in planes) != source.shapes:
            continue
        raster = Raster(file.channels[number], planes, given["pixel_size_um"])
        found = identify_arrays({"it": raster})["it"]
        if _pixels(found) == _pixels(given):
            return number
    raise ValueError(f"{source.path} does not hold what '{source.layer}' shows")


def _pixels(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if key not in NAMES}


def _same_section(opening: Opening, given: Mapping[str, Any]) -> bool:
    """Tell whether pixel sizes are the same, and nuclei lie on vessels as they did.

    Where in the world the two lie changes nothing but where the maps are shown.
    """
    with suppress(ValueError, OSError):
        slide = opening.open()
        vessels, nuclei = slide.vessels, slide.nuclei
        sizes = [vessels.pixel_size_um, nuclei.pixel_size_um]
        apart = np.subtract(nuclei.origin, vessels.origin)
        before = [given[role] for role in ("vessels", "nuclei")]
        apart_before = np.subtract(before[1]["origin_um"], before[0]["origin_um"])
        same_sizes = sizes == [entry["pixel_size_um"] for entry in before]
        return same_sizes and bool((apart == apart_before).all())
    return False


def _layer_lines(record: Mapping[str, Any], inputs: Mapping[str, LayerSource]) -> str:
    """Return the lines that make a slide of the viewer's layers."""
    given = {role: record["input"][role] for role in inputs}
    images = ", ".join(f'"{role}": {_data(source)}' for role, source in inputs.items())
    sizes = {role: entry["pixel_size_um"] for role, entry in given.items()}
    corners = {role: tuple(entry["origin_um"]) for role, entry in given.items()}
    return (
        "# For napari's console: the section is in layers, not in a file.\n"
        "from napari_damm.slide import slide_from_arrays\n\n"
        f"slide = slide_from_arrays(\n    {{{images}}},\n    {sizes!r},\n    {corners!r},\n)\n"
    )


def _data(source: LayerSource) -> str:
    data = f"viewer.layers[{source.layer!r}].data"
    index = ", ".join([*map(str, source.index), *(["..."] if source.rgb is not None else [])])
    if source.rgb is not None:
        index += f", {source.rgb}"
    if len(source.shapes) > 1:
        return f"[level[{index}] for level in {data}]" if index else f"list({data})"
    return f"{data}[{index}]" if index else data


def _model(notes: RunNotes) -> str | None:
    """Return the name that stands for the model's file, or its path."""
    from napari_damm import model_file

    if notes.model is None:
        return None
    infos = model_file.list_models()
    named = next((info.name for info in infos if info.path == notes.model), None)
    return named or str(notes.model)

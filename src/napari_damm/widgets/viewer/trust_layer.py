"""What each place of a prediction is worth, as a layer: use, with care, do not use.

It is put together from familiarity, uncertainty and the width of the interval when it is asked for
(`engine.trusted.trust_map`). Only doubt is tinted: "do not use" is covered in blue, "with care"
hatched in cyan, which neither inferno nor stains in grey have. The cells of the branch map are
drawn finer for the stripes, and end where the map does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.trust.cells import CellTrust
from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE
from napari_damm.widgets.viewer.result_maps import MAP, NP, UM_PER_UNIT, UNCERTAINTY
from napari_damm.widgets.viewer.result_tools import TRUST, RunLayers, place_of_cells
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.run_notes import NOTES, notes_of

if TYPE_CHECKING:
    from napari.layers import Layer

MEANINGS = {
    CellTrust.USE: USE,
    CellTrust.WITH_CARE: WITH_CARE,
    CellTrust.DO_NOT_USE: DO_NOT_USE,
}
COLOURS = {CellTrust.WITH_CARE: "#00e5ff", CellTrust.DO_NOT_USE: "#1565ff"}
"""What is to be used stays as it is."""
LEGEND = "blue is do not use, cyan stripes are with care"
OPACITY = 0.75
BETWEEN = max(CellTrust) + 1
"""The label between the stripes of what is to be used with care."""
STRIPES = 8
"""Parts of a cell's side; a quarter of them is striped."""
MOST_PARTS = 50_000_000
"""Of a large slide cells are parted less, so that the layer stays small."""


def add_trust_map(viewer: Any, run: RunLayers) -> Layer:
    """Add the layer, or show the one that is there; it may take seconds for a whole slide.

    Raises
    ------
    ValueError
        If the run has not finished, or the model does not say which images it knows.
    """
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    place, np_map = run.maps.get(UNCERTAINTY), run.np
    if place is None or np_map is None:
        raise ValueError("A layer of this prediction was removed: predict again, or open the store")
    for layer in viewer.layers:
        if layer.metadata.get(MAP) == TRUST and notes_of(layer).key is notes_of(place).key:
            layer.visible = True
            return layer
    parts, scale, corner = _drawn(run.worth, place_of_cells(run), np_map)
    colours: dict[int | None, str] = {None: "transparent"}
    colours |= dict.fromkeys((CellTrust.NOT_PREDICTED, CellTrust.USE, BETWEEN), "transparent")
    colours |= {int(code): colour for code, colour in COLOURS.items()}
    layer = Labels(
        parts,
        name=np_map.name.replace(NP, TRUST, 1),
        colormap=DirectLabelColormap(color_dict=colours),
        features={
            "index": [*map(int, MEANINGS), BETWEEN],
            "worth": [*MEANINGS.values(), WITH_CARE],
        },
        opacity=OPACITY,
        scale=scale,
        translate=corner,
        units=place.units,
        metadata={
            RESULT_KEY: {**place.metadata[RESULT_KEY], "shows": TRUST},
            MAP: TRUST,
            UM_PER_UNIT: place.metadata.get(UM_PER_UNIT),
            NOTES: notes_of(place),
        },
    )
    layer.editable = False
    viewer.layers.insert(viewer.layers.index(np_map) + 1, layer)
    viewer.layers.selection.active = np_map
    return layer


def _drawn(
    worth: NDArray[np.uint8], place: Mapping[str, Any], np_map: Layer
) -> tuple[NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    """Return cells in parts, striped, without what lies beyond the map; their size and corner."""
    side = next((n for n in (STRIPES, 4, 1) if worth.size * n * n <= MOST_PARTS), 1)
    parts = worth.repeat(side, 0).repeat(side, 1)
    if side > 1:
        y, x = np.ogrid[: parts.shape[0], : parts.shape[1]]
        between = (y + x) % side >= side // 4
        parts[between & (parts == CellTrust.WITH_CARE)] = BETWEEN
    cell, pixel = np.asarray(place["scale"]), np.asarray(np_map.scale)
    scale = cell / side
    corner = np.asarray(place["translate"]) - cell / 2
    map_corner = np.asarray(np_map.translate) - pixel / 2
    shape = (np_map.data[0] if np_map.multiscale else np_map.data).shape
    first = np.maximum(0, np.round((map_corner - corner) / scale)).astype(int)
    last = np.round((map_corner + np.asarray(shape) * pixel - corner) / scale).astype(int)
    parts = parts[first[0] : last[0], first[1] : last[1]]
    return parts, scale, corner + (first + 0.5) * scale

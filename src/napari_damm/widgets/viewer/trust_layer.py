"""What each place of a prediction is worth, as a layer: use, with care, do not use.

It is put together from familiarity, uncertainty and the width of the interval when it is asked for
(`engine.trusted.trust_map`), and lies on the cells of the branch map. Only doubt is tinted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_damm.trust.cells import CellTrust
from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE
from napari_damm.widgets.viewer.result_maps import MAP, NP, UNCERTAINTY
from napari_damm.widgets.viewer.result_tools import TRUST, RunLayers, place_of
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.run_notes import NOTES, notes_of

if TYPE_CHECKING:
    from napari.layers import Layer

MEANINGS = {
    CellTrust.USE: USE,
    CellTrust.WITH_CARE: WITH_CARE,
    CellTrust.DO_NOT_USE: DO_NOT_USE,
}
COLOURS = {CellTrust.WITH_CARE: "#f0e442", CellTrust.DO_NOT_USE: "#d55e00"}
"""Okabe and Ito's yellow and vermilion; what is to be used stays as it is."""


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
    cells = run.worth
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent", 1: "transparent"}
    layer = Labels(
        cells,
        name=np_map.name.replace(NP, TRUST, 1),
        colormap=DirectLabelColormap(
            color_dict=colours | {int(code): colour for code, colour in COLOURS.items()}
        ),
        features={
            "index": [int(code) for code in MEANINGS],
            "worth": list(MEANINGS.values()),
        },
        opacity=0.3,
        **place_of(place),
        metadata={
            RESULT_KEY: {**place.metadata[RESULT_KEY], "shows": TRUST},
            MAP: TRUST,
            NOTES: notes_of(place),
        },
    )
    layer.editable = False
    viewer.layers.insert(viewer.layers.index(np_map) + 1, layer)
    viewer.layers.selection.active = np_map
    return layer

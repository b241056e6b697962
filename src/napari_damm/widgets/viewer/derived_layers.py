"""Layers that are made of the layers of a prediction, and where they stand in the viewer.

1. A cover over what is hidden: one per run, above its NP map, in the colour of the canvas. It
   follows the slider, and goes when nothing is hidden.
2. A frame around the place that "Least sure" shows.
3. The NP map without what is hidden, and the difference of two maps: layers to keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.viewer.colour_bar import show_colour_bar
from napari_damm.widgets.viewer.hiding import Hidden, masked_map, predicted_pixels
from napari_damm.widgets.viewer.result_maps import MAP, MASKED, UM_PER_UNIT, UNCERTAINTY
from napari_damm.widgets.viewer.result_tools import (
    COVER,
    DIFFERENCE,
    LEAST_SURE,
    RunLayers,
    difference,
    place_of,
    place_of_cells,
    run_of,
)
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.run_notes import NOTES

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.utils.colormaps import Colormap

MARKED, MARK_COLOUR = "napari_damm_marked", "#00ff66"
COVERED = "napari_damm_covered"
DIFFERENCE_LIMITS = (-0.5, 0.5)
COVER_COLOUR = "black"


def show_cover(viewer: Any, run: RunLayers, hidden: Hidden | None) -> None:
    """Cover what is hidden; nothing where that is None."""
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    np_map = run.np
    cover = next((layer for layer in viewer.layers if _covers(layer, run)), None)
    if hidden is None or not hidden.cells.any():
        if cover is not None:
            viewer.layers.remove(cover)
        return
    cells = hidden.cells.astype("uint8")
    place, source = place_of_cells(run), run.maps[UNCERTAINTY]
    if cover is not None:
        cover.data = cells
        cover.name = hidden.cover
        cover.scale, cover.translate = place["scale"], place["translate"]
        return
    colours = {None: "transparent", 0: "transparent", 1: COVER_COLOUR}
    layer = Labels(
        cells,
        name=hidden.cover,
        colormap=DirectLabelColormap(color_dict=colours),
        opacity=1.0,
        **place,
        metadata={
            RESULT_KEY: {"shows": COVER},
            COVERED: run.key,
            UM_PER_UNIT: source.metadata.get(UM_PER_UNIT),
            NOTES: source.metadata.get(NOTES),  # so that the panel stays with its run
        },
    )
    layer.editable = False
    active = viewer.layers.selection.active
    viewer.layers.insert(_above(viewer, np_map), layer)
    viewer.layers.selection.active = active


def add_rest(viewer: Any, run: RunLayers, hidden: Hidden) -> Layer:
    """Add the NP map with 0 where something is hidden."""
    np_map = run.np
    levels = masked_map(run, hidden)
    assert np_map is not None  # since masked_map
    layer = _like(np_map, levels, f"{np_map.name}, {hidden.rest}", MASKED)
    layer.metadata[RESULT_KEY]["hidden"] = hidden.words
    active = viewer.layers.selection.active
    viewer.layers.insert(_above(viewer, np_map), layer)
    viewer.layers.selection.active = active  # the panel stays with the run
    np_map.visible = False
    return layer


def add_difference(viewer: Any, first: Layer, second: Layer) -> Layer:
    """Add the difference of two NP maps.

    Raises
    ------
    ValueError
        In one sentence, if they cannot be compared.
    """
    from napari.layers import Image

    runs = [run_of(layer, viewer.layers) for layer in (first, second)]
    known = [None if run is None else predicted_pixels(run) for run in runs]
    values, corner = difference(first, second, known)
    layer = Image(
        values,
        name=f"{first.name} − {second.name}",
        colormap=difference_colours(),
        contrast_limits=DIFFERENCE_LIMITS,
        blending="translucent_no_depth",
        scale=first.scale[-2:],
        translate=corner,
        units=first.units[-2:],
        metadata={
            RESULT_KEY: {"shows": DIFFERENCE},
            MAP: DIFFERENCE,
            UM_PER_UNIT: first.metadata.get(UM_PER_UNIT),
        },
    )
    active = viewer.layers.selection.active
    viewer.layers.append(layer)
    viewer.layers.selection.active = active  # the panel stays with the run
    show_colour_bar(layer)
    return layer


def mark_place(viewer: Any, centre: Sequence[float], cells: Layer) -> None:
    """Draw a frame around the cell at a place (y, x), in a layer of its own."""
    from napari.layers import Shapes

    half = np.asarray(cells.scale[-2:]) / 2
    corners = np.asarray(centre) + half * [(-1, -1), (-1, 1), (1, 1), (1, -1)]
    old = next((each for each in viewer.layers if each.metadata.get(MARKED)), None)
    active = viewer.layers.selection.active
    if old is not None:
        viewer.layers.remove(old)
    layer = Shapes(
        [corners],
        shape_type="rectangle",
        name=LEAST_SURE,
        face_color="transparent",
        edge_color=MARK_COLOUR,
        edge_width=float(half.min()) / 4,
        units=cells.units[-2:],
        # Marked as a result, so that nobody takes it for a region.
        metadata={
            RESULT_KEY: {"shows": LEAST_SURE},
            MARKED: True,
            NOTES: cells.metadata.get(NOTES),
        },
    )
    layer.editable = False
    viewer.layers.append(layer)
    viewer.layers.selection.active = active if active in viewer.layers else cells


def difference_colours() -> Colormap:
    """Return blue (less), white and red (more), as in the figures of a report."""
    from napari.utils.colormaps import Colormap

    ends = ("#053061", "#4393c3", "#f7f7f7", "#d6604d", "#67001f")
    return Colormap(list(ends), name="blue to red")


def _like(layer: Layer, levels: list[Any], name: str, shows: str) -> Layer:
    from napari.layers import Image

    return Image(
        levels if len(levels) > 1 else levels[0],
        name=name,
        multiscale=len(levels) > 1,
        colormap=layer.colormap,
        contrast_limits=layer.contrast_limits,
        blending=layer.blending,
        **place_of(layer),
        metadata={
            RESULT_KEY: {**layer.metadata[RESULT_KEY], "shows": shows},
            MAP: shows,
            UM_PER_UNIT: layer.metadata.get(UM_PER_UNIT),
            NOTES: layer.metadata.get(NOTES),
        },
    )


def _covers(layer: Layer, run: RunLayers) -> bool:
    return layer.metadata.get(COVERED) is run.key


def _above(viewer: Any, layer: Layer | None) -> int:
    layers = viewer.layers
    return layers.index(layer) + 1 if layer in layers else len(layers)

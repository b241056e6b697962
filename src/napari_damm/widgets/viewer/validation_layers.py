"""The layers that show what the model makes of tissue that it is not trained on.

1. One image layer each for primary, secondary, truth, before and now; in each, the validation
   windows stand one below the other. Side by side they make a table with a heading per column.
2. The table stands to the right of what the viewer shows, at the scale of the data.
3. On the section itself, the windows that are scored are outlined.
4. Every validation only brings new pixels; what the analyst selected, hid, moved or removed stays
   so. The tables of an earlier training make room for the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.events import ValidationTile
from napari_damm.widgets.viewer.layer_slides import World, um_per
from napari_damm.widgets.viewer.roles import RESULT_KEY, stain_colour

if TYPE_CHECKING:
    from napari.layers import Layer

GAP_PX = 12
TEXT_SIZE = 7  # px; the columns stand close where all of the section is shown
TABLE = "validation"  # the value of metadata[RESULT_KEY]["shows"]
COLUMNS = ("primary", "secondary", "truth", "before", "now")
HEADINGS = "Validation headings"
OUTLINES = "Validation windows"
WINDOW_PX = 256
OUTLINE_PX = 4
OUTLINE_COLOUR = "#cc79a7"  # Okabe and Ito's: seen on green vessels and on blue nuclei
GREY = "#9aa5b1"  # readable on a black canvas and on a white one


class ValidationLayers:
    """The table of one training in a viewer; whoever removes a layer simply sees less.

    napari takes most of a second for six layers, so `add_next` adds one at a time, and the screen
    lives in between. `corners_um` are those of the windows to outline on the section.
    """

    def __init__(
        self,
        viewer: Any,
        modalities: Sequence[str],
        world: World,
        corners_um: Sequence[tuple[float, float]] = (),
    ) -> None:
        self._viewer = viewer
        self._corners_um = np.asarray(corners_um, float).reshape(-1, 2)
        self._modalities = tuple(modalities)
        self._world = world
        self._layers: dict[str, Layer] = {}
        self._waiting: dict[str, NDArray[np.float32]] = {}
        self._um = 1.0
        self._columns: list[str] = []
        self._corner = (0.0, 0.0)

    @property
    def incomplete(self) -> bool:
        """Whether `add_next` has more to add."""
        return bool(self._waiting)

    def show(self, tiles: Sequence[ValidationTile]) -> None:
        """Show these windows, in the layers that are there or, the first time, in new ones."""
        columns = [c for c in COLUMNS if c != "before" or tiles[0].before is not None]
        if not self._columns:
            self._columns, self._um = columns, tiles[0].pixel_size_um
            self._make_room()
            self._waiting[HEADINGS] = np.zeros(0, np.float32)
            if len(self._corners_um):
                self._waiting[OUTLINES] = np.zeros(0, np.float32)
        for column in columns:
            picture = montage([getattr(tile, column) for tile in tiles])
            layer = self._layers.get(column)
            if layer is None:
                self._waiting[column] = picture
            elif layer in self._viewer.layers:
                layer.data = picture

    def add_next(self) -> None:
        """Add one layer, if there is one to add, and leave the selection as it is."""
        order = (*self._columns, HEADINGS, OUTLINES)
        column = next((c for c in order if c in self._waiting), None)
        if column is None:
            return
        picture = self._waiting.pop(column)
        layers = self._viewer.layers
        selected, active = set(layers.selection), layers.selection.active
        made_here = {HEADINGS: self._headings, OUTLINES: self._outlines}
        layer = made_here[column]() if column in made_here else self._image(column, picture)
        self._layers[column] = layer
        layers.append(layer)
        layers.selection.clear()
        layers.selection.update(selected)
        if active in layers:
            layers.selection.active = active
        if not self._waiting:
            self._viewer.reset_view()  # once: from now on the view is the analyst's

    def explain(self) -> str:
        """Say what the columns show, as far as their names do not tell."""
        target = self._modalities[2]
        meanings = {
            "truth": f"{target} as measured",
            "before": f"{target} as the base model predicts them",
            "now": f"{target} as the new model predicts them",
        }
        words = [f"<b>{c}</b>: {meanings[c]}" for c in self._columns if c in meanings]
        outlined = (
            [f"<b>{OUTLINES}</b>: where the model is scored"] if len(self._corners_um) else []
        )
        heading = "Validation layers: tissue that is not trained on"
        return "<br>".join([heading, *words, *outlined])

    def _make_room(self) -> None:
        for old in [layer for layer in self._viewer.layers if _is_table(layer)]:
            self._viewer.layers.remove(old)
        self._corner = self._corner_um(self._um)

    def _image(self, column: str, picture: NDArray[np.float32]) -> Layer:
        from napari.layers import Image

        top, left = self._corner
        step = (picture.shape[1] + GAP_PX) * self._um
        place = self._world.place(self._um, (top, left + self._columns.index(column) * step))
        return Image(
            picture,
            name=f"Validation {self._name(column)}",
            colormap=self._colormap(column),
            contrast_limits=(0.0, 1.0),
            metadata={RESULT_KEY: {"shows": TABLE, "column": column}},
            **place,
        )

    def _headings(self) -> Layer:
        from napari.layers import Points

        place = self._world.place(self._um, self._corner)
        width = self._layers[COLUMNS[0]].data.shape[1] + GAP_PX
        return Points(
            [(-1, k * width) for k in range(len(self._columns))],
            name=HEADINGS,
            size=1,
            face_color="transparent",
            border_color="transparent",
            features={"heading": [self._name(column) for column in self._columns]},
            text={
                "string": "{heading}",
                "size": TEXT_SIZE,
                "color": GREY,
                "anchor": "upper_left",
            },
            metadata={RESULT_KEY: {"shows": TABLE}},
            **place,
        )

    def _outlines(self) -> Layer:
        from napari.layers import Shapes

        place = self._world.place(self._um, (0.0, 0.0))
        square = np.array([(0, 0), (0, WINDOW_PX), (WINDOW_PX, WINDOW_PX), (WINDOW_PX, 0)])
        # Pixel centres stand on whole numbers, corners half a pixel before.
        corners = self._corners_um[:, None] / self._um + square - 0.5
        layer = Shapes(
            list(corners),
            shape_type="rectangle",
            name=OUTLINES,
            face_color="transparent",
            edge_color=OUTLINE_COLOUR,
            edge_width=OUTLINE_PX,
            metadata={RESULT_KEY: {"shows": TABLE}},
            **place,
        )
        layer.editable = False
        return layer

    def _corner_um(self, um: float) -> tuple[float, float]:
        """Return where the table begins: to the right of everything, level with its top."""
        ends = []
        for layer in self._viewer.layers:
            half = np.abs(layer.scale[-2:]) / 2  # the extent is that of pixel centres
            low, high = layer.extent.world[:, -2:] + [-half, half]
            if not np.isfinite([low, high]).all():
                continue  # an empty layer lies nowhere
            ratio = um_per(self._world, layer)
            ends.append((low[0] * ratio, high[1] * ratio))
        if not ends:
            return 0.0, 0.0
        return min(top for top, _ in ends), max(right for _, right in ends) + 3 * GAP_PX * um

    def _name(self, column: str) -> str:
        return dict(zip(COLUMNS, self._modalities[:2], strict=False)).get(column, column)

    def _colormap(self, column: str) -> str:
        name = self._name(column)
        return "inferno" if name == column else stain_colour(name)


def montage(images: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Put images of one width one below the other, with gaps of 0."""
    width = max(image.shape[1] for image in images)
    rows: list[NDArray[np.float32]] = []
    for image in images:
        padded = np.pad(image, ((0, GAP_PX), (0, width - image.shape[1])))
        rows.append(padded.astype(np.float32, copy=False))
    return np.concatenate(rows)[:-GAP_PX]


def _is_table(layer: Layer) -> bool:
    record = layer.metadata.get(RESULT_KEY)
    return isinstance(record, dict) and record.get("shows") == TABLE

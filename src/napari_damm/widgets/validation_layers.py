"""The layers that show what the model makes of tissue that it is not trained on.

1. One image layer each for primary, secondary, truth, before and now; in each, the validation
   windows stand one below the other. Side by side they make a table with a heading per column.
2. The table stands to the right of what the viewer shows, at the scale of the data.
3. Every validation only brings new pixels; what the analyst selected, hid, moved or removed stays
   so. The tables of an earlier training make room for the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.events import ValidationTile
from napari_damm.widgets.layer_slides import World, um_per
from napari_damm.widgets.roles import RESULT_KEY, stain_colour

if TYPE_CHECKING:
    from napari.layers import Layer

GAP_PX = 12
TEXT_SIZE = 9
TABLE = "validation"  # the value of metadata[RESULT_KEY]["shows"]
COLUMNS = ("primary", "secondary", "truth", "before", "now")
HEADINGS = "Validation headings"
GREY = "#9aa5b1"  # readable on a black canvas and on a white one


class ValidationLayers:
    """The table of one training in a viewer; whoever removes a layer simply sees less."""

    def __init__(self, viewer: Any, modalities: Sequence[str], world: World) -> None:
        self._viewer = viewer
        self._modalities = tuple(modalities)
        self._world = world
        self._layers: dict[str, Layer] = {}

    def show(self, tiles: Sequence[ValidationTile]) -> None:
        """Show these windows, in the layers that are there or, the first time, in new ones."""
        columns = [c for c in COLUMNS if c != "before" or tiles[0].before is not None]
        pictures = {c: montage([getattr(tile, c) for tile in tiles]) for c in columns}
        if not self._layers:
            self._add(pictures, tiles[0].pixel_size_um)
            return
        for column, picture in pictures.items():
            layer = self._layers.get(column)
            if layer is not None and layer in self._viewer.layers:
                layer.data = picture

    def explain(self) -> str:
        """Say what the columns show, as far as their names do not tell."""
        target = self._modalities[2]
        meanings = {
            "truth": f"{target} as measured",
            "before": f"{target} as the base model predicts them",
            "now": f"{target} as the new model predicts them",
        }
        words = [f"<b>{c}</b>: {meanings[c]}" for c in self._layers if c in meanings]
        return "<br>".join(["Validation layers: tissue that is not trained on", *words])

    def _add(self, pictures: dict[str, NDArray[np.float32]], um: float) -> None:
        from napari.layers import Image, Points

        layers = self._viewer.layers
        alone = len(layers) == 0
        selected, active = set(layers.selection), layers.selection.active
        for old in [layer for layer in layers if _is_table(layer)]:
            layers.remove(old)
        top, left = self._corner_um(um)
        step = (next(iter(pictures.values())).shape[1] + GAP_PX) * um
        for k, (column, picture) in enumerate(pictures.items()):
            place = self._world.place(um, (top, left + k * step))
            self._layers[column] = Image(
                picture,
                name=f"Validation {self._name(column)}",
                colormap=self._colormap(column),
                contrast_limits=(0.0, 1.0),
                metadata={RESULT_KEY: {"shows": TABLE, "column": column}},
                **place,
            )
            layers.append(self._layers[column])
        place = self._world.place(um, (top, left))
        width = step / um
        layers.append(
            Points(
                [(-GAP_PX / 2, k * width) for k in range(len(pictures))],
                name=HEADINGS,
                size=1,
                face_color="transparent",
                border_color="transparent",
                features={"heading": [self._name(column) for column in pictures]},
                text={
                    "string": "{heading}",
                    "size": TEXT_SIZE,
                    "color": GREY,
                    "anchor": "lower_left",
                },
                metadata={RESULT_KEY: {"shows": TABLE}},
                **place,
            )
        )
        layers.selection.clear()
        layers.selection.update(selected & set(layers))
        if active in layers:
            layers.selection.active = active
        if not alone:
            self._viewer.reset_view()

    def _corner_um(self, um: float) -> tuple[float, float]:
        """Return where the table begins: to the right of everything, level with its top."""
        ends = []
        for layer in self._viewer.layers:
            low, high = layer.extent.world[:, -2:]
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

"""The "Region" row: the whole image, or the part that a layer marks.

1. `LayerChoice` lists the layers that could mark a part. A choice stays, even if its layer goes:
   nobody who asked for a part gets the whole image unasked.
2. `RegionPicker` is that of Predict. Its button draws a rectangle around the current view. An
   unfinished result has its region already: the box then says so and cannot be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_damm.widgets.controls import button, data_box, refill, stack
from napari_damm.widgets.notes import Note
from napari_damm.widgets.viewer.camera import draw_view
from napari_damm.widgets.viewer.marked_region import layers_with_areas
from napari_damm.widgets.viewer.regions import (
    MarkedPart,
    region_of,
    region_of_record,
    region_words,
)
from napari_damm.widgets.viewer.roles import Channel

if TYPE_CHECKING:
    from napari.layers import Layer

WHOLE = "All"
BEGUN = "as it was begun"
WATCHED = frozenset(("inserted", "removed", "reordered", "renamed", "data", "highlight"))
HINT = (
    "To predict a part only, draw rectangles, polygons or ellipses in a Shapes layer, or paint a "
    "Labels layer, and pick it here"
)


class LayerChoice(QWidget):
    """Which part of the image is meant: all of it, or what one of the listed layers marks."""

    changed = Signal()

    def __init__(self, viewer: Any, listed: Callable[[Iterable[Layer]], list[Any]], hint: str):
        super().__init__()
        self._viewer = viewer
        self._listed = listed
        self._layers: list[Any] = []
        self._picked: Any = None
        self._box = data_box("region", self._offered, nothing=WHOLE)
        self._box.tooltip = hint
        self.note = Note("region_note")
        self.setLayout(stack(self._box.native, self.note))

        self._refill()

        # _refill() blocks this signal: whatever else moves the box is a person (or a script).
        self._box.changed.connect(self._choose)
        viewer.layers.events.connect(self._on_layers)

    def picked(self) -> Layer | None:
        """Return the picked layer, None for the whole image.

        Raises
        ------
        ValueError
            If that layer is gone, or no longer marks anything.
        """
        if self._lost:
            raise ValueError(
                f"'{self._picked.name}' marks no region any more: pick another, or {WHOLE}"
            )
        picked: Layer | None = self._picked
        return picked

    def pick(self, layer: Layer) -> None:
        """Pick a layer, as a person does."""
        self._picked = layer
        self._refill()
        self.changed.emit()

    @property
    def _lost(self) -> bool:
        return self._picked is not None and self._picked not in self._layers

    def _choose(self, layer: Layer | None) -> None:
        was_lost, self._picked = self._lost, layer
        if was_lost:
            self._refill()  # without the layer that is gone
        self.changed.emit()

    def _offered(self, _: object) -> list[tuple[str, Any]]:
        lost = [(f"{self._picked.name} (gone)", self._picked)] if self._lost else []
        return [(str(layer.name), layer) for layer in self._layers] + lost

    def _refill(self) -> None:
        self._layers = self._listed(self._viewer.layers)
        refill(self._box, self._picked)

    def _on_layers(self, event: Any) -> None:
        # The viewer may outlive the box by a moment while its window is torn down.
        if event.type not in WATCHED or not isalive(self):  # type: ignore[no-untyped-call]
            return
        offered = self._offered(None)
        self._layers = self._listed(self._viewer.layers)
        if self._offered(None) != offered or event.type == "renamed":
            self._refill()
        if self._picked is not None:
            self.changed.emit()


class RegionPicker(LayerChoice):
    """Which part of the image is predicted."""

    _begun: Mapping[str, Any] | None = None

    def __init__(self, viewer: Any) -> None:
        super().__init__(viewer, layers_with_areas, HINT)
        self.view_button = button("current_view", "◱", "Current view: take what the screen shows")
        self.view_button.setFixedWidth(28)
        row = QHBoxLayout()
        row.addWidget(self._box.native, 1)
        row.addWidget(self.view_button)
        column = self.layout()
        assert isinstance(column, QVBoxLayout)  # of LayerChoice
        column.insertLayout(0, row)
        self.view_button.clicked.connect(self._take_view)

    def region(self, vessels: Channel) -> MarkedPart | None:
        """Return the region in pixels of the vessels, None for the whole image.

        Raises
        ------
        ValueError
            If the layer is gone, or marks nothing of the image.
        """
        layer: Any = None if self._begun is not None else self.picked()
        return None if layer is None else region_of(layer, vessels, self._viewer.dims)

    @property
    def name(self) -> str | None:
        """What the picked layer is called; None for the whole image, or what was begun."""
        return None if self._begun is not None or self._picked is None else str(self._picked.name)

    def show_region(self, region: MarkedPart | None) -> None:
        """Say what the picked layer covers."""
        if self._begun is None:
            self.note.say(region_words(region))

    def begin_from(self, record: Mapping[str, Any] | None) -> None:
        """Take the region of an unfinished result that is to be resumed; None for none."""
        if record == self._begun:
            return
        self._begun = record
        words = "" if record is None else region_of_record(record)
        self._box.null_string = BEGUN if words else WHOLE
        self._box.enabled = record is None
        self.view_button.setEnabled(record is None)
        self._refill()
        self.note.say(words)

    def _take_view(self) -> None:
        self.pick(draw_view(self._viewer))

    def _refill(self) -> None:
        super()._refill()
        if self._begun is not None:
            refill(self._box, None)

"""The "Region" row: the whole image, or the part that a layer marks.

1. `LayerChoice` lists the layers that could mark a part. A choice stays, even if its layer goes:
   nobody who asked for a part gets the whole image unasked.
2. `RegionPicker` is about the rectangle of a Shapes layer, for Predict. An unfinished result has
   its region already: the box then says so and cannot be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QWidget

from napari_damm.widgets.controls import data_box, refill, stack
from napari_damm.widgets.notes import Note
from napari_damm.widgets.viewer.regions import Box, layers_with_rectangles, region_of, region_words
from napari_damm.widgets.viewer.roles import Channel

if TYPE_CHECKING:
    from napari.layers import Layer

WHOLE = "Whole image"
BEGUN = "as it was begun"
WATCHED = frozenset(("inserted", "removed", "reordered", "renamed", "data", "highlight"))
HINT = "To predict a part only, draw a rectangle in a Shapes layer and pick that layer here"


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
        super().__init__(viewer, layers_with_rectangles, HINT)

    def region(self, vessels: Channel) -> Box | None:
        """Return the region in pixels of the vessels, None for the whole image.

        Raises
        ------
        ValueError
            If the rectangle is gone, or lies outside the image.
        """
        layer: Any = None if self._begun is not None else self.picked()
        return None if layer is None else region_of(layer, vessels)

    def show_region(self, region: Box | None) -> None:
        """Say what the picked rectangle covers."""
        if self._begun is None:
            self.note.say("" if region is None else region_words(region))

    def begin_from(self, record: Mapping[str, Any] | None) -> None:
        """Take the region of an unfinished result that is to be resumed; None for none."""
        if (record is None) == (self._begun is None):
            return
        self._begun = record
        region = None if record is None else record.get("roi")
        self._box.null_string = WHOLE if region is None else BEGUN
        self._box.enabled = record is None
        self._refill()
        self.note.say("" if region is None else region_words(tuple(region)))

    def _refill(self) -> None:
        super()._refill()
        if self._begun is not None:
            refill(self._box, None)

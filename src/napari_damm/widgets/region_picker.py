"""The "Region" row: the whole image, or the part that a layer marks.

1. `LayerChoice` lists the layers that could mark a part; a choice stays as long as its layer does.
2. `RegionPicker` is about the rectangle of a Shapes layer, for Predict. An unfinished result has
   its region already: the box then says so and cannot be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

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
        self.box = QComboBox()
        self.box.setObjectName("region")
        self.box.setToolTip(hint)
        self.note = Note("region_note")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.box)
        column.addWidget(self.note)

        self._refill()

        # _refill() blocks this signal: whatever else moves the box is a person (or a script).
        self.box.currentIndexChanged.connect(self._choose)
        viewer.layers.events.connect(self._on_layers)

    @property
    def picked(self) -> Any:
        """The picked layer, None for the whole image."""
        return self._picked

    def _choose(self, index: int) -> None:
        self._picked = self._layers[index - 1] if 0 < index <= len(self._layers) else None
        self.changed.emit()

    def _refill(self) -> None:
        self._layers = self._listed(self._viewer.layers)
        with QSignalBlocker(self.box):
            self.box.clear()
            self.box.addItem(WHOLE)
            self.box.addItems([str(layer.name) for layer in self._layers])
            if self._picked in self._layers:
                self.box.setCurrentIndex(1 + self._layers.index(self._picked))
            else:
                self._picked = None

    def _on_layers(self, event: Any) -> None:
        # The viewer may outlive the box by a moment while its window is torn down.
        if event.type not in WATCHED or not isalive(self):  # type: ignore[no-untyped-call]
            return
        names = [layer.name for layer in self._listed(self._viewer.layers)]
        listed = [self.box.itemText(row) for row in range(1, self.box.count())]
        picked_before = self._picked
        if names != listed:
            self._refill()
        if picked_before is not None:
            self.changed.emit()


class RegionPicker(LayerChoice):
    """Which part of the image is predicted."""

    def __init__(self, viewer: Any) -> None:
        self._begun: Mapping[str, Any] | None = None
        super().__init__(viewer, layers_with_rectangles, HINT)

    def region(self, vessels: Channel) -> Box | None:
        """Return the region in pixels of the vessels, None for the whole image.

        Raises
        ------
        ValueError
            If the rectangle is gone, or lies outside the image.
        """
        if self._begun is not None or self._picked is None:
            return None
        return region_of(self._picked, vessels)

    def show_region(self, region: Box | None) -> None:
        """Say what the picked rectangle covers."""
        if self._begun is None:
            self.note.say("" if region is None else region_words(region))

    def begin_from(self, record: Mapping[str, Any] | None) -> None:
        """Take the region of an unfinished result that is to be resumed; None for none."""
        if (record is None) == (self._begun is None):
            return
        self._begun = record
        self._refill()
        region = None if record is None else record.get("roi")
        self.note.say("" if region is None else region_words(tuple(region)))

    def _refill(self) -> None:
        super()._refill()
        with QSignalBlocker(self.box):
            if self._begun is not None and self._begun.get("roi"):
                self.box.insertItem(0, BEGUN)
                self.box.setCurrentIndex(0)
            self.box.setEnabled(self._begun is None)

    def _on_layers(self, event: Any) -> None:
        if self._begun is None:
            super()._on_layers(event)

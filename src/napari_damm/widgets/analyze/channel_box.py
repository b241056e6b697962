"""A combo box for one image, which follows the viewer's layers.

Predicted maps are offered as particles, Labels layers as vessels or nuclei. Where several sections
are open, vessels and nuclei of a predicted map are those that it was predicted from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_damm.widgets.controls import choice
from napari_damm.widgets.role_pickers import WATCHED
from napari_damm.widgets.viewer.result_maps import MAP, NP, PARTIAL
from napari_damm.widgets.viewer.roles import (
    NUCLEI,
    RESULT_KEY,
    RGB_NAMES,
    TARGET,
    VESSELS,
    Channel,
    channels_of,
    guess,
)
from napari_damm.widgets.viewer.run_notes import notes_of, record_of

if TYPE_CHECKING:
    from napari.layers import Layer

NONE = "none"
ROLES = {"particles": TARGET, "vessels": VESSELS, "nuclei": NUCLEI, "imaged": TARGET}
DRAWABLE = ("vessels", "nuclei")
MAP_LAYER = "np"
"""What begins the name of a layer with a predicted map, in lower case."""


class ChannelBox(QWidget):
    """Picks an image for a role: the one with a usual name, until somebody chooses another."""

    changed = Signal()

    def __init__(
        self,
        viewer: Any,
        role: str,
        hint: str,
        optional: bool = False,
        particles: ChannelBox | None = None,
    ) -> None:
        super().__init__()
        self._viewer, self._role, self._optional = viewer, role, optional
        self._particles = particles
        self._of_last_map: Channel | None = None
        self._channels: list[Channel] = []
        self._by_hand: Channel | None = None
        self._none_by_hand = False
        self._state: tuple[object, ...] = ()
        self.box = choice(role)
        self.box.setToolTip(hint)
        self.box.setPlaceholderText("pick a layer")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.box)

        self._refill()

        # _refill() blocks this signal: whatever else moves the box is a person (or a script).
        self.box.currentIndexChanged.connect(self._choose)
        viewer.layers.events.connect(self._on_layers)
        if particles is not None:
            particles.changed.connect(self._refill)

    @property
    def picked(self) -> Channel | None:
        """The image picked, if any."""
        index = self.box.currentIndex() - int(self._optional)
        return self._channels[index] if 0 <= index < len(self._channels) else None

    def _refill(self) -> None:
        self._channels = channels_of(self._viewer.layers)
        if self._role == "particles":
            self._channels += list(maps_of(self._viewer.layers))
        if self._role in DRAWABLE:
            self._channels += list(drawn_in(self._viewer.layers))
        found = self._by_hand
        if found not in self._channels:
            found = self._by_hand = None
            found = None if self._none_by_hand else self._guess()
        with QSignalBlocker(self.box):
            self.box.clear()
            self.box.addItems([NONE] * self._optional + [c.label for c in self._channels])
            row = -1 if found is None else self._channels.index(found)
            self.box.setCurrentIndex(row + int(self._optional))
        state = _state(self.picked)
        if state != self._state:
            self._state = state
            self.changed.emit()

    def _guess(self) -> Channel | None:
        if self._role == "particles":
            maps = [c for c in self._channels if RESULT_KEY in c.layer.metadata]
            whole = [c for c in maps if not PARTIAL.search(str(c.layer.name))]
            if whole or maps:
                return (whole or maps)[-1]  # the newest
        if self._role == "imaged":
            return None  # nobody is compared with unasked
        role = ROLES[self._role]
        others = [other for other in ROLES.values() if other is not role]
        images = [c for c in self._channels if not is_drawn(c)]
        drawn = [c for c in self._channels if is_drawn(c)]
        of_map, certain = self._of_map(images)
        if certain:
            self._of_last_map = of_map[0]
            return of_map[0]
        found = guess(role, others, of_map or images) or guess(role, others, drawn)
        # Its vessels are those of the imaged particles as well, where no name speaks for others.
        return found or (self._of_last_map if self._of_last_map in images else None)

    def _of_map(self, images: Sequence[Channel]) -> tuple[list[Channel], bool]:
        """Return the images that the picked map may be predicted from, and whether it is one."""
        picked = None if self._particles is None else self._particles.picked
        if picked is None:
            return [], False
        source = notes_of(picked.layer).inputs.get(self._role)
        if source is not None:
            found = [c for c in images if source.is_of(c)]
            return found, len(found) == 1
        known = (record_of(picked.layer) or {}).get("input") or {}
        entries = [known.get(role) or {} for role in DRAWABLE]
        entry = known.get(self._role) or {}
        same_file = [c for c in images if _is_same(c.layer.source.path, entry.get("path"))]
        called = str(entry.get("channel", "")).casefold()
        named = [c for c in same_file if _channel_name(c).casefold() == called]
        if len(named) == 1:
            return named, True
        alone = entries[0].get("path") != entries[1].get("path")
        return same_file, alone and len(same_file) == 1

    def _choose(self, index: int) -> None:
        self._by_hand = self.picked
        self._none_by_hand = self.picked is None
        self._state = _state(self.picked)
        self.changed.emit()

    def _on_layers(self, event: Any) -> None:
        # The viewer may outlive the box by a moment while its window is torn down.
        if event.type in WATCHED and isalive(self):  # type: ignore[no-untyped-call]
            self._refill()


def _state(channel: Channel | None) -> tuple[object, ...]:
    """Return what matters of a picked channel: which it is, and where it lies."""
    if channel is None:
        return ()
    layer = channel.layer
    place = tuple(layer.scale), tuple(layer.translate), tuple(map(str, layer.units))
    return channel, repr(layer.extent.data), *place


def _is_same(path: str | None, other: str | None) -> bool:
    return None not in (path, other) and Path(str(path)).absolute() == Path(str(other)).absolute()


def _channel_name(channel: Channel) -> str:
    """Return what a file calls a channel, as its layer is called by readers: "CD31 [1]"."""
    if channel.rgb is not None:
        return RGB_NAMES[channel.rgb]
    return re.sub(r" \[\d+\]$", "", str(channel.layer.name))


def is_drawn(channel: Channel) -> bool:
    """Tell whether a channel is a Labels layer."""
    from napari.layers import Labels

    return isinstance(channel.layer, Labels)


def drawn_in(layers: Iterable[Layer]) -> Iterable[Channel]:
    """Yield the Labels layers, but those of results."""
    from napari.layers import Labels

    for layer in layers:
        if isinstance(layer, Labels) and RESULT_KEY not in layer.metadata:
            yield Channel(layer, (0,) * (layer.ndim - 2))


def maps_of(layers: Iterable[Layer]) -> Iterable[Channel]:
    """Yield the predicted particle maps among layers, not their uncertainty or spread."""
    from napari.layers import Image

    for layer in layers:
        words = str(layer.name).lower().split()
        is_map = bool(words) and words[0] == MAP_LAYER and "std" not in words
        is_map &= layer.metadata.get(MAP, NP) == NP  # none of those that were made of it
        if isinstance(layer, Image) and RESULT_KEY in layer.metadata and is_map:
            yield Channel(layer)

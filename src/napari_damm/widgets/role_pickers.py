"""Combo boxes, one per role, that follow the viewer's layers.

1. Whatever happens to a layer that could matter (added, removed, renamed, rescaled, recoloured)
   fills all boxes anew.
2. A choice made by hand stays as long as its channel exists; any other role is guessed again, so
   the boxes follow what is opened until the analyst decides.
3. The swap button exchanges the first two, and counts as a choice by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QComboBox

from napari_damm.widgets.controls import button, data_box, refill
from napari_damm.widgets.viewer.roles import Channel, channels_of, guess, roles_of

LISTED = ("inserted", "removed", "reordered", "renamed")
PLACED = ("data", "units", "scale", "translate", "rotate", "shear", "affine", "axis_labels")
WATCHED = frozenset((*LISTED, *PLACED, "colormap"))


class RolePickers(QObject):
    """The pickers for two or three roles and the button that swaps the first two.

    `names` are the objectNames of the boxes: primary, secondary and, where asked for, target.
    """

    changed = Signal()

    def __init__(
        self, viewer: Any, parent: QObject, names: Sequence[str] = ("vessels", "nuclei")
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._roles = roles_of(names)
        self._channels: list[Channel] = []
        self._by_hand: list[Channel | None] = [None] * len(names)
        self._boxes = [data_box(name, self._offered) for name in names]
        for qt_box in self.boxes:
            qt_box.setPlaceholderText("pick a layer")
        self.swap = button("swap", "⇅", "Swap the two channels")
        self.swap.setFixedWidth(28)

        self.refill()

        for role, box in enumerate(self._boxes):
            # refill() blocks this signal: whatever else moves a box is a person (or a script).
            box.changed.connect(partial(self._choose, role))
        self.swap.clicked.connect(self._swap)
        viewer.layers.events.connect(self._on_layers)

    @property
    def boxes(self) -> tuple[QComboBox, ...]:
        """The boxes as Qt knows them, in the order of the roles."""
        return tuple(box.native for box in self._boxes)

    @property
    def empty(self) -> bool:
        """Whether the viewer has no image at all."""
        return not self._channels

    @property
    def picked(self) -> tuple[Channel | None, ...]:
        """The channels picked for the primary role, the secondary one, and so on."""
        return tuple(box.value for box in self._boxes)

    def set_modalities(self, modalities: Sequence[str]) -> None:
        """Guess by the names on the card of another model from now on."""
        self._roles = roles_of(modalities[: len(self._boxes)])
        self.refill()

    def refill(self) -> None:
        """List the channels that there are now, and keep or guess every choice."""
        self._channels = channels_of(self._viewer.layers)
        for role, box in enumerate(self._boxes):
            channel = self._by_hand[role]
            if channel not in self._channels:
                channel = self._guess(role)
                self._by_hand[role] = None
            refill(box, channel)
        self.changed.emit()

    def _offered(self, _: object) -> list[tuple[str, Channel]]:
        return [(channel.label, channel) for channel in self._channels]

    def _guess(self, role: int) -> Channel | None:
        """Guess a role's channel, unless that was picked for another role."""
        others = [other for i, other in enumerate(self._roles) if i != role]
        found = guess(self._roles[role], others, self._channels)
        taken = [channel for i, channel in enumerate(self._by_hand) if i != role]
        return None if found in taken else found

    def _on_layers(self, event: Any) -> None:
        # The viewer may outlive the boxes by a moment while its window is torn down.
        if event.type in WATCHED and isalive(self):  # type: ignore[no-untyped-call]
            self.refill()

    def _choose(self, role: int, channel: Channel) -> None:
        self._by_hand[role] = channel
        box = self.boxes[role]
        box.setToolTip(box.currentText())
        self.changed.emit()

    def _swap(self) -> None:
        primary, secondary, *others = self.picked
        self._by_hand = [secondary, primary, *others]
        self.refill()

"""The layers of one section: which plays which role, how large its pixels, which part of it.

1. One picker per role, which follow the viewer's layers (`role_pickers`).
2. The pixel size of the first, as its layer states it or as somebody enters it.
3. Of a stack, the plane that the sliders show: a note says which.
4. The region: all of the image, or what a layer marks (`region_picker`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_damm.widgets.controls import capital, rows, stack
from napari_damm.widgets.notes import Note
from napari_damm.widgets.number_boxes import AHEAD, PixelSizeBox, meant, show_origin
from napari_damm.widgets.region_picker import LayerChoice
from napari_damm.widgets.role_pickers import RolePickers
from napari_damm.widgets.viewer.layer_slides import SlideRequest, request_channels
from napari_damm.widgets.viewer.pixel_sizes import PixelSizes
from napari_damm.widgets.viewer.roles import Channel
from napari_damm.widgets.viewer.slices import shown_plane, stack_axes

SAMPLE = "try File > Open Sample > Simulated tumour section"


class SectionPicker(QWidget):
    """The pickers for two or three roles, their pixel size and the region.

    `roles` are the objectNames of the pickers, with what a role is for.
    """

    changed = Signal()

    def __init__(self, viewer: Any, roles: dict[str, str], region: LayerChoice) -> None:
        super().__init__()
        self._viewer = viewer
        self._meanings = tuple(roles.values())
        self._sizes = PixelSizes()
        self._pickers = RolePickers(viewer, self, tuple(roles))
        self._labels = [QLabel() for _ in roles]
        for label, name in zip(self._labels, roles, strict=True):
            label.setObjectName(f"{name}_label")
        self.pixel_size, self._size_note = PixelSizeBox(), Note("pixel_size_note")
        self._plane_note = Note("plane_note")
        self.region = region
        self._lay_out()

        self._show_place()

        self._pickers.changed.connect(self._on_change)
        self.region.changed.connect(self.changed)
        self.pixel_size.entered.connect(self._on_pixel_size)
        for moved in (viewer.dims.events.point, viewer.dims.events.ndisplay):
            moved.connect(self._on_dims)

    def _lay_out(self) -> None:
        form = rows()
        first, second, *others = self._pickers.boxes
        with_swap = QHBoxLayout()
        with_swap.addWidget(second, 1)
        with_swap.addWidget(self._pickers.swap)
        form.addRow(self._labels[0], first)
        form.addRow(self._labels[1], with_swap)
        for label, box in zip(self._labels[2:], others, strict=True):
            form.addRow(label, box)
        form.addRow(self._plane_note)
        form.addRow("Pixel size", stack(self.pixel_size, self._size_note))
        form.addRow("Region", self.region)
        self.setLayout(form)

    def set_modalities(self, modalities: Sequence[str]) -> None:
        """Name the roles, and guess their layers by these names from now on."""
        for label, name, meaning in zip(self._labels, modalities, self._meanings, strict=False):
            label.setText(capital(name))
            label.setToolTip(f"{name}: {meaning}")
        self.pixel_size.setToolTip(f"Width of one pixel of the {modalities[0]} layer")
        self._pickers.set_modalities(modalities)

    @property
    def primary(self) -> Channel | None:
        """The channel picked for the first role."""
        return self._pickers.picked[0]

    @property
    def shown(self) -> tuple[object, ...]:
        """What tells the planes that are picked and shown from others.

        Raises
        ------
        ValueError
            If the viewer shows no single plane of one of them.
        """
        planes = [shown_plane(c, self._viewer.dims)[0] for c in self._pickers.picked if c]
        return tuple((id(plane.layer.data), plane) for plane in planes)

    def request(self, roles: Sequence[str], modalities: Sequence[str], empty: str) -> SlideRequest:
        """Resolve the picked channels to planes that lie in one world, by the engine's `roles`.

        `empty` is what to do where the viewer shows nothing.

        Raises
        ------
        ValueError
            In one sentence, why they cannot be used.
        """
        if self._pickers.empty:
            raise ValueError(empty)
        shown, titles, words = {}, {}, ""
        for role, name, channel in zip(roles, modalities, self._pickers.picked, strict=False):
            if channel is None:
                raise ValueError(f"Pick a {name} layer")
            shown[role], plane = shown_plane(channel, self._viewer.dims)
            titles[role] = f"{channel.label}, {plane}" if plane else channel.label
            words = words or plane
        size, _ = self._size_of(self.primary)
        request = request_channels(shown, size or 0.0, modalities)
        return replace(request, plane=words, titles=titles)

    @property
    def size_is_meant(self) -> bool:
        """Whether the pixel size is believed, or somebody says now that it is meant."""
        size, _ = self._size_of(self.primary)
        return meant(self, size or 0.0)

    def _size_of(self, channel: Channel | None) -> tuple[float | None, str]:
        if channel is not None:
            with suppress(ValueError):  # request() says it
                return self._sizes.of(channel)
        return self._sizes.ahead, AHEAD if self._sizes.ahead else ""

    def _show_place(self) -> None:
        size, origin = self._size_of(self.primary)
        self.pixel_size.show_size(size or 0.0)
        show_origin(self._size_note, size or 0.0, origin)
        planes = []
        with suppress(ValueError):  # request() says it
            picked = filter(None, self._pickers.picked)
            planes = [shown_plane(channel, self._viewer.dims)[1] for channel in picked]
        plane = next(filter(None, planes), "")
        self._plane_note.say(f"the shown slice: {plane}" if plane else "")

    def _on_change(self) -> None:
        self._show_place()
        self.changed.emit()

    def _on_pixel_size(self, value: float) -> None:
        primary, *others = self._pickers.picked
        if primary is None:
            self._sizes.ahead = value
            self._on_change()
            return
        for other in others:
            with suppress(ValueError):  # request() says it
                self._sizes.enter(primary, value, beside=other)
        if not self.pixel_size.typing:
            with suppress(ValueError):
                self._sizes.give(value, [primary, *filter(None, others)])
        self._on_change()

    def _on_dims(self, event: Any) -> None:
        # The viewer may outlive the widget by a moment while its window is torn down.
        if isalive(self) and any(  # type: ignore[no-untyped-call]
            channel and stack_axes(channel) for channel in self._pickers.picked
        ):
            self._on_change()

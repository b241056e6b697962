"""Three open layers to train on: which plays which role, how large its pixels, which part of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_damm.widgets.controls import PixelSizeBox, capital, rows, stack
from napari_damm.widgets.notes import Note
from napari_damm.widgets.region_picker import LayerChoice
from napari_damm.widgets.role_pickers import RolePickers
from napari_damm.widgets.train.request import LayerData
from napari_damm.widgets.viewer.layer_slides import request_channels
from napari_damm.widgets.viewer.marked_region import HINT, layers_with_areas, marked_by
from napari_damm.widgets.viewer.pixel_sizes import PixelSizes
from napari_damm.widgets.viewer.roles import Channel
from napari_damm.widgets.viewer.slices import shown_plane, stack_axes

ROLES = ("primary", "secondary", "target")
NAMES = ("vessels", "nuclei", "target")
SAMPLE = "try File > Open Sample > Simulated tumour section"
PARTS = ("what the model predicts from", "what the model predicts from", "what it is to predict")


class LayerPicker(QWidget):
    """The pickers for the three roles, their pixel size and the region."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._sizes = PixelSizes()
        self._pickers = RolePickers(viewer, self, NAMES)
        self._labels = [QLabel() for _ in ROLES]
        for label, name in zip(self._labels, NAMES, strict=True):
            label.setObjectName(f"{name}_label")
        self.pixel_size, self._size_note = PixelSizeBox(), Note("pixel_size_note")
        self._plane_note = Note("plane_note")
        self._region = LayerChoice(viewer, layers_with_areas, HINT)
        self._lay_out()

        self._show_size()

        self._pickers.changed.connect(self._on_change)
        self._region.changed.connect(self.changed)
        self.pixel_size.valueChanged.connect(self._on_pixel_size)
        for moved in (viewer.dims.events.point, viewer.dims.events.ndisplay):
            moved.connect(self._on_dims)

    def _lay_out(self) -> None:
        form = rows()
        first, second, third = self._pickers.boxes
        with_swap = QHBoxLayout()
        with_swap.addWidget(second, 1)
        with_swap.addWidget(self._pickers.swap)
        form.addRow(self._labels[0], first)
        form.addRow(self._labels[1], with_swap)
        form.addRow(self._labels[2], third)
        form.addRow(self._plane_note)
        form.addRow("Pixel size", stack(self.pixel_size, self._size_note))
        form.addRow("Region", self._region)
        self.setLayout(form)

    def set_modalities(self, modalities: Sequence[str]) -> None:
        """Name the roles, and guess their layers by these names from now on."""
        for label, name, part in zip(self._labels, modalities, PARTS, strict=True):
            label.setText(capital(name))
            label.setToolTip(f"{name}: {part}")
        self.pixel_size.setToolTip(f"Width of one pixel of the {modalities[0]} layer")
        self._pickers.set_modalities(modalities)

    def chosen(self, modalities: Sequence[str]) -> LayerData:
        """Resolve what is picked.

        Raises
        ------
        ValueError
            In one sentence, why it cannot be trained on.
        """
        if self._pickers.empty:
            raise ValueError(f"Open images first, or {SAMPLE}, or choose Folders")
        shown, words = {}, ""
        for role, name, channel in zip(ROLES, modalities, self._pickers.picked, strict=True):
            if channel is None:
                raise ValueError(f"Pick a {name} layer")
            shown[role], plane = shown_plane(channel, self._viewer.dims)
            words = words or plane
        size, _ = self._size_of(self._primary)
        slide = replace(request_channels(shown, size or 0.0, modalities), plane=words)
        layer = self._region.picked
        if layer is None:
            return LayerData(slide)
        primary = shown["primary"]
        return LayerData(slide, marked_by(layer, primary, slide.world, self._viewer.dims))

    @property
    def _primary(self) -> Channel | None:
        return self._pickers.picked[0]

    def _size_of(self, channel: Channel | None) -> tuple[float | None, str]:
        if channel is not None:
            with suppress(ValueError):  # chosen() says it
                return self._sizes.of(channel)
        return None, ""

    def _show_size(self) -> None:
        size, origin = self._size_of(self._primary)
        with QSignalBlocker(self.pixel_size):
            self.pixel_size.setValue(size or 0.0)
        self._size_note.say(origin)
        plane = ""
        with suppress(ValueError):
            if self._primary is not None:
                _, plane = shown_plane(self._primary, self._viewer.dims)
        self._plane_note.say(f"the shown slice: {plane}" if plane else "")

    def _on_change(self) -> None:
        self._show_size()
        self.changed.emit()

    def _on_pixel_size(self, value: float) -> None:
        primary, *others = self._pickers.picked
        if primary is not None:
            for other in others:
                with suppress(ValueError):  # chosen() says it
                    self._sizes.enter(primary, value, beside=other)
        self._on_change()

    def _on_dims(self, event: Any) -> None:
        # The viewer may outlive the widget by a moment while its window is torn down.
        if isalive(self) and any(  # type: ignore[no-untyped-call]
            channel and stack_axes(channel) for channel in self._pickers.picked
        ):
            self._on_change()

"""How large a pixel is: as the layer states it, unless the analyst entered something else.

An entry belongs to the layer as it was measured then: give the layer a scale or a unit, and what
it states counts again. An entry for the vessels also fixes the nuclei shown beside them, so that
swapping the two does not ask again.

napari aligns pixels with micrometers by number, so a layer in pixels lies wrongly beside one with a
length. An entry for the former is given to the layer itself: then both lie where they belong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_damm.widgets.viewer.layer_slides import Grid, grid_of, stated_pixel_size, units_ratio
from napari_damm.widgets.viewer.roles import Channel

if TYPE_CHECKING:
    from napari.layers import Layer


class PixelSizes:
    """Remembers what was entered, per layer."""

    def __init__(self) -> None:
        self._entries: dict[object, tuple[float, str, float]] = {}
        self._given: set[object] = set()
        self.ahead = 0.0
        """What was entered before a layer was picked: for one that states none."""

    def enter(self, channel: Channel, size_um: float, beside: Channel | None = None) -> None:
        """Note the pixel size of a channel's layer; 0 takes an earlier entry back.

        Raises
        ------
        ValueError
            If either channel's pixels lie on no usable grid.
        """
        grid = grid_of(channel)
        self._set(channel, grid, size_um)
        if beside is not None and beside.layer is not channel.layer:
            other = grid_of(beside)
            self._set(beside, other, size_um * other.side * units_ratio(grid, other) / grid.side)

    def of(self, channel: Channel) -> tuple[float | None, str]:
        """Return um per pixel, or None where nobody said, and where it comes from.

        Raises
        ------
        ValueError
            If the channel's pixels lie on no usable grid.
        """
        grid = grid_of(channel)
        side, unit, size_um = self._entries.get(channel.layer.unique_id, (0.0, "", 0.0))
        stated = stated_pixel_size(grid)
        if (side, unit) == (grid.side, grid.unit):
            return size_um, _by_hand(size_um, stated if grid.um_per_unit else None)
        if stated is None:
            self._set(channel, grid, self.ahead)
            size_um, self.ahead = self.ahead, 0.0
            return (size_um, "entered by hand") if size_um else (None, "")
        self.ahead = 0.0
        if channel.layer.unique_id in self._given:
            return stated, "entered by hand, and given to the layer"
        return stated, "from the layer" if grid.um_per_unit else "the layer's scale, taken as µm"

    def give(self, size_um: float, channels: Sequence[Channel]) -> str:
        """Have layers in pixels lie beside those with a length; say which were given the size.

        `size_um` is that of the first channel. Of those in its unit all are scaled alike.
        """
        first = grid_of(channels[0])
        lengths = [c for c in channels[1:] if grid_of(c).um_per_unit is not None]
        key = channels[0].layer.unique_id
        if not size_um > 0 or not lengths or not (first.um_per_unit is None or key in self._given):
            return ""
        layers = {
            c.layer.unique_id: c.layer
            for c in channels
            if grid_of(c).um_per_unit is None or c.layer.unique_id in self._given
        }
        factor = size_um / first.side
        for key, layer in layers.items():
            self._given.add(key)
            self._entries.pop(key, None)
            _measure_in_um(layer, factor)
        return " and ".join(f"'{layer.name}'" for layer in layers.values())

    def _set(self, channel: Channel, grid: Grid, size_um: float) -> None:
        key = channel.layer.unique_id
        if size_um > 0:
            self._entries[key] = (grid.side, grid.unit, size_um)
        else:
            self._entries.pop(key, None)


def _by_hand(size_um: float, stated: float | None) -> str:
    if stated is None or math.isclose(stated, size_um, rel_tol=0.01):
        return "entered by hand"
    return f"entered by hand; the layer states {stated:g} µm"


def _measure_in_um(layer: Layer, factor: float) -> None:
    """Scale the plane of a layer about the world's corner, in um from now on."""
    axes = [1.0] * (layer.ndim - 2) + [factor] * 2
    units = (*layer.units[:-2], "um", "um")
    layer.translate = [a * b for a, b in zip(layer.translate, axes, strict=True)]
    layer.scale = [a * b for a, b in zip(layer.scale, axes, strict=True)]
    layer.units = units

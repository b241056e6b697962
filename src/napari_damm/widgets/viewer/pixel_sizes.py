"""How large a pixel is: as the layer states it, unless the analyst entered something else.

An entry belongs to the layer as it was measured then: give the layer a scale or a unit, and what
it states counts again. An entry for the vessels also fixes the nuclei shown beside them, so that
swapping the two does not ask again.
"""

from __future__ import annotations

from napari_damm.widgets.viewer.layer_slides import Grid, grid_of, stated_pixel_size, units_ratio
from napari_damm.widgets.viewer.roles import Channel


class PixelSizes:
    """Remembers what was entered, per layer."""

    def __init__(self) -> None:
        self._entries: dict[object, tuple[float, str, float]] = {}

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
        if (side, unit) == (grid.side, grid.unit):
            return size_um, "entered by hand"
        stated = stated_pixel_size(grid)
        if stated is None:
            return None, ""
        return stated, "from the layer" if grid.um_per_unit else "the layer's scale, taken as µm"

    def _set(self, channel: Channel, grid: Grid, size_um: float) -> None:
        key = channel.layer.unique_id
        if size_um > 0:
            self._entries[key] = (grid.side, grid.unit, size_um)
        else:
            self._entries.pop(key, None)

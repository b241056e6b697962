"""The part of a section that a preview shows: the middle of one window, nearest the view's centre.

1. Windows of 256 model pixels begin at multiples of 192; where no other reaches, 128 are left.
2. Only that window is computed for it, and what it shows is what the whole prediction will show.
"""

from __future__ import annotations

from collections.abc import Sequence

from napari_damm.util.tiling import STRIDE, WINDOW
from napari_damm.widgets.viewer.layer_slides import grid_of
from napari_damm.widgets.viewer.regions import Box
from napari_damm.widgets.viewer.roles import Channel

OVERLAP = WINDOW - STRIDE


def place_in(vessels: Channel, centre: Sequence[float]) -> tuple[float, float]:
    """Return a place in the world, such as the centre of the view, in pixels (y, x) of vessels."""
    grid = grid_of(vessels)
    y, x = (
        (float(at) - corner) / grid.side
        for at, corner in zip(centre[-2:], grid.corner, strict=True)
    )
    return y, x


def preview_box(
    vessels: Channel, pixel_size_um: float, model_um: float, centre: Sequence[float]
) -> Box:
    """Return the box to preview, in vessel pixels, nearest a place (y, x) in the world."""
    grid = grid_of(vessels)
    factor = pixel_size_um / model_um
    sides = []
    for k in (0, 1):
        size = grid.shape[k] * factor
        last = max(0, -(-int(size - WINDOW) // STRIDE))
        at = (centre[k] - grid.corner[k]) / grid.side * factor
        window = min(max(round((at - WINDOW / 2) / STRIDE), 0), last)
        low = window * STRIDE + OVERLAP
        high = min(low + WINDOW - 2 * OVERLAP, size)
        if low >= high:  # a section that is hardly larger than the overlap
            low, high = 0, size
        sides.append((low / factor, high / factor))
    (y0, y1), (x0, x1) = sides
    return y0, x0, y1, x1

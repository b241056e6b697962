"""How large the pixels are beside a predicted map: it remembers that, and takes no other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from napari_damm.widgets.viewer.layer_slides import SlideRequest, grid_of, units_ratio
from napari_damm.widgets.viewer.roles import Channel
from napari_damm.widgets.viewer.run_notes import record_of

PREDICTED = "as it was predicted"
SAME_SIZE = 1e-3
"""Relative: sizes are entered and written with a few digits."""


def predicted_size(vessels: Channel, particles: Channel | None) -> float | None:
    """Return um per pixel of the vessels by the map beside them; None where it does not say."""
    record = None if particles is None else record_of(particles.layer)
    map_um = _map_um(record or {})
    if particles is None or map_um is None:
        return None
    with suppress(ValueError):  # whoever measures them is told
        grid, map_grid = grid_of(vessels), grid_of(particles)
        return map_um * grid.side / (map_grid.side * units_ratio(grid, map_grid))
    return None


def check_finished(particles: Channel) -> None:
    """Refuse a map that is not finished.

    Raises
    ------
    ValueError
        Saying so.
    """
    record = record_of(particles.layer)
    if record is not None and not record.get("finished"):
        raise ValueError(f"{particles.layer.name} is not finished: let Predict go to its end")


def check_size(particles: Channel, slide: SlideRequest) -> None:
    """Refuse to measure a map on another scale than it was predicted on.

    Raises
    ------
    ValueError
        With the pixel size at which it was predicted.
    """
    map_um = _map_um(record_of(particles.layer) or {})
    if map_um is None:
        return
    given = slide.pixel_sizes_um["vessels"]
    right = given * map_um / slide.pixel_sizes_um["particles"]
    if not math.isclose(given, right, rel_tol=SAME_SIZE):
        raise ValueError(
            f"{particles.layer.name} was predicted where a pixel of the vessels layer is "
            f"{right:.4g} µm, not {given:.4g} µm: enter {right:.4g}, or predict it again"
        )


def _map_um(record: Mapping[str, Any]) -> float | None:
    um = record.get("pixel_size_um")
    return float(um) if isinstance(um, int | float) and um > 0 else None

"""Some windows of tissue of what is judged or learnt from: enough to see what images are like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_damm.dataset import Field
from napari_damm.dataset.patches import corners_inside
from napari_damm.util.tiling import CELL, WINDOW, Box

MOST_WINDOWS = 16


def some_windows(fields: Sequence[Field]) -> list[tuple[Field, Box]]:
    """Return some windows of tissue, spread over the sections; none where these are small."""
    boxes = [(field, box) for field in fields for box in _windows(field)]
    if not boxes:
        return []
    kept = np.linspace(0, len(boxes) - 1, min(MOST_WINDOWS, len(boxes))).round().astype(int)
    return [boxes[k] for k in kept]


def _windows(field: Field) -> list[Box]:
    """Return some windows of a section, each wholly where it may be used, those of tissue."""
    corners = np.argwhere(corners_inside(field.usable & field.tissue))
    chosen = np.linspace(0, len(corners) - 1, min(MOST_WINDOWS, len(corners))).round().astype(int)
    square = Box(0, 0, WINDOW, WINDOW)
    return [square.shifted(*(int(v) * CELL for v in corners[k])) for k in chosen]

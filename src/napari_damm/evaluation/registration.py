"""Whether the images of a section lie on each other: what is moved is learnt, or judged, wrongly.

1. Some windows of 256 px, spread over what may be used, are compared with the primary image.
2. Where structures fit clearly better with an image moved back by some pixels than as it lies, it
   is said by how much. Where nothing fits anywhere (particles that are spread evenly, say) it
   cannot be told, and nothing is said.

Of 300 windows and sections of 60 simulated ones that lie as they should, none reached `CLEAR` (the
most: 7.5); seven real fields reach 11 to 28, moved by 12 to 70 px.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from napari_damm.dataset import Field
from napari_damm.dataset.patches import corners_inside
from napari_damm.trust.moved import moved_by
from napari_damm.trust.statistics import cross_correlogram
from napari_damm.util.tiling import CELL, WINDOW, Box

CLEAR = 9.0
MOST_WINDOWS = 16


def said_of_moved(fields: Sequence[Field], names: Sequence[str]) -> Iterator[str]:
    """Say which images of a section, or of the patches of one folder, look moved.

    `names` is what the images of the three roles are called.
    """
    boxes = [(field, box) for field in fields for box in _windows(field)]
    if not boxes:
        return
    kept = np.linspace(0, len(boxes) - 1, min(MOST_WINDOWS, len(boxes))).round().astype(int)
    for role, name in (("target", names[2]), ("secondary", names[1])):
        try:
            fits = [
                cross_correlogram(field.read("primary", box), field.read(role, box))
                for field, box in (boxes[k] for k in kept)
            ]
        except (OSError, ValueError):  # whoever needs this place will say so
            continue
        moved = moved_by(np.mean(fits, axis=0), CLEAR)
        if moved is None:
            continue
        y, x = (round(pixels * fields[0].model_um) for pixels in moved)
        section = fields[0].section
        of = section.folder if len(fields) > 1 else section.name
        yield (
            f"the {name} image of {of} looks moved against that of the {names[0]}, by about {y} um "
            f"in y and {x} um in x: register them, or what is learnt and judged here is wrong"
        )


class Placed:
    """Looks at sections one after another; of the patches of one folder it speaks once."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def said_of(self, field: Field, card: Mapping[str, Any]) -> list[str]:
        """Say which images of a section look moved; `card` is that of the model."""
        folder = field.section.folder
        if folder in self._told:
            return []
        said = list(said_of_moved([field], [str(name) for name in card["modalities"]]))
        if said and folder:
            self._told.add(folder)
        return said


def _windows(field: Field) -> list[Box]:
    """Return some windows of a section, each wholly where it may be used, those of tissue."""
    corners = np.argwhere(corners_inside(field.usable & field.tissue))
    chosen = np.linspace(0, len(corners) - 1, min(MOST_WINDOWS, len(corners))).round().astype(int)
    square = Box(0, 0, WINDOW, WINDOW)
    return [square.shifted(*(int(v) * CELL for v in corners[k])) for k in chosen]

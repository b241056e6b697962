"""How many connected structures there are, counted tile by tile.

1. Each tile labels its own; labels on its four sides are kept.
2. In the end, labels that touch across a seam (diagonally, too) are one structure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_damm.util.tiling import Box

Labels = NDArray[np.int64]
EIGHT = np.ones((3, 3), bool)


@dataclass
class Structures:
    """Connected structures of a mask that is seen in tiles of one size."""

    labelled: int = 0
    _rows: dict[tuple[int, int], Labels] = field(default_factory=dict)
    _cols: dict[tuple[int, int], Labels] = field(default_factory=dict)

    def add(self, mask: NDArray[np.bool_], box: Box) -> None:
        """See a tile (y, x), which covers the pixels of `box`."""
        labels, count = ndimage.label(mask, EIGHT)
        if not count:
            return
        numbered = np.where(labels > 0, labels + self.labelled, 0).astype(np.int64)
        self.labelled += count
        # By the absolute row or column of pixels, and where along it they begin. Copies: a view
        # would keep the whole tile in memory.
        for y, row in ((box.y0, numbered[0]), (box.y1 - 1, numbered[-1])):
            self._rows[y, box.x0] = row.copy()
        for x, column in ((box.x0, numbered[:, 0]), (box.x1 - 1, numbered[:, -1])):
            self._cols[x, box.y0] = column.copy()

    def count(self) -> int:
        """Return how many structures there are, those over several tiles once."""
        if not self.labelled:
            return 0
        pairs = [*_touching(self._rows), *_touching(self._cols)]
        joined = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int64)
        links = coo_array(
            (np.ones(joined.shape[1], bool), (joined[0] - 1, joined[1] - 1)),
            shape=(self.labelled, self.labelled),
        )
        return int(connected_components(links, directed=False, return_labels=False))


def _touching(lines: dict[tuple[int, int], Labels]) -> list[Labels]:
    """Return pairs (2, n) of labels that touch between a line of pixels and the next."""
    whole: dict[int, dict[int, int]] = {}
    for (at, start), labels in lines.items():
        places = np.flatnonzero(labels)
        whole.setdefault(at, {}).update(
            zip((places + start).tolist(), labels[places].tolist(), strict=True)
        )
    pairs = []
    for at, line in whole.items():
        following = whole.get(at + 1)
        if not following:
            continue
        found = [
            (label, following[place + shift])
            for place, label in line.items()
            for shift in (-1, 0, 1)
            if place + shift in following
        ]
        if found:
            pairs.append(np.array(found, np.int64).T)
    return pairs

"""What each cell takes up: mean particle signal around each nucleus, and its distance to a vessel.

1. Nuclei are those of a label image, or found simply: bright blobs of about 7 um, maxima of the
   Laplacian of Gaussian (scikit-image's blob detection in one scale). This counts nuclei, it does
   not outline them: touching or odd ones are merged or missed.
2. A cell is its nucleus grown by 2 um: labels are grown, a found blob is a disc of 3.5 + 2 um. A
   pixel belongs to the nearest of several.
3. `Cells` adds up pixels, signal and distance of each; nuclei over several tiles are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import peak_local_max

from napari_damm.analysis.distance import PixelSize
from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.analysis.thresholds import Threshold
from napari_damm.util.tiling import Box

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

GROWN_UM = 2.0
NUCLEUS_UM = 3.5
"""Radius of a nucleus that is found, not drawn."""
REACH_UM = 10.0
"""How far around a tile pixels are needed: cells that begin in it may go on beyond."""
SIMPLE = "bright blobs of about 7 um (Laplacian of Gaussian): simple, it merges touching nuclei"
DRAWN = "the labels that were given"
STEP_UM = 10.0
_SIGMA_UM = NUCLEUS_UM / np.sqrt(2)


@dataclass
class Cells:
    """Sums over the pixels of each cell, cells (n,) by number: a section has millions.

    `sums` (n, 5) are pixels, signal, distance, y and x; `added` is what has not been joined yet.
    """

    numbers: Labels = field(default_factory=lambda: np.zeros(0, np.int64))
    sums: Floats = field(default_factory=lambda: np.zeros((0, 5)))
    added: list[tuple[Labels, Floats]] = field(default_factory=list)

    def add(self, numbers: Labels, values: Sequence[NDArray[Any]]) -> None:
        """Add pixels (n,) of cells; `values` are signal, distance, y and x of each."""
        found, which = np.unique(numbers, return_inverse=True)
        totals = [np.bincount(which)] + [np.bincount(which, value) for value in values]
        self.added.append((found, np.stack(totals, axis=1).astype(float)))
        if sum(len(some) for some, _ in self.added) > self.numbers.size:
            self._join()

    def table(self) -> CellTable:
        """Return the mean of each cell, by number."""
        self._join()
        means = self.sums[:, 1:] / self.sums[:, :1]
        return CellTable(means[:, 0], means[:, 1], *means[:, 2:].round().astype(int).T)

    def _join(self) -> None:
        """Join the sums of cells that several tiles share, in the order of the tiles."""
        parts = [(self.numbers, self.sums), *self.added]
        numbers, sums = (np.concatenate(each) for each in zip(*parts, strict=True))
        self.numbers, which = np.unique(numbers, return_inverse=True)
        count = self.numbers.size
        self.sums = np.stack([np.bincount(which, each, count) for each in sums.T], axis=1)
        self.added = []


@dataclass(frozen=True)
class CellTable:
    """Mean signal and distance from the nearest vessel (um) of each cell, and where it lies (px).

    The distance is inf where part of a cell is farther from a vessel than is measured.
    """

    signal: Floats
    distance_um: Floats
    y: NDArray[np.int64]
    x: NDArray[np.int64]

    def chosen(self, which: NDArray[np.bool_]) -> CellTable:
        """Return some of the cells."""
        return CellTable(self.signal[which], self.distance_um[which], self.y[which], self.x[which])


def blob_contrast(section: ParticleMap, box: Box) -> Floats:
    """Return how much each pixel of a box is the middle of a bright blob, in the image's units."""
    sigma = [_SIGMA_UM / side for side in section.pixel_um]
    wide = section.grown(box, [int(4 * s + 0.5) + 1 for s in sigma])
    pixels = section.read("nuclei", wide).astype(np.float64)
    blobs = -ndimage.gaussian_laplace(pixels, sigma) * sigma[0] * sigma[1]
    contrast: Floats = blobs[box.shifted(-wide.y0, -wide.x0).slices]
    return contrast


def found_nuclei(section: ParticleMap, area: Box, threshold: float) -> Labels:
    """Return the cells (y, x) around the nuclei that are found in a box, and close around it.

    Each is numbered by the place of its middle in the section. `threshold` is how much a blob
    must stand out (see `blob_contrast`).
    """
    seen = section.grown_um(area, REACH_UM)
    contrast = blob_contrast(section, seen)
    apart = max(1, round(NUCLEUS_UM / max(section.pixel_um)))
    middles = peak_local_max(  # type: ignore[no-untyped-call]
        contrast, min_distance=apart, threshold_abs=threshold, exclude_border=False
    )
    seeds = np.zeros(seen.shape, np.int64)
    rows, cols = middles[:, 0] + seen.y0, middles[:, 1] + seen.x0
    seeds[tuple(middles.T)] = rows * section.shape[1] + cols + 1
    cells = _grown(seeds, section.pixel_um, NUCLEUS_UM + GROWN_UM)
    return cells[area.shifted(-seen.y0, -seen.x0).slices]


def drawn_nuclei(section: ParticleMap, box: Box) -> Labels:
    """Return the drawn nuclei of a box, each grown by 2 um."""
    assert section.nucleus_labels is not None
    wide = section.grown_um(box, REACH_UM)
    labels = section.nucleus_labels.read(section, wide)
    grown = _grown(labels, section.pixel_um, GROWN_UM)
    return grown[box.shifted(-wide.y0, -wide.x0).slices]


def _grown(labels: Labels, pixel_um: PixelSize, um: float) -> Labels:
    """Return labels, each with the pixels within a distance that have none nearer."""
    if not labels.any():
        return labels
    distance, nearest = ndimage.distance_transform_edt(
        labels == 0, sampling=pixel_um, return_indices=True
    )
    return np.where(distance <= um, labels[tuple(nearest)], 0)


def positive_by_distance(cells: CellTable, bright: Threshold | None) -> Iterator[dict[str, float]]:
    """Yield how many cells lie in each 10 um from a vessel, and the share of positive ones."""
    if not cells.signal.size or bright is None:
        return
    near = np.isfinite(cells.distance_um) & (cells.distance_um > 0)
    which = (cells.distance_um[near] / STEP_UM).astype(int)
    positive = cells.signal[near] > bright.value
    for k in np.unique(which).tolist():
        here = which == k
        yield {
            "from_um": k * STEP_UM,
            "cells": int(here.sum()),
            "positive_percent": 100.0 * float(positive[here].mean()),
        }

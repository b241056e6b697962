"""Where numbers are wanted: all tissue, what the analyst drew, bands from the tissue's edge.

Each region says which pixels of a box are its own; pixels outside of tissue never count. What it
answers does not depend on the box, so that tiles agree with the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_damm.analysis.particle_map import LabelImage, ParticleMap
from napari_damm.util.areas import named_areas_of_geojson
from napari_damm.util.tiling import Box

Mask = NDArray[np.bool_]

TISSUE = "tissue"
TRUSTED = "tissue, trusted"
MOST_LABELS = 1000


class Region(Protocol):
    """Pixels that are measured together."""

    @property
    def name(self) -> str:
        """What the region is called in tables."""

    def mask(self, section: ParticleMap, box: Box) -> Mask:
        """Return the pixels (y, x) of a box that belong to it."""


@dataclass(frozen=True)
class Tissue:
    """All tissue of a section."""

    name: str = TISSUE

    def mask(self, section: ParticleMap, box: Box) -> Mask:
        """Return the tissue in a box."""
        return section.tissue_in(box)


@dataclass(frozen=True)
class TrustedTissue:
    """The tissue in which a prediction is to be trusted."""

    name: str = TRUSTED

    def mask(self, section: ParticleMap, box: Box) -> Mask:
        """Return the trusted tissue in a box."""
        tissue = section.tissue_in(box)
        return tissue if section.trusted is None else tissue & trusted_in(section, box)


@dataclass(frozen=True, eq=False)
class Outline:
    """Tissue inside one or more closed outlines, corners (n, 2) in um (y, x).

    A pixel belongs to it where its centre lies inside (even-odd rule, outlines together).
    """

    name: str
    outlines: tuple[NDArray[np.float64], ...]

    def __post_init__(self) -> None:
        """Check the corners."""
        for corners in self.outlines:
            if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
                raise ValueError(
                    f"region {self.name!r} needs three corners (y, x) or more, got shape "
                    f"{corners.shape}"
                )
            if not np.isfinite(corners).all():
                raise ValueError(f"corners of region {self.name!r} must be finite")

    def mask(self, section: ParticleMap, box: Box) -> Mask:
        """Return the tissue inside the outlines."""
        inside = np.zeros(box.shape, bool)
        xs = section.origin[1] + (np.arange(box.x0, box.x1) + 0.5) * section.pixel_um[1]
        for row in range(box.shape[0]):
            y = section.origin[0] + (box.y0 + row + 0.5) * section.pixel_um[0]
            crossings = np.sort(np.concatenate([_crossings(c, y) for c in self.outlines]))
            if crossings.size:
                inside[row] = np.searchsorted(crossings, xs, side="right") % 2 == 1
        return inside & section.tissue_in(box)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Tissue under one number of a label image."""

    name: str
    labels: LabelImage
    value: int

    def mask(self, section: ParticleMap, box: Box) -> Mask:
        """Return the tissue with this label."""
        found: Mask = self.labels.read(section, box) == self.value
        return found & section.tissue_in(box)


@dataclass(frozen=True)
class Band:
    """Tissue between two distances from its edge, in um; seen in cells of the tissue mask."""

    low_um: float
    high_um: float

    def __post_init__(self) -> None:
        """Check the distances."""
        if not 0 <= self.low_um < self.high_um:
            raise ValueError(
                f"a band must go from 0 um or more to more, got {self.low_um:g} to {self.high_um:g}"
            )

    @property
    def name(self) -> str:
        """The distances, for tables."""
        return f"{self.low_um:g}-{self.high_um:g} um from the edge"

    def mask(self, section: ParticleMap, box: Box) -> Mask:
        """Return the tissue in the band; none where the tissue shows no edge."""
        if section.depth_um is None:
            return np.zeros(box.shape, bool)
        cells = (section.depth_um > self.low_um) & (section.depth_um <= self.high_um)
        found: Mask = section.cells_in(cells, box)
        return found & section.tissue_in(box)


def labelled_regions(labels: LabelImage, prefix: str = "label") -> Iterable[Labelled]:
    """Yield a region for each number of a label image, but 0.

    Raises
    ------
    ValueError
        If there are so many that it must be another picture, or one of single cells.
    """
    height = labels.labels.shape[0]
    found: set[int] = set()
    for y in range(0, height, 1024):
        found |= set(map(int, np.unique(np.asarray(labels.labels[y : y + 1024, :])))) - {0}
        if len(found) > MOST_LABELS:
            raise ValueError(
                f"the label picture holds more than {MOST_LABELS} numbers: each is a region, so "
                "give one with fewer"
            )
    for value in sorted(found):
        yield Labelled(f"{prefix} {value}", labels, value)


def outlined_regions(path: Path, side_um: float) -> list[Outline]:
    """Return a region for each feature of a GeoJSON file, in pixels of the section's picture.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, holds no polygon, or so many that they must be single cells.
    """
    found = named_areas_of_geojson(path)
    if len(found) > MOST_LABELS:
        raise ValueError(
            f"{path} holds {len(found)} areas and each is a region: give {MOST_LABELS} or fewer"
        )
    return [
        Outline(
            name,
            tuple(np.array(ring, np.float64) * side_um for area in each.areas for ring in area),
        )
        for name, each in found.items()
    ]


def with_own_names(regions: Sequence[Any]) -> None:
    """Refuse regions of one name, whose rows nobody could tell apart.

    Raises
    ------
    ValueError
        Naming it.
    """
    seen: set[str] = {TISSUE, TRUSTED}
    for region in regions:
        if region.name in seen:
            raise ValueError(f"two regions are called {region.name!r}: give each its own name")
        seen.add(region.name)


def trusted_in(section: ParticleMap, box: Box) -> Mask:
    """Return the pixels of a box whose prediction is to be trusted; all of an imaged map."""
    if section.trusted is None:
        return np.ones(box.shape, bool)
    return section.cells_in(section.trusted, box)


def _crossings(corners: NDArray[np.float64], y: float) -> NDArray[np.float64]:
    """Return where an outline crosses a row, in um along x."""
    y0, x0 = corners.T
    y1, x1 = np.roll(corners, -1, axis=0).T
    crossing = (y0 <= y) != (y1 <= y)
    share = (y - y0[crossing]) / (y1[crossing] - y0[crossing])
    found: NDArray[np.float64] = x0[crossing] + share * (x1[crossing] - x0[crossing])
    return found

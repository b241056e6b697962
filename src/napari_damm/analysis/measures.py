"""From sums over a region to its measures: names, units, and why one cannot be had.

Definitions and their sources stand in docs/analyze.md. Of a measure that a region does not give,
the value is None and `reason` says why, in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from napari_damm.analysis.cells import CellTable
from napari_damm.analysis.counts import Counts, gini, variation
from napari_damm.analysis.profile import (
    EXPOSURE_UM,
    STAYS,
    confined,
    exposure,
    half_distance,
    reach,
)
from napari_damm.analysis.thresholds import Threshold
from napari_damm.util.extravasation import LEAST_PIXELS, extravasation_distance
from napari_damm.util.measure import Measure

UM2_PER_MM2 = 1e6


MEASURES = {
    "l50": Measure("half-distance L50", "um", 1),
    "auc_100": Measure("exposure AUC(0-100 um)", "a.u. um", 2),
    "extravasation_distance": Measure("extravasation distance", "um", 1),
    "extravasated_area": Measure("extravasated area", "%", 2),
    "vessel_area": Measure("vessel area", "%", 2),
    "vessel_density": Measure("vessel density", "1/mm2", 1),
    "vessel_diameter": Measure("vessel diameter", "um", 1),
    "tissue_distance": Measure("median distance to a vessel", "um", 1),
    "perfused_fraction": Measure("perfused vessel area", "%", 1),
    "tissue_access_100": Measure("tissue within 100 um of a delivering vessel", "%", 1),
    "tissue_access_50": Measure("tissue within 50 um of a delivering vessel", "%", 1),
    "cell_dose": Measure("dose per cell", "a.u.", 4),
    "positive_cells": Measure("positive cells", "%", 1),
    "cv": Measure("coefficient of variation", "", 3),
    "gini": Measure("Gini coefficient", "", 3),
    "rim_core": Measure("periphery / core", "ratio", 3),
}
NOT_GIVEN = frozenset({"cv", "gini"})
"""What a predicted map does not give: ICC with the truth below 0.5 on simulated tissue, the only
one that it was measured on (docs/measures.md)."""


@dataclass(frozen=True)
class Measured:
    """One measure of one region; `n` is how many `of` (pixels, cells ...) it rests on."""

    measure: str
    value: float | None
    n: int
    of: str = "pixels"
    reason: str = ""

    @property
    def unit(self) -> str:
        """The measure's unit."""
        return MEASURES[self.measure].unit


class Missing(Exception):
    """A measure cannot be had, for a reason that the message says."""


def measures_of(
    counts: Counts, cells: CellTable, thresholds: dict[str, Threshold | None]
) -> Iterator[Measured]:
    """Yield every measure of a region, in the order of `MEASURES`."""
    region = _Region(counts, cells, thresholds)
    for name in MEASURES:
        compute: Callable[[], tuple[float | None, int, str]] = getattr(region, name)
        try:
            if not counts.pixels:
                raise Missing("the region holds no tissue")
            value, n, of = compute()
            if value is None or not np.isfinite(value):
                raise Missing("it is not defined here")
        except Missing as error:
            yield Measured(name, None, 0, reason=str(error))
        else:
            yield Measured(name, float(value), n, of)


@dataclass(frozen=True)
class _Region:
    """The measures of one region, each by its name."""

    counts: Counts
    cells: CellTable
    thresholds: dict[str, Threshold | None]

    def l50(self) -> tuple[float | None, int, str]:
        self._need_vessels()
        self._need_spread()
        outside = self.counts.shells.outside()
        if outside is None:
            raise Missing(_FEW)
        found = half_distance(outside)
        if found is None:
            raise Missing("not reached: the signal does not fall to half of its value at vessels")
        return found, int(outside.pixels.sum()), "pixels"

    def auc_100(self) -> tuple[float | None, int, str]:
        self._need_vessels()
        outside = self.counts.shells.outside(EXPOSURE_UM)
        if outside is None:
            raise Missing(_FEW)
        found = exposure(outside)
        if found is None:
            ends = 5 * outside.signal.size
            raise Missing(f"the profile ends at {ends} um: too little tissue is farther away")
        return found, int(outside.pixels.sum()), "pixels"

    def extravasation_distance(self) -> tuple[float | None, int, str]:
        self._need_vessels()
        self._need_spread()
        profile = reach(self.counts.shells)
        if profile is None:
            raise Missing(_FEW)
        try:
            return extravasation_distance(profile), int(profile.pixels.sum()), "pixels"
        except ValueError as error:
            raise Missing(str(error)) from None

    def extravasated_area(self) -> tuple[float | None, int, str]:
        self._need_bright()
        return self._share(self.counts.bright_outside)

    def vessel_area(self) -> tuple[float | None, int, str]:
        self._need_vessels(may_be_elsewhere=True)
        return self._share(self.counts.vessels)

    def vessel_density(self) -> tuple[float | None, int, str]:
        self._need_vessels(may_be_elsewhere=True)
        area = self.counts.pixels * self._pixel_um2 / UM2_PER_MM2
        found = self.counts.structures.count()
        return found / area, found, "structures"

    def vessel_diameter(self) -> tuple[float | None, int, str]:
        self._need_vessels()
        lines = self.counts.line_pixels
        if not lines:
            raise Missing("no vessel's middle lies in the region")
        return 2 * self.counts.line_depth_um / lines, lines, "pixels of middle lines"

    def tissue_distance(self) -> tuple[float | None, int, str]:
        self._need_vessels()
        found = self.counts.median_distance_um()
        if self.counts.vessels == self.counts.pixels:
            raise Missing("the region is vessel all over")
        if found is None:
            raise Missing("more than half of the tissue is farther than 250 um from a vessel")
        return found, int(self.counts.fine.sum()) + self.counts.beyond, "pixels"

    def perfused_fraction(self) -> tuple[float | None, int, str]:
        if self.thresholds.get("perfusion") is None:
            raise Missing("there is no perfusion marker")
        self._need_vessels()
        vessels = self.counts.vessels
        if not vessels:
            raise Missing("the region holds no vessel")
        return 100.0 * self.counts.perfused / vessels, vessels, "vessel pixels"

    def tissue_access_100(self) -> tuple[float | None, int, str]:
        return self._access(100.0)

    def tissue_access_50(self) -> tuple[float | None, int, str]:
        return self._access(50.0)

    def cell_dose(self) -> tuple[float | None, int, str]:
        self._need_cells()
        return float(self.cells.signal.mean()), self.cells.signal.size, "cells"

    def positive_cells(self) -> tuple[float | None, int, str]:
        self._need_cells()
        threshold = self._need_bright()
        share = float((self.cells.signal > threshold).mean())
        return 100.0 * share, self.cells.signal.size, "cells"

    def cv(self) -> tuple[float | None, int, str]:
        return self._uniformity(variation)

    def gini(self) -> tuple[float | None, int, str]:
        return self._uniformity(gini)

    def rim_core(self) -> tuple[float | None, int, str]:
        (rim, rim_n), (core, core_n) = self.counts.rim, self.counts.core
        if not rim_n + core_n:
            raise Missing("the tissue fills the picture: it shows no edge")
        if not rim_n or not core_n:
            raise Missing("the region lies in the periphery or the core alone")
        if core <= 0:
            raise Missing("there is no signal in the core")
        return (rim / rim_n) / (core / core_n), int(rim_n + core_n), "pixels"

    @property
    def _pixel_um2(self) -> float:
        height, width = self.counts.pixel_um
        return height * width

    def _share(self, part: int) -> tuple[float | None, int, str]:
        return 100.0 * part / self.counts.pixels, self.counts.pixels, "pixels"

    def _access(self, limit: float) -> tuple[float | None, int, str]:
        self._need_vessels()
        self._need_bright()
        return self._share(self.counts.within[limit])

    def _uniformity(
        self, measure: Callable[[np.ndarray], float | None]
    ) -> tuple[float | None, int, str]:
        blocks = self.counts.blocks.means()
        if blocks.size < 2:
            raise Missing("two blocks of 32 um are needed")
        if blocks.mean() <= 0:
            raise Missing("the mean signal is not above 0")
        return measure(blocks), blocks.size, "blocks of 32 um"

    def _need_vessels(self, may_be_elsewhere: bool = False) -> None:
        seen = self.counts.vessels or self.counts.fine.any() or self.counts.beyond
        if not seen or (not may_be_elsewhere and not self._near_vessels):
            raise Missing("no vessels were found")

    def _need_spread(self) -> None:
        if confined(self.counts.shells.profile()):
            raise Missing(STAYS)

    @property
    def _near_vessels(self) -> bool:
        return bool(self.counts.vessels or self.counts.fine.any())

    def _need_bright(self) -> float:
        threshold = self.thresholds.get("particles")
        if threshold is None:
            raise Missing("the particle image is constant: it has no threshold")
        return threshold.value

    def _need_cells(self) -> None:
        if not self.cells.signal.size:
            raise Missing("no nuclei were given or found")


_FEW = f"fewer than two distances have {LEAST_PIXELS} pixels"

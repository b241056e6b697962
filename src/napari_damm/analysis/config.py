"""The settings of an analysis, checked as far as that goes without data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

TESTS = {
    "mann-whitney": "Mann-Whitney U test, two-sided",
    "welch": "Welch's t test, two-sided",
}
LEAST_TILE_PX = 64


@dataclass(frozen=True)
class AnalyzeConfig:
    """The settings of an analysis.

    Parameters
    ----------
    vessel_threshold, particle_threshold, perfusion_threshold
        What counts as vessel (in the vessel image blurred by 1 um), as bright with particles and as
        perfused, in the images' own intensities; None = Otsu's threshold over the tissue of each
        section. Groups whose images were taken alike are compared with fixed ones.
    bands
        Distances (low, high) in um from the tissue's edge: each band is a region of its own.
    trusted_uncertainty
        Cells of a predicted map of more uncertainty are not trusted.
    test
        How groups are compared: "mann-whitney" or "welch".
    tile_px
        Side of the tiles that a section is read in; changes memory, not results.
    """

    vessel_threshold: float | None = None
    particle_threshold: float | None = None
    perfusion_threshold: float | None = None
    bands: tuple[tuple[float, float], ...] = ()
    trusted_uncertainty: float = 0.5
    test: str = "mann-whitney"
    tile_px: int = 2048

    def __post_init__(self) -> None:
        """Check every value that can be checked without data."""
        for name in ("vessel_threshold", "particle_threshold", "perfusion_threshold"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value}")
        if self.test not in TESTS:
            raise ValueError(f"test must be one of {', '.join(TESTS)}, got {self.test!r}")
        if not 0 <= self.trusted_uncertainty <= 1:
            raise ValueError(f"trusted_uncertainty must be in 0..1, got {self.trusted_uncertainty}")
        if self.tile_px < LEAST_TILE_PX:
            raise ValueError(f"tile_px must be {LEAST_TILE_PX} or more, got {self.tile_px}")
        for low, high in self.bands:
            if not 0 <= low < high:
                raise ValueError(f"a band must go from 0 um or more to more, got {low:g}-{high:g}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for the report."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

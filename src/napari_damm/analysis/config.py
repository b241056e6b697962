"""The settings of an analysis, checked as far as that goes without data."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from napari_damm.util.advice import Advice
from napari_damm.util.settings import check_settings, setting

OTSU = "Otsu's of each section"
TESTS = {
    "mann-whitney": "Mann-Whitney U test, two-sided",
    "welch": "Welch's t test, two-sided",
    "mixed": "linear mixed model of all sections, the animal a random effect",
}


@dataclass(frozen=True)
class AnalyzeConfig:
    """The settings of an analysis; each says itself what it is for.

    Thresholds are in the images' own intensities; that of the vessels holds for the image blurred
    by 1 um. Groups whose images were taken alike are compared at fixed ones. `bands` are distances
    (low, high) in um from the tissue's edge, each a region of its own. `tile_px` changes memory,
    not results.
    """

    vessel_threshold: float | None = setting(None, "Vessels are brighter than this.", left_out=OTSU)
    particle_threshold: float | None = setting(
        None, "Bright particles are brighter than this.", left_out=OTSU
    )
    perfusion_threshold: float | None = setting(
        None, "The perfusion marker is brighter than this.", left_out=OTSU
    )
    bands: tuple[tuple[float, float], ...] = ()
    trusted_uncertainty: float = setting(
        0.5,
        "Cells of a predicted map of more uncertainty are not trusted, nor are those whose images "
        "are unusual for the model.",
        least=0,
        most=1,
    )
    test: str = setting("mann-whitney", "How groups are compared.", choices=TESTS)
    tile_px: int = setting(2048, "Side of the tiles that a section is read in.", least=64)

    def __post_init__(self) -> None:
        """Check every value that can be checked without data."""
        check_settings(self)
        for low, high in self.bands:
            if not 0 <= low < high:
                rule = f"must go from 0 um or more to more, got {low:g}-{high:g}"
                raise ValueError(Advice(rule, parameter="band"))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for the report."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def bands_of(text: str) -> tuple[tuple[float, float], ...]:
    """Return the bands that a text such as "0-200, 200-500" names, in um from the tissue's edge.

    Raises
    ------
    ValueError
        If a part of it is none.
    """
    found = []
    for part in re.split(r"[,;\s]+", text.strip(" ,;")) if text.strip(" ,;") else ():
        ends = re.fullmatch(r"(\d+\.?\d*)[-\u2013](\d+\.?\d*)", part)
        if ends is None:
            rule = f"must be two distances in um such as 0-200, got {part!r}"
            raise ValueError(Advice(rule, parameter="band"))
        found.append((float(ends[1]), float(ends[2])))
    return tuple(found)

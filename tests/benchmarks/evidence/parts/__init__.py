"""The parts of the evidence. Each is a module with the same seven functions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ..lab import Lab
from ..rows import Row
from ..sections import Section
from ..settings import PARTS, Settings, Specimen
from ..statistics import Claim

Summary = dict[str, Any]


class Part(Protocol):
    """What each module of this package offers. A summary is plain values, as they go to JSON."""

    @staticmethod
    def specimens(settings: Settings) -> list[Specimen]:
        """Return the sections that it is measured on."""

    @staticmethod
    def depends(lab: Lab) -> dict[str, Any]:
        """Return what its rows depend on, besides the section: else they are measured again."""

    @staticmethod
    def measure(lab: Lab, section: Section) -> Row:
        """Return the numbers of one section."""

    @staticmethod
    def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
        """Return the numbers of all sections together."""

    @staticmethod
    def claims(summary: Summary) -> list[Claim]:
        """Return what was to be shown, and whether it was."""

    @staticmethod
    def text(summary: Summary) -> list[str]:
        """Return the lines of its chapter."""

    @staticmethod
    def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
        """Draw its figures, if it has any, as folder/results-*.png."""


def part(name: str) -> Part:
    """Return a part by name."""
    if name not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {name!r}")
    module: Part = import_module(f".{name}", __package__)  # type: ignore[assignment]
    return module


def of_preset(rows: Sequence[Row], preset: str) -> list[Row]:
    """Return the rows of the sections of a preset."""
    return [row for row in rows if row["preset"] == preset]

"""A measure as people read it, and a number that may not be had."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

SIGNIFICANT = 4


@dataclass(frozen=True)
class Measure:
    """What a measure is called, its unit, and how many digits are worth showing."""

    label: str
    unit: str = ""
    digits: int = 3

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, value: float | None, signed: bool = False, missing: str = "–") -> str:
        """Return a value in its digits, of large ones four in all, without its unit."""
        if value is None:
            return missing
        before = math.floor(math.log10(abs(value))) if abs(value) >= 1 else 0
        digits = min(self.digits, max(0, SIGNIFICANT - 1 - before))
        return f"{value:{'+' if signed else ''}.{digits}f}"


def finite_or_none(measure: Callable[[], float]) -> float | None:
    """Return a number; None where its input does not give it (ValueError), or no finite one."""
    try:
        value = measure()
    except ValueError:
        return None
    return value if math.isfinite(value) else None

"""A measure as people read it, and a number that may not be had."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

SIGNIFICANT = 4
ARBITRARY = "a.u."
HUGE = 1e8


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
        """Return a value in its digits, of large ones four in all, without its unit.

        Intensities are on whatever scale the image has: of very small ones the digits that count.
        """
        if value is None:
            return missing
        sign = "+" if signed else ""
        before = math.floor(math.log10(abs(value))) if abs(value) >= 1 else 0
        digits = min(self.digits, max(0, SIGNIFICANT - 1 - before))
        if self.unit.startswith(ARBITRARY) and _is_far_from_usual(value, digits):
            return f"{value:{sign}.{SIGNIFICANT - 1}g}"
        return f"{value:{sign}.{digits}f}"


def _is_far_from_usual(value: float, digits: int) -> bool:
    """Return whether a value, written in so many decimals, has one digit or many."""
    return 0 < abs(value) < 10 ** (1 - digits) or abs(value) >= HUGE


def finite_or_none(measure: Callable[[], float]) -> float | None:
    """Return a number; None where its input does not give it (ValueError), or no finite one."""
    try:
        value = measure()
    except ValueError:
        return None
    return value if math.isfinite(value) else None

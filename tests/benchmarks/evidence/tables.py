"""Numbers and tables for the document, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .statistics import Stat

DIGITS = {
    "ssim": 3, "psnr": 2, "mse": 4, "r2": 2, "icc": 2, "distance_icc": 2, "pearson_r": 3,
    "std_ratio": 2,
}  # fmt: skip
TITLES = {
    "ssim": "SSIM", "psnr": "PSNR, dB", "mse": "MSE", "r2": "R2", "icc": "ICC",
    "distance_icc": "distance ICC", "pearson_r": "r", "std_ratio": "spread",
}  # fmt: skip


def number(value: float | None, digits: int = 2, signed: bool = False) -> str:
    """Write a number, or a dash where there is none."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0  # no minus before a zero
    return f"{rounded:{'+' if signed else ''}.{digits}f}"


def told(stat: Stat, digits: int = 2, signed: bool = False) -> str:
    """Write a mean with its interval."""
    mean = number(stat["mean"], digits, signed)
    if stat["low"] is None:
        return mean
    low, high = (number(stat[end], digits, signed) for end in ("low", "high"))
    return f"{mean} ({low} to {high})"


def percent(stat: Stat, digits: int = 0) -> str:
    """Write a share of 0..1 in percent, with its interval."""
    scaled = {k: 100 * v if k != "n" and v is not None else v for k, v in stat.items()}
    return f"{told(scaled, digits)} %"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with an empty one after it."""
    lines = [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
    return [f"| {line} |".replace("|  |", "| |") for line in lines] + [""]

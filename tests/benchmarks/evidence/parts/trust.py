"""Can the intervals be believed, and is the error where the model says it is unsure?

1. Mean and spread of K samples make an interval, mean +- 1.645 x factor x std for nominal 90 %.
2. One factor is fitted on the validation sections, so that it covers 90 % of their tissue pixels
   of the noise-free field; it is then tried on the held-out sections.
3. Predictions are as they are ("raw": a user has no truth to fit to) and after one affine fit
   ("fitted"; the spread grows with its slope, and it has a factor of its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import calibration
import numpy as np
from numpy.typing import NDArray
from section_metrics import affine_fit

from .. import figures
from ..lab import Job, Lab
from ..rows import Row
from ..sections import FITS, Section
from ..settings import PRESETS, Settings, Specimen
from ..statistics import Claim, Stat, mean_of, within
from ..tables import number, percent, table, told
from . import Summary, of_preset

TRUTH = "noise-free"
NOMINAL = 0.9
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WANTED = {"internal": (0.85, 0.95), "external": (0.8, 1.0)}
ORDERS = {
    "std and error, pixels": "spread and error, pixel by pixel",
    "std and error, cells": "spread and error, means of cells",
    "uncertainty and error, cells": "uncertainty and error, means of cells",
}


def specimens(settings: Settings) -> list[Specimen]:
    """Return the sections to fit on and those to judge on."""
    return settings.for_validation + settings.held_out


def depends(lab: Lab) -> dict[str, Any]:
    """Return the model."""
    return {"model": lab.digest(), "samples": lab.settings.samples}


def measure(lab: Lab, section: Section) -> Row:
    """Return error and spread (pixels,) over tissue, and how well their orders agree."""
    found = lab.predict(section, Job("gated", lab.settings.samples))
    assert found.std is not None
    truth, tissue = section.truths[TRUTH], section.tissue
    slope, offset = affine_fit(truth[tissue], found.np[tissue])
    errors = {"raw": truth - found.np, "fitted": truth - (slope * found.np + offset)}
    spreads = {"raw": found.std, "fitted": abs(slope) * found.std}
    row: Row = {"slope": slope, "offset": offset, "orders": {}}
    for fit in FITS:
        row[f"error {fit}"] = errors[fit][tissue].astype(np.float32)
        row[f"std {fit}"] = spreads[fit][tissue].astype(np.float32)
        size = np.abs(errors[fit])
        cells = section.cells(size)
        row["orders"][fit] = {
            "std and error, pixels": calibration.rank_correlation(found.std[tissue], size[tissue]),
            "std and error, cells": calibration.rank_correlation(section.cells(found.std), cells),
            "uncertainty and error, cells": calibration.rank_correlation(
                section.of_cells(found.uncertainty), cells
            ),
        }
    return row


def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
    """Return the factor, coverage and curves by preset, and the rank correlations."""
    fitted_on = [r for r in rows if r["seed"] < lab.settings.first_seed]
    judged = [r for r in rows if r["seed"] >= lab.settings.first_seed]
    found: Summary = {
        "samples": lab.settings.samples,
        "validation sections": len(fitted_on),
        "factor on the card": lab.spread_factor,
    }
    for fit in FITS:
        factor = _factor(fitted_on, fit)
        found[fit] = {"factor": factor, "levels": list(LEVELS)}
        for preset in PRESETS:
            found[fit][preset] = _of_preset(of_preset(judged, preset), fit, factor)
    return found


def _factor(rows: Sequence[Row], fit: str) -> float | None:
    """Fit the factor on all pixels of all validation sections."""
    if not rows:
        return None
    error, std = (_joined(rows, f"{what} {fit}") for what in ("error", "std"))
    factor = calibration.spread_factor(error, std, NOMINAL)
    return factor if np.isfinite(factor) else None


def _joined(rows: Sequence[Row], name: str) -> NDArray[np.float32]:
    return np.concatenate([row[name] for row in rows])


def _of_preset(rows: Sequence[Row], fit: str, factor: float | None) -> Summary:
    curves = {}
    for name, value in (("with factor", factor), ("as drawn", 1.0)):
        each = [
            calibration.calibration_curve(row[f"error {fit}"], row[f"std {fit}"], LEVELS, value)
            for row in rows
            if value is not None
        ]
        curves[name] = [mean_of(values) for values in zip(*each, strict=True)]
    at = LEVELS.index(NOMINAL)
    widths = [
        float(2 * calibration.normal_width(NOMINAL) * factor * np.mean(row[f"std {fit}"]))
        for row in rows
        if factor is not None
    ]
    return {
        "coverage": {name: curve[at] if curve else mean_of([]) for name, curve in curves.items()},
        "curves": curves,
        "width": mean_of(widths),
        "orders": {name: mean_of([row["orders"][fit][name] for row in rows]) for name in ORDERS},
    }


def claims(summary: Summary) -> list[Claim]:
    """Return what was to be shown of the intervals as a user has them."""
    found = []
    for preset in PRESETS:
        low, high = WANTED[preset]
        covered: Stat = summary["raw"][preset]["coverage"]["with factor"]
        wanted = f"{low:.0%} to {high:.0%}" if high < 1 else f"{low:.0%} or more"
        found.append(
            Claim(
                f"{preset}: nominal 90 % intervals cover {wanted} of the noise-free field",
                percent(covered, 1),
                within(covered["mean"], low, high),
            )
        )
    return found


def text(summary: Summary) -> list[str]:
    """Return the tables."""
    raw = summary["raw"]
    lines = [
        "## Can the spread be believed",
        "",
        f"{summary['samples']} samples give a mean and a spread (standard deviation) at each "
        "pixel. Mean ± 1.645 × factor × spread should hold the noise-free field at 90 % of tissue "
        "pixels. One factor was fitted, on "
        f"{summary['validation sections']} other internal sections: **{number(raw['factor'], 3)}** "
        f"(on the model's card: {summary['factor on the card']:.3f}). Nothing was fitted on the "
        "sections below, unless it says so.",
        "",
        "![Calibration curve](images/results-trust.png)",
        "",
    ]
    rows = []
    for fit, title in (("raw", "as predicted"), ("fitted", "after one affine fit to the truth")):
        of = summary[fit]
        for name, factor in (("with factor", number(of["factor"], 3)), ("as drawn", "1")):
            cells = [percent(of[preset]["coverage"][name], 1) for preset in PRESETS]
            rows.append([f"covered by nominal 90 %, {title}, factor {factor}", *cells])
        widths = [told(of[preset]["width"], 3) for preset in PRESETS]
        rows.append([f"mean width of these intervals, {title}", *widths])
    lines += table(["", *PRESETS], rows)
    lines += [
        "Is the error large where the model is unsure? Spearman's rank correlation, mean of "
        "sections (1: the same order, 0: no relation), predictions as they are:",
        "",
    ]
    rows = [
        [title, *(told(raw[preset]["orders"][name]) for preset in PRESETS)]
        for name, title in ORDERS.items()
    ]
    return lines + table(["", *PRESETS], rows)


def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
    """Draw the calibration curve."""
    figures.draw_calibration(summary, folder / "results-trust.png")

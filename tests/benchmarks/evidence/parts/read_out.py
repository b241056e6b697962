"""Which confidence becomes the uncertainty map: that of the last step, or the mean over steps?

Decided on the validation sections: which tells divergent cells best, and which has the order of
the error (single samples, after one affine fit to the noise-free field).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import calibration
import numpy as np
from section_metrics import auroc

from napari_damm.model.damm import CHOICES

from ..lab import Job, Lab
from ..rows import Row
from ..sections import Section
from ..settings import Settings, Specimen
from ..statistics import Claim, mean_of, over_sections
from ..tables import table, told
from . import Summary

TRUTH = "noise-free"
READ_OUTS = CHOICES["read_out"]
TITLES = {"last": "of the last step", "mean": "mean over steps"}


def specimens(settings: Settings) -> list[Specimen]:
    """Return the validation sections: the choice must not see the others."""
    return settings.for_validation


def depends(lab: Lab) -> dict[str, Any]:
    """Return the model."""
    return {"model": lab.digest(), "read-outs": list(READ_OUTS)}


def measure(lab: Lab, section: Section) -> Row:
    """Return the uncertainty by each read-out and the mean absolute error, on cells."""
    row: Row = {"divergent": section.cells(section.simulated.divergence) > 0.5}
    for name in READ_OUTS:
        found = lab.predict(section, Job(read_out=name))
        error = np.abs(section.truths[TRUTH] - section.fitted(TRUTH, found.np))
        row[f"uncertainty {name}"] = section.of_cells(found.uncertainty)
        row[f"error {name}"] = section.cells(error)
    return row


def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
    """Return AUROC and rank correlation by read-out, and which one the model has."""
    found: Summary = {
        "used": lab.model().config.read_out, "sections": len(rows), "read-outs": {}
    }  # fmt: skip
    for name in READ_OUTS:
        orders = [
            calibration.rank_correlation(row[f"uncertainty {name}"], row[f"error {name}"])
            for row in rows
        ]
        found["read-outs"][name] = {
            "auroc": over_sections(rows, lambda some, name=name: _auroc(some, name)),
            "rank correlation": mean_of(orders),
        }
    return found


def _auroc(rows: Sequence[Row], name: str) -> float:
    divergent = np.concatenate([row["divergent"].ravel() for row in rows])
    score = np.concatenate([row[f"uncertainty {name}"].ravel() for row in rows])
    return auroc(divergent, score)


def claims(summary: Summary) -> list[Claim]:
    """Return nothing: this is a choice."""
    return []


def text(summary: Summary) -> list[str]:
    """Return the table."""
    rows = [
        [
            f"{TITLES.get(name, name)}{' (shipped)' if name == summary['used'] else ''}",
            told(of["auroc"], 3),
            told(of["rank correlation"], 3),
        ]
        for name, of in summary["read-outs"].items()
    ]
    return [
        "## Which confidence becomes the map",
        "",
        "The network gives a confidence at every denoising step. On "
        f"{summary['sections']} validation sections (internal, not among those above):",
        "",
        *table(["uncertainty", "AUROC, divergence", "rank correlation with the error"], rows),
    ]


def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
    """Draw nothing."""

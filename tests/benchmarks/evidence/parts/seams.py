"""Do the borders of the windows show? Steps across them, beside steps elsewhere.

The measure is that of `seam.py`: squared steps across the lines where windows begin and end,
divided by those at other lines, or by those at other lines on the decoder's grid ("in phase").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seam

from napari_damm.util.tiling import Lattice

from ..lab import Job, Lab
from ..rows import Row
from ..sections import Section
from ..settings import Settings, Specimen
from ..statistics import Claim, within
from ..tables import number, table
from . import Summary

IMAGES = {"truth": "image as taken", "one": "ours, one sample", "mean": "ours, mean of samples"}
SCORES = {"seam at borders": "all other lines", "seam at borders, in phase": "lines in phase"}
WANTED = (0.95, 1.05)


def specimens(settings: Settings) -> list[Specimen]:
    """Return all held-out sections."""
    return settings.held_out


def depends(lab: Lab) -> dict[str, Any]:
    """Return the model."""
    return {"model": lab.digest(), "samples": lab.settings.samples}


def measure(lab: Lab, section: Section) -> Row:
    """Return the seam score of every border."""
    lattice = Lattice(section.tissue.shape)
    tissue = np.zeros_like(section.tissue)
    inner = (slice(seam.MARGIN_PX, -seam.MARGIN_PX),) * 2
    tissue[inner] = section.tissue[inner]
    images = {
        "truth": section.truths["taken"],
        "one": lab.predict(section, Job()).np,
        "mean": lab.predict(section, Job(samples=lab.settings.samples)).np,
    }
    factor = lab.model().config.latent_factor
    found = {
        name: seam.line_scores(image, tissue, lattice, factor) for name, image in images.items()
    }
    return {f"{image}/{name}": found[image][name] for image in IMAGES for name in SCORES}


def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
    """Return scores with their intervals over borders, also as shares of the truth's."""
    found: Summary = {}
    for image in IMAGES:
        found[image] = {}
        for name in SCORES:
            values, truth = (
                np.concatenate([row[f"{of}/{name}"] for row in rows]) for of in (image, "truth")
            )
            if values.size:
                found[image][name] = seam.summarise(values, truth)
    return found


def claims(summary: Summary) -> list[Claim]:
    """Return what was to be shown of a sample."""
    score = summary["one"].get("seam at borders, in phase")
    if score is None:
        return []
    low, high = WANTED
    text = (
        f"steps across window borders are {low} to {high} of those elsewhere, relative to the truth"
    )
    return [Claim(text, _told(score["of truth"]), within(score["of truth"][0], low, high))]


def text(summary: Summary) -> list[str]:
    """Return the table."""
    lines = [
        "## Seams",
        "",
        "Sections are predicted in overlapping windows. Squared steps across the lines where "
        "windows begin or end, divided by those at other lines (1: no seam). *In phase*: other "
        "lines on the decoder's grid, as borders are. *Of truth*: divided by the same of the image "
        "as taken.",
        "",
    ]
    kinds = [(name, kind) for name in SCORES for kind in ("score", "of truth")]
    head = ["", *(f"{SCORES[n]}{', of truth' if k != 'score' else ''}" for n, k in kinds)]
    rows = [
        [title, *(_told(summary[image][n][k]) if n in summary[image] else "–" for n, k in kinds)]
        for image, title in IMAGES.items()
    ]
    return lines + table(head, rows)


def _told(score: Sequence[float]) -> str:
    value, low, high = (number(each) for each in score)
    return f"{value} ({low} to {high})"


def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
    """Draw nothing."""

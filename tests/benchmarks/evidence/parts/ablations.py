"""What does each idea of the paper bring? The model without one of them at a time.

All models here were trained equally briefly, the full one ("base") as well. Without DAMMP is the
full model with the gate always open.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..lab import Job, Lab
from ..rows import Row
from ..sections import Section
from ..settings import PRESETS, Settings, Specimen
from ..statistics import Claim, Stat, difference, mean_of
from ..tables import DIGITS, TITLES, table, told
from . import Summary, of_preset

FULL = "full model"
NO_GATE = "no DAMMP (gate always open)"
MEASURES = ("pearson_r", "ssim", "psnr")
VIEWS = ("taken/fitted", "noise-free/fitted")


def specimens(settings: Settings) -> list[Specimen]:
    """Return all held-out sections, if there is anything to compare."""
    return settings.held_out if settings.ablations else []


def depends(lab: Lab) -> dict[str, Any]:
    """Return all models."""
    models = {name: lab.digest(job.model) for name, job in _jobs(lab.settings).items()}
    return {"models": models}


def _jobs(settings: Settings) -> dict[str, Job]:
    if not settings.ablations:
        return {}
    ablated = {name: Job(model=name) for name in settings.ablations}
    base = {"gated": FULL, "multi": NO_GATE}
    return {base[b]: Job(b, model="base") for b in base} | ablated


def measure(lab: Lab, section: Section) -> Row:
    """Return the measures of each model's single sample."""
    found = {}
    for name, job in _jobs(lab.settings).items():
        scores = section.scores(lab.predict(section, job).np)
        found[name] = {view: {m: scores[view][m] for m in MEASURES} for view in VIEWS}
    return {"scores": found}


def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
    """Return means by preset and model, and what the full model has over each."""
    found: Summary = {preset: {} for preset in PRESETS}
    for preset in PRESETS:
        chosen = of_preset(rows, preset)
        for name in _jobs(lab.settings):
            found[preset][name] = {
                view: {m: _of(chosen, name, view, m) for m in MEASURES} for view in VIEWS
            }
    return found


def _of(rows: Sequence[Row], name: str, view: str, measure: str) -> dict[str, Stat]:
    a, b = ([row["scores"][of][view][measure] for row in rows] for of in (FULL, name))
    return {"mean": mean_of(b), "full minus this": difference(a, b)}


def claims(summary: Summary) -> list[Claim]:
    """Return whether each idea pays, by PSNR."""
    found = []
    for preset in PRESETS:
        for name, of in summary[preset].items():
            if name != FULL:
                stat = of["taken/fitted"]["psnr"]["full minus this"]
                text = f"{preset}: the full model is not worse than {name}"
                found.append(Claim(text, f"{told(stat, signed=True)} dB", _not_worse(stat)))
    return found


def _not_worse(stat: Stat) -> str:
    if stat["mean"] is None or stat["low"] is None:
        return "not decided"
    if stat["high"] < 0:
        return "no"
    return "yes, better" if stat["low"] > 0 else "yes, no difference shown"


def text(summary: Summary) -> list[str]:
    """Return the tables."""
    lines = [
        "## What each idea of the paper brings",
        "",
        "The model without one idea at a time: without MMFM features are concatenated, without "
        "UAFM attention is plain, without DAMMP nuclei are used everywhere. All of these, the full "
        "one too, had the same short training, so numbers are lower than above. Single "
        "samples, after one affine fit; differences are full − this, section by section.",
        "",
    ]
    if not any(summary.values()):
        return [*lines, "Not measured: no ablated models were given.", ""]
    for preset in PRESETS:
        for view in VIEWS:
            head = [
                f"{preset}, {view.partition('/')[0]}",
                *(h for m in MEASURES for h in (TITLES[m], "full − this")),
            ]
            lines += table(head, list(_lines(summary[preset], view)))
    return lines


def _lines(models: Summary, view: str) -> Iterator[list[str]]:
    for name, of in models.items():
        cells = []
        for measure in MEASURES:
            stats, digits = of[view][measure], DIGITS[measure]
            gap = told(stats["full minus this"], digits, signed=True)
            cells += [told(stats["mean"], digits), "–" if name == FULL else gap]
        yield [name, *cells]


def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
    """Draw nothing."""

"""docs/results.md and its figures, from the numbers alone.

1. Every part's rows become a summary; all summaries become results.json.
2. What it says: the claims of all parts, first.
3. Then the chapters, in the order of `PARTS`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .lab import Lab
from .parts import headline, part
from .run import measured
from .settings import Settings
from .statistics import Claim
from .tables import table

WARNING = (
    "**Simulated tissue only.** Everything on this page is measured on simulated sections. It says "
    "how the model does on tissue like the simulator's, which it never saw, and nothing about real "
    "tumours: real nanoparticle images are not public. For your own sections, measure: "
    "[evaluate](evaluate.md). Which numbers of `analyze` a predicted map gives is on "
    "[a page of its own](measures.md)."
)


def write(lab: Lab, command: str) -> Path:
    """Write the document from what was measured so far; return its path."""
    settings = lab.settings
    images = settings.out / "images"
    images.mkdir(parents=True, exist_ok=True)
    summaries: dict[str, Any] = {}
    counts: dict[str, tuple[int, int]] = {}
    for name in settings.parts:
        rows, wanted = measured(lab, name), len(part(name).specimens(settings))
        counts[name] = len(rows), wanted
        if rows or not wanted:
            summaries[name] = part(name).summarise(rows, lab)
            if rows:
                part(name).draw(rows, summaries[name], images)
    claims = [claim for name, found in summaries.items() for claim in part(name).claims(found)]
    numbers = {
        "command": command,
        "model": {"name": lab.model().card.get("name"), "weights": lab.digest()},
        "sections": {name: {"measured": n, "wanted": all_} for name, (n, all_) in counts.items()},
        "claims": [claim.to_dict() for claim in claims],
        **summaries,
    }
    (settings.out / "results.json").write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
    lines = [
        "# How good is the bundled model",
        "",
        "<!-- Written by tests/benchmarks/results.py; do not edit. -->",
        "",
        WARNING,
        "",
        *_what_it_says(numbers, claims),
        *_how(settings, numbers),
    ]
    for name, found in summaries.items():
        lines += part(name).text(found)
    path = settings.out / "results.md"
    path.write_text("\n".join(lines).rstrip() + "\n", "utf-8")
    return path


def _what_it_says(numbers: dict[str, Any], claims: Sequence[Claim]) -> list[str]:
    """Return the answer: in words, claim by claim, and what is missing."""
    held = sum(claim.holds.startswith("yes") for claim in claims)
    lines = ["## What it says", ""]
    if "headline" in numbers:
        lines += headline.sentences(numbers["headline"])
    lines += [
        f"{held} of {len(claims)} things that were to be shown hold. *Ours* is the mean of several "
        "samples here, unless a mode is named; numbers are after one affine intensity fit, but for "
        "intervals and spreads.",
        "",
        *table(
            ["to be shown", "found (95 % interval)", "holds"],
            [[claim.text, claim.found, claim.holds] for claim in claims],
        ),
    ]
    begun = [
        f"{name} {of['measured']} of {of['wanted']}"
        for name, of in numbers["sections"].items()
        if of["measured"] < of["wanted"]
    ]
    return (
        [*lines, f"**Not finished**, measured so far: {', '.join(begun)}.", ""] if begun else lines
    )


def _how(settings: Settings, numbers: dict[str, Any]) -> list[str]:
    """Return what was done, and the command that does it again."""
    count, side, first = settings.sections, settings.size, settings.first_seed
    return [
        "## How it was measured",
        "",
        f"Model `{numbers['model']['name']}` (weights {numbers['model']['weights']}). {count} "
        f"internal and {count} external sections of {side} × {side} px at 1 µm, seeds {first} to "
        f"{first + count - 1}, which no training uses. *Internal* is tissue of the kind that the "
        "model was trained on, *external* another: other vessels, particles, stain and camera.",
        "",
        "Each prediction is compared with the image **as taken** by the camera (0.1 and 99.9 "
        "percentiles as 0 and 1), whose noise nobody can predict, and with the **noise-free** "
        "field behind it. *Fitted* numbers are after one affine change of intensity (a factor and "
        "an offset for the whole section) to the truth they are compared with: they judge where "
        "the particles are. Numbers without a fit judge intensities as well.",
        "",
        "Intervals are 95 % bootstraps over sections; differences are paired, section by section. "
        "*Not decided*: the interval lies on both sides of the limit.",
        "",
        "Everything here, `results.json` with all numbers included, comes from",
        "",
        "```sh",
        numbers["command"],
        "```",
        "",
    ]

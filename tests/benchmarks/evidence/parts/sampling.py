"""How many steps are enough, and how many samples?

The fast sampler with more and fewer steps, the authors' with all of them, and means of several
samples, on the same sections. Spread is as important as error: a sampler that draws the mean
scores better and is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import spectrum

from napari_damm.engine.config import STEPS
from napari_damm.util import metrics

from .. import figures
from ..lab import Job, Lab
from ..rows import Row
from ..sections import Section
from ..settings import Settings, Specimen
from ..statistics import Claim, Stat, difference, mean_of, within
from ..tables import number, table, told
from . import Summary

REFERENCE = "reference"
SSIM_TOLERANCE = 0.005
SPREAD = (0.9, 1.1)
QUALITY = (("ssim", "fitted"), ("ssim", "raw"), ("psnr", "fitted"), ("psnr", "raw"))


def specimens(settings: Settings) -> list[Specimen]:
    """Return the larger sections."""
    return settings.held_out_large


def depends(lab: Lab) -> dict[str, Any]:
    """Return the model, and all steps and samples."""
    wishes = lab.settings
    steps = [*wishes.steps, wishes.reference_steps, wishes.samples]
    return {"model": lab.digest(), "steps": steps}


def jobs(settings: Settings) -> dict[str, Job]:
    """Return what is compared, by name."""
    found = {f"{steps} steps": Job(steps=steps) for steps in settings.steps}
    found[REFERENCE] = Job(mode="reference", steps=settings.reference_steps)
    for samples in settings.powers_of_two:
        found[f"mean of {samples}"] = Job(samples=samples)
    return found


def measure(lab: Lab, section: Section) -> Row:
    """Return measures, spread and spectrum of each."""
    images = {name: lab.predict(section, job).np for name, job in jobs(lab.settings).items()}
    taken, tissue = section.truths["taken"], section.tissue
    reference = images[REFERENCE]
    found = {}
    for name, image in images.items():
        found[name] = {
            "scores": section.scores(image),
            "spread of reference": metrics.std_ratio(reference[tissue], image[tissue]),
            "power": spectrum.power_ratio(taken, image).tolist(),
        }
    found["noise-free"] = {
        "power": spectrum.power_ratio(taken, section.truths["noise-free"]).tolist()
    }
    return {"found": found}


def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
    """Return means over all sections, and the difference of each to the reference."""
    names = list(jobs(lab.settings))
    fast = f"{STEPS['fast']} steps"
    return {
        "sections": len(rows),
        "size": lab.settings.sampling_size,
        "reference steps": lab.settings.reference_steps,
        "fast": fast if fast in names else names[0],
        "draft": f"{STEPS['draft']} steps",
        "bands px": list(spectrum.BANDS_PX),
        "samplers": {name: _of_sampler(rows, name) for name in names},
        "power of noise-free": _power([row["found"]["noise-free"] for row in rows]),
    }


def _of_sampler(rows: Sequence[Row], name: str) -> Summary:
    found = [row["found"][name] for row in rows]
    reference = [row["found"][REFERENCE] for row in rows]
    quality = {}
    for truth in ("taken", "noise-free"):
        for measure, fit in QUALITY:
            a, b = (
                [s["scores"][f"{truth}/{fit}"][measure] for s in all_]
                for all_ in (found, reference)
            )
            at = f"{truth}/{fit}/{measure}"
            quality[at] = {"mean": mean_of(a), "minus reference": difference(a, b)}
    spreads = [s["scores"]["taken/raw"]["std_ratio"] for s in found]
    return {
        "quality": quality,
        "spread of taken": mean_of(spreads),
        "spread of noise-free": mean_of(
            [s["scores"]["noise-free/raw"]["std_ratio"] for s in found]
        ),
        "spread of reference": mean_of([s["spread of reference"] for s in found]),
        "power": _power(found),
    }


def _power(found: Sequence[Row]) -> list[Stat]:
    """Return the power in each band, relative to the image as taken."""
    return [mean_of(values) for values in zip(*(each["power"] for each in found), strict=True)]


def claims(summary: Summary) -> list[Claim]:
    """Return what was to be shown of the fast sampler."""
    fast = summary["samplers"][summary["fast"]]
    gap = fast["quality"]["taken/fitted/ssim"]["minus reference"]
    low, high = SPREAD
    return [
        Claim(
            f"`fast` is within {SSIM_TOLERANCE} SSIM of `reference`",
            told(gap, 4, signed=True),
            within(gap["mean"], -SSIM_TOLERANCE, SSIM_TOLERANCE),
        ),
        Claim(
            f"the spread of `fast` is {low} to {high} of that of the image as taken",
            told(fast["spread of taken"]),
            within(fast["spread of taken"]["mean"], low, high),
        ),
        Claim(
            f"the spread of `fast` is {low} to {high} of that of `reference`",
            told(fast["spread of reference"]),
            within(fast["spread of reference"]["mean"], low, high),
        ),
    ]


def text(summary: Summary) -> list[str]:
    """Return the tables."""
    bands = summary["bands px"]
    lines = [
        "## How many steps, how many samples",
        "",
        f"{summary['sections']} sections of {summary['size']} px, half of them external. "
        f"`fast` is {summary['fast']}, `draft` {summary['draft']}, `reference` the authors' "
        f"sampler with {summary['reference steps']} steps; means are of `fast` samples. *Spread* "
        "is the standard deviation of the prediction, as it is, over that of the image named: "
        "below 1 it is too smooth.",
        "",
        "![Quality by steps, detail by scale](images/results-sampling.png)",
        "",
    ]
    head = ["", "SSIM, as taken", "− reference", "PSNR, as taken", "SSIM, noise-free",
            "PSNR, noise-free", "SSIM, as taken, no fit", "PSNR, as taken, no fit",
            "spread / as taken", "spread / noise-free", "spread / reference"]  # fmt: skip
    rows = [_line(name, of) for name, of in summary["samplers"].items()]
    lines += table(head, rows)
    lines += [
        "Detail: power of the prediction over that of the image as taken, by wavelength in px. "
        "The noise-free field says how much of it can be known at all; the rest is camera noise.",
        "",
    ]
    head = ["", *(f"{a:g} to {b:g} px" for a, b in pairwise(bands))]
    powers = {name: of["power"] for name, of in summary["samplers"].items()}
    powers["noise-free field"] = summary["power of noise-free"]
    rows = [[name, *(number(stat["mean"]) for stat in power)] for name, power in powers.items()]
    return lines + table(head, rows)


def _line(name: str, of: Summary) -> list[str]:
    quality = of["quality"]
    told_gap = told(quality["taken/fitted/ssim"]["minus reference"], 4, signed=True)
    spreads = [f"spread of {what}" for what in ("taken", "noise-free", "reference")]
    means = [
        number(quality[at]["mean"]["mean"], digits)
        for at, digits in (
            ("taken/fitted/psnr", 2), ("noise-free/fitted/ssim", 3), ("noise-free/fitted/psnr", 2),
            ("taken/raw/ssim", 3), ("taken/raw/psnr", 2),
        )
    ]  # fmt: skip
    return [
        name,
        number(quality["taken/fitted/ssim"]["mean"]["mean"], 3),
        "–" if name == REFERENCE else told_gap,
        *means,
        *(number(of[spread]["mean"]) for spread in spreads),
    ]


def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
    """Draw quality by steps and power by wavelength."""
    figures.draw_sampling(summary, folder / "results-sampling.png")

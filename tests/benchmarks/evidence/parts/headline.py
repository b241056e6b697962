"""How good are the predictions, and beside simpler and well-known ways?

Each contestant is measured by the package's own evaluation, against both truths, as it is and
after one affine intensity fit to that truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import baselines

from napari_damm.util import metrics

from .. import figures
from ..lab import Job, Lab, file_digest
from ..rows import Row
from ..sections import FITS, TRUTHS, Section
from ..settings import PRESETS, Settings, Specimen
from ..statistics import Claim, Stat, above, difference, mean_of, over_sections
from ..tables import DIGITS, TITLES, number, table, told
from . import Summary, of_preset

BRANCHES = {"gated": "ours", "uni": "vessels only", "multi": "vessels + nuclei everywhere"}
OTHERS = {
    "unet": "regression U-Net",
    "gan": "conditional GAN (pix2pix)",
    "linear": "linear model, fitted on the very section",
    "blur": "best blur of the vessels on the very section",
}
MEASURES = ("ssim", "psnr", "mse", "r2", "icc", "distance_icc")
VIEWS = tuple(f"{truth}/{fit}" for truth in TRUTHS for fit in FITS)
TOLERANCE_DB = -0.1
AS_GOOD = {"psnr": -0.1, "ssim": -0.005}
"""By how much the expected map may lie below the regression U-Net: it draws samples, too."""


def specimens(settings: Settings) -> list[Specimen]:
    """Return all held-out sections."""
    return settings.held_out


def depends(lab: Lab) -> dict[str, Any]:
    """Return the model and the files of the baselines."""
    files = {name: file_digest(path) for name, path in lab.files.items()}
    return {"model": lab.digest(), "samples": lab.settings.samples, "baselines": files}


def measure(lab: Lab, section: Section) -> Row:
    """Return all measures of all contestants; of the first section the pictures as well."""
    images = {}
    for branch in BRANCHES:
        for how, samples in (("mean", lab.settings.samples), ("one", 1)):
            images[f"{branch}-{how}"] = lab.predict(section, Job(branch, samples)).np
    images["gated-expected"] = lab.predict(section, Job("gated", mode="expected")).np
    images |= lab.baselines(section)
    scores = {name: section.scores(image) for name, image in images.items()}
    return {"scores": scores, "samples": lab.settings.samples, **_pictures(lab, section)}


def _pictures(lab: Lab, section: Section) -> Row:
    found = lab.predict(section, Job("gated", lab.settings.samples))
    assert found.std is not None
    return {
        "vessels": section.vessels,
        "nuclei": section.nuclei,
        "taken": section.truths["taken"],
        "predicted": found.np,
        "std": found.std * lab.spread_factor,
        "uncertainty": found.uncertainty,
        "divergence": section.simulated.divergence,
    }


def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
    """Return means by preset, contestant and view; paired differences of ours with the others."""
    found: Summary = {
        "samples": lab.settings.samples,
        "parameters": {name: baselines.parameters(path) for name, path in lab.files.items()},
        "our parameters": sum(p.numel() for p in lab.model().unet.parameters()),
        "means": {},
        "differences": {},
    }
    for preset in PRESETS:
        chosen = of_preset(rows, preset)
        names = list(chosen[0]["scores"]) if chosen else []
        found["means"][preset] = {name: _means(chosen, name) for name in names}
        found["differences"][preset] = {
            f"{ours} minus {other}": {
                view: {m: _difference(chosen, ours, other, view, m) for m in ("psnr", "ssim")}
                for view in VIEWS
            }
            for ours, other in _pairs(names)
        }
    return found


def _means(rows: Sequence[Row], name: str) -> dict[str, dict[str, Stat]]:
    """Return a contestant's statistics by view and measure."""
    found: dict[str, dict[str, Stat]] = {}
    for view in VIEWS:
        of_view = [row["scores"][name][view] for row in rows]
        found[view] = {
            measure: mean_of([scores[measure] for scores in of_view])
            for measure in (*MEASURES, "pearson_r", "std_ratio")
            if measure != "distance_icc"
        }
        reached = [(scores["distance_truth_um"], scores["distance_um"]) for scores in of_view]
        there = [pair for pair in reached if None not in pair]
        found[view]["distance_icc"] = over_sections(there, metrics.icc31)
    return found


def _pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield ours and what it is compared with: branches that drew as many samples, all others."""
    for how in ("expected", "mean", "one"):
        for other in names:
            if other in OTHERS or (other.endswith(how) and not other.startswith("gated")):
                yield f"gated-{how}", other


def _difference(rows: Sequence[Row], ours: str, other: str, view: str, measure: str) -> Stat:
    a, b = ([row["scores"][name][view][measure] for row in rows] for name in (ours, other))
    return difference(a, b)


def claims(summary: Summary) -> list[Claim]:
    """Return what was to be shown of both presets."""
    found = []
    for preset in PRESETS:
        by_pair = summary["differences"][preset]
        for other, measures in (
            ("linear", ("psnr", "ssim")),
            ("unet", ("ssim",)),
            ("gan", ("ssim",)),
        ):
            stats = by_pair.get(f"gated-mean minus {other}")
            for measure in measures if stats else ():
                stat = stats["taken/fitted"][measure]
                found.append(
                    Claim(
                        f"{preset}: ours has a higher {measure.upper()} than the {OTHERS[other]}",
                        told(stat, DIGITS[measure], signed=True),
                        above(stat),
                    )
                )
        stats = by_pair.get("gated-expected minus unet")
        for measure, limit in AS_GOOD.items() if stats else ():
            stat = stats["noise-free/fitted"][measure]
            text = (
                f"{preset}: the expected map is as near to the noise-free field as the "
                f"{OTHERS['unet']} ({measure.upper()} no more than {-limit:g} below)"
            )
            found.append(Claim(text, told(stat, DIGITS[measure], signed=True), above(stat, limit)))
        for other in ("uni", "multi"):
            stats = by_pair.get(f"gated-mean minus {other}-mean")
            if stats:
                stat = stats["taken/fitted"]["psnr"]
                text = f"{preset}: the gate costs no more than 0.1 dB against {BRANCHES[other]}"
                found.append(
                    Claim(text, f"{told(stat, signed=True)} dB", above(stat, TOLERANCE_DB))
                )
    return found


def sentences(summary: Summary) -> list[str]:
    """Return the result in words, a sentence for each preset."""
    found = []
    for preset in PRESETS:
        means = summary["means"][preset]
        r = {name: views["noise-free/fitted"]["pearson_r"] for name, views in means.items()}
        others = [f"{OTHERS[name]} {number(r[name]['mean'])}" for name in OTHERS if name in r]
        if r:
            found += [
                f"**{preset.capitalize()} sections.** Where the particles really are and where "
                f"ours expects them correlate with r = {told(r['gated-expected'])}, the mean of "
                f"its samples with {number(r['gated-mean']['mean'])}. For comparison: "
                f"{', '.join(others)}.",
                "",
            ]
    return found


def text(summary: Summary) -> list[str]:
    """Return the tables."""
    lines = [
        "## How good are the predictions",
        "",
        "Networks that ours is compared with are as large, and were trained on simulated sections; "
        "the linear model (both images, blurred by several widths) and the blur are fitted to the "
        "very image that they are judged on, which no one could do who lacks it "
        "(`tests/benchmarks/baselines`).",
        "",
        "*Ours* is what Predict does, the gate choosing between the branches. *Expected* is the "
        f"default, one evaluation of the network. *Mean* is the mean of {summary['samples']} "
        f"plausible maps (`--mode fast --samples {summary['samples']}`), *one* a single one. A "
        "mean is smoother and scores better; a plausible map looks like a microscope's picture.",
        "",
        *_sizes(summary),
        "![Measures by contestant](images/results-headline.png)",
        "",
        "![A section of either preset](images/results-example.png)",
        "",
        "Of either preset the section that was predicted worst (lowest correlation with the image "
        "as taken):",
        "",
        "![The worst section of either preset](images/results-worst.png)",
        "",
        "*ICC*: ICC(3,1) of mean intensities in blocks of 64 px. *Distance ICC*: ICC(3,1) of true "
        "and predicted extravasation distances, sections being the subjects. See "
        "[the measures](evaluate.md#the-measures).",
        "",
    ]
    views = {
        "taken/fitted": "against the image as taken, after one affine intensity fit",
        "noise-free/fitted": "against the noise-free field, after one affine intensity fit",
    }
    for preset in PRESETS:
        for view, title in views.items():
            means = summary["means"][preset]
            lines += [f"### {preset.capitalize()} sections, {title}", ""]
            lines += table(["", *(TITLES[m] for m in MEASURES)], list(_of_view(means, view)))
    lines += ["### Without any fit", "", "Intensities as they were predicted.", ""]
    head = ["", *(f"{p}, {t}: {m}" for p in PRESETS for t in TRUTHS for m in ("SSIM", "PSNR"))]
    lines += table(head, list(_unfitted(summary["means"])))
    lines += ["### Differences, section by section", "", "PSNR in dB and SSIM, after the fit.", ""]
    head = ["", *(f"{p}, {t}: {m}" for p in PRESETS for t in TRUTHS for m in ("PSNR", "SSIM"))]
    return lines + table(head, list(_differences(summary["differences"])))


def _sizes(summary: Summary) -> list[str]:
    """Tell how large the networks are, and which are missing."""
    sizes = {OTHERS[name]: count for name, count in summary["parameters"].items()}
    told_sizes = [f"{name} {count / 1e6:.2f}" for name, count in sizes.items()]
    ours = f"ours {summary['our parameters'] / 1e6:.2f}"
    lines = [f"Millions of parameters: {', '.join([*told_sizes, ours])} (noise estimator).", ""]
    missing = [OTHERS[name] for name in ("unet", "gan") if name not in summary["parameters"]]
    if missing:
        lines += [f"Not measured, for want of a trained file: {', '.join(missing)}.", ""]
    return lines


def _label(name: str) -> str:
    branch, _, how = name.partition("-")
    return OTHERS.get(name) or f"{BRANCHES[branch]}, {how}"


def _of_view(means: Summary, view: str) -> Iterator[list[str]]:
    for name, views in means.items():
        stats = views[view]
        yield [_label(name), *(told(stats[m], DIGITS[m]) for m in MEASURES)]


def _unfitted(means: Summary) -> Iterator[list[str]]:
    for name in means[PRESETS[0]]:
        cells = [
            number(means[preset][name][f"{truth}/raw"][m]["mean"], DIGITS[m])
            for preset in PRESETS
            for truth in TRUTHS
            for m in ("ssim", "psnr")
            if name in means[preset]
        ]
        yield [_label(name), *cells]


def _differences(by_preset: Summary) -> Iterator[list[str]]:
    for pair in by_preset[PRESETS[0]]:
        ours, other = pair.split(" minus ")
        cells = [
            told(by_preset[preset][pair][f"{truth}/fitted"][m], DIGITS[m], signed=True)
            for preset in PRESETS
            for truth in TRUTHS
            for m in ("psnr", "ssim")
            if pair in by_preset[preset]
        ]
        yield [f"{_label(ours)} − {_label(other)}", *cells]


def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
    """Draw the measures by contestant, and of each preset the first section and the worst."""
    labels = {name: _label(name) for preset in PRESETS for name in summary["means"][preset]}
    figures.draw_contestants(summary["means"], labels, folder / "results-headline.png")
    by_preset = [of_preset(rows, preset) for preset in PRESETS if of_preset(rows, preset)]
    figures.draw_examples([found[0] for found in by_preset], folder / "results-example.png")
    worst = [min(found, key=_correlation) for found in by_preset]
    figures.draw_examples(worst, folder / "results-worst.png")


def _correlation(row: Row) -> float:
    return float(row["scores"]["gated-mean"]["taken/fitted"]["pearson_r"])

"""Does the model know where the nuclei mislead, and does the gate help there?

A cell (32 px) is divergent where more than half of it is, clean where none of it is. Errors are
after one affine fit over the whole section, then taken over the pixels of either region.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from section_metrics import auroc

from napari_damm.util import metrics

from .. import figures
from ..lab import Job, Lab
from ..rows import Row
from ..sections import KINDS, TRUTHS, Section, divergence_kinds
from ..settings import PRESETS, Settings, Specimen
from ..statistics import Claim, above, difference, mean_of, over_sections
from ..tables import number, percent, table, told
from . import Summary, of_preset

BRANCHES = {"gated": "ours", "uni": "vessels only", "multi": "vessels + nuclei everywhere"}
REGIONS = ("inside", "outside")
KIND_NAMES = {"_drop_out": "drop-out", "_defocus": "out of focus", "_misregister": "shifted"}
WANTED_AUROC = 0.85
UNI, MULTI = 1, 2


def specimens(settings: Settings) -> list[Specimen]:
    """Return all held-out sections."""
    return settings.held_out


def depends(lab: Lab) -> dict[str, Any]:
    """Return the model."""
    return {"model": lab.digest(), "samples": lab.settings.samples}


def measure(lab: Lab, section: Section) -> Row:
    """Return the maps on cells, and the squared errors of each branch inside and outside."""
    mask = section.simulated.divergence.astype(bool)
    kinds = divergence_kinds(section.specimen)
    row: Row = {
        "share": section.cells(mask),
        "kind": np.stack([section.cells(kinds == k + 1) for k in range(len(KINDS))]).argmax(axis=0),
        "errors": {},
    }
    for how, samples in (("mean", lab.settings.samples), ("one", 1)):
        found = lab.predict(section, Job("gated", samples))
        row[f"uncertainty {how}"] = section.of_cells(found.uncertainty)
        row[f"branch {how}"] = section.of_cells(found.branch)
    regions = {"inside": mask & section.tissue, "outside": ~mask & section.tissue}
    for branch in BRANCHES:
        image = lab.predict(section, Job(branch, lab.settings.samples)).np
        row["errors"][branch] = {
            truth: {
                region: _mse(section.truths[truth], section.fitted(truth, image), pixels)
                for region, pixels in regions.items()
            }
            for truth in TRUTHS
        }
    return row


def _mse(truth: NDArray[Any], image: NDArray[Any], pixels: NDArray[np.bool_]) -> float | None:
    return metrics.mse(truth[pixels], image[pixels]) if pixels.any() else None


def summarise(rows: Sequence[Row], lab: Lab) -> Summary:
    """Return AUROC, what the gate chose, and errors in and out of divergence, by preset."""
    return {preset: _of_preset(of_preset(rows, preset)) for preset in PRESETS}


def _of_preset(rows: Sequence[Row]) -> Summary:
    found: Summary = {
        "auroc": {},
        "gate": {},
        "by kind": {},
        "mse": {},
        "psnr": {},
        "differences": {},
    }
    for how in ("mean", "one"):
        found["auroc"][how] = {
            "pooled": over_sections(rows, lambda some, how=how: _auroc(some, how)),
            "per section": mean_of([_had_auroc(row, how) for row in rows]),
        }
        found["gate"][how] = {
            "divergent to uni": over_sections(
                rows, lambda some, how=how: _share(some, how, divergent=True, branch=UNI)
            ),
            "clean to multi": over_sections(
                rows, lambda some, how=how: _share(some, how, divergent=False, branch=MULTI)
            ),
        }
    for kind, name in enumerate(KINDS):
        found["by kind"][KIND_NAMES[name]] = over_sections(
            rows, lambda some, kind=kind: _auroc(some, "mean", kind)
        )
    for truth in TRUTHS:
        for region in REGIONS:
            at = f"{truth}/{region}"
            mse = {b: [row["errors"][b][truth][region] for row in rows] for b in BRANCHES}
            psnr = {branch: [_psnr(value) for value in values] for branch, values in mse.items()}
            found["mse"][at] = {branch: mean_of(values) for branch, values in mse.items()}
            found["psnr"][at] = {branch: mean_of(values) for branch, values in psnr.items()}
            found["differences"][at] = {
                other: difference(psnr["gated"], psnr[other]) for other in ("uni", "multi")
            }
    found["roc"] = {how: _roc(rows, how) for how in ("mean", "one")}
    return found


def _auroc(rows: Sequence[Row], how: str, kind: int | None = None) -> float:
    """Pool cells of sections: divergent ones (of one kind) against the others."""
    score, divergent = _pooled(rows, how, kind)
    return auroc(divergent, score)


def _pooled(
    rows: Sequence[Row], how: str, kind: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    divergent = np.concatenate([(row["share"] > 0.5).ravel() for row in rows])
    score = np.concatenate([row[f"uncertainty {how}"].ravel() for row in rows])
    if kind is None:
        return score, divergent
    kinds = np.concatenate([row["kind"].ravel() for row in rows])
    kept = ~divergent | (kinds == kind)
    return score[kept], divergent[kept]


def _had_auroc(row: Row, how: str) -> float | None:
    try:
        return _auroc([row], how)
    except ValueError:  # all of it divergent, or none
        return None


def _share(rows: Sequence[Row], how: str, divergent: bool, branch: int) -> float:
    """Return the share of divergent, or clean, cells that a branch predicted."""
    chosen = [row["share"] > 0.5 if divergent else row["share"] == 0 for row in rows]
    branches = [row[f"branch {how}"][cells] for row, cells in zip(rows, chosen, strict=True)]
    pooled = np.concatenate(branches)
    if not pooled.size:
        raise ValueError("no such cells")
    return float(np.mean(pooled == branch))


def _psnr(mse: float | None) -> float | None:
    return None if mse is None or mse == 0 else float(-10 * np.log10(mse))


def _roc(rows: Sequence[Row], how: str) -> list[list[float]]:
    """Return some points (false, true positive rate) of the pooled ROC curve."""
    score, divergent = _pooled(rows, how) if rows else (np.zeros(0), np.zeros(0, bool))
    if divergent.all() or not divergent.any():
        return []
    limits = np.quantile(score, np.linspace(1, 0, 60))
    points = [(score[~divergent] >= limit, score[divergent] >= limit) for limit in limits]
    return [[0.0, 0.0], *([float(a.mean()), float(b.mean())] for a, b in points)]


def claims(summary: Summary) -> list[Claim]:
    """Return what was to be shown."""
    found = []
    for preset, of in summary.items():
        auroc, gain = of["auroc"]["mean"]["pooled"], of["differences"]["taken/inside"]["multi"]
        found += [
            Claim(
                f"{preset}: the uncertainty map finds planted divergence (AUROC 0.85 or more)",
                told(auroc),
                "not measured" if auroc["mean"] is None
                else "yes" if auroc["mean"] >= WANTED_AUROC else "no",
            ),
            Claim(
                f"{preset}: inside divergent regions ours is better than {BRANCHES['multi']}",
                f"{told(gain, signed=True)} dB",
                above(gain),
            ),
        ]  # fmt: skip
    return found


def text(summary: Summary) -> list[str]:
    """Return the tables."""
    lines = [
        "## Where the nuclei mislead",
        "",
        "In a part of each section the nuclei image was made to mislead: stain lost, out of focus, "
        "or shifted. Does uncertainty mark these places? AUROC is the chance that a divergent cell "
        "(32 px, more than half of it in such a place) is more uncertain than one that is not; 0.5 "
        "is a coin toss. *By kind* counts the divergent cells of one kind alone. *Mean* and *one* "
        "as above.",
        "",
        "![ROC curves and errors](images/results-divergence.png)",
        "",
    ]
    rows = []
    for how in ("mean", "one"):
        for kind, title in (("pooled", "all cells together"), ("per section", "mean of sections")):
            cells = [told(summary[preset]["auroc"][how][kind]) for preset in PRESETS]
            rows.append([f"AUROC, {title}, {how}", *cells])
    for name in KIND_NAMES.values():
        rows.append(
            [f"AUROC by kind, {name}", *(told(summary[p]["by kind"][name]) for p in PRESETS)]
        )
    shares = (
        ("divergent to uni", "divergent cells predicted from vessels alone"),
        ("clean to multi", "clean cells predicted from vessels and nuclei"),
    )
    for key, title in shares:
        for how in ("mean", "one"):
            cells = [percent(summary[preset]["gate"][how][key]) for preset in PRESETS]
            rows.append([f"{title}, {how}", *cells])
    lines += table(["", *PRESETS], rows)
    lines += ["PSNR in dB (mean of samples, after the fit) inside and outside these places:", ""]
    head = ["", *BRANCHES.values(), "ours − vessels only", "ours − vessels + nuclei"]
    return lines + table(head, [_line(summary, *at) for at in _places()])


def _places() -> list[tuple[str, str, str]]:
    return [(p, t, r) for p in PRESETS for r in REGIONS for t in TRUTHS]


def _line(summary: Summary, preset: str, truth: str, region: str) -> list[str]:
    at = f"{truth}/{region}"
    means, differences = summary[preset]["psnr"][at], summary[preset]["differences"][at]
    cells = [number(means[branch]["mean"]) for branch in BRANCHES]
    cells += [told(differences[other], signed=True) for other in ("uni", "multi")]
    return [f"{preset}, {region}, {truth}", *cells]


def draw(rows: Sequence[Row], summary: Summary, folder: Path) -> None:
    """Draw ROC curves and errors."""
    figures.draw_divergence(summary, BRANCHES, folder / "results-divergence.png")

"""A methods paragraph, ready to paste: what was done to get these numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from napari_damm.analysis.config import TESTS
from napari_damm.analysis.report import AnalysisReport, SectionFacts
from napari_damm.util.version import __version__


def methods_paragraph(report: AnalysisReport) -> str:
    """Return what was done, in sentences."""
    return " ".join(_sentences(report))


def _sentences(report: AnalysisReport) -> Iterator[str]:
    first = report.sections[0]
    height, width = first.pixel_um
    size = f"{height:g}" if height == width else f"{height:g} x {width:g}"
    count = len(report.sections)
    yield (
        f"Particle distribution was measured with napari-damm {__version__} in {count} "
        f"section{'s' if count != 1 else ''} at {size} um per pixel."
    )
    yield from _prediction(first)
    if first.vessels_from != "none":
        yield f"Vessels: {first.vessels_from}{_thresholds(report, 'vessels')}."
        yield (
            "Distances run from pixel centres to the nearest vessel's edge, up to 250 um; the "
            "profile is the mean intensity in shells of 5 um, and ends before the first of fewer "
            "than 200 pixels."
        )
    yield f"Particles count as bright above a threshold{_thresholds(report, 'particles')}."
    if first.nuclei_from != "none":
        yield f"Nuclei: {first.nuclei_from}; cells are nuclei grown by 2 um."
    if report.comparisons:
        yield (
            "Animals are the units, each the mean of its sections. Groups were compared by the "
            f"difference of {_compared(str(report.settings['test']))}; p was corrected by Holm's "
            "method for all measures of a region."
        )


def _compared(test: str) -> str:
    if test == "mixed":
        return (
            f"a {TESTS[test]} (statsmodels), with its 95 % interval and p of Student's t with "
            "(animals - 2) degrees of freedom, and Hedges' g of the animals' means"
        )
    return f"their means with Welch's 95 % interval, Hedges' g and the {TESTS[test]}"


def _prediction(facts: SectionFacts) -> Iterator[str]:
    if not facts.predicted:
        yield "The particles were imaged; intensities are those of the file."
        return
    record = facts.record
    model: dict[str, Any] = record.get("model", {})
    samples = int(record.get("samples", 1))
    drawn = f", mean of {samples} samples" if samples > 1 else ""
    yield (
        f"The particle map was PREDICTED from vessels and nuclei by the DAMM-Diffusion model "
        f"{model.get('name', 'unnamed')} (sha256 {str(model.get('sha256', ''))[:12]}), mode "
        f"{record.get('mode')}, {record.get('steps')} steps, seed {record.get('seed')}{drawn}; "
        "it was not imaged."
    )


def _thresholds(report: AnalysisReport, role: str) -> str:
    """Say how a threshold was found, and its values."""
    found = [facts.thresholds[role] for facts in report.sections if role in facts.thresholds]
    if not found:
        return ""
    values = [float(threshold["value"]) for threshold in found]
    span = f"{min(values):.4g}"
    if max(values) > min(values):
        span += f" to {max(values):.4g}"
    if found[0]["method"] == "given":
        return f" ({span}, given)"
    etas = [float(threshold["eta"]) for threshold in found]
    eta = f"{min(etas):.2f}" + (f" to {max(etas):.2f}" if max(etas) > min(etas) else "")
    return f" (Otsu over the tissue of each section: {span}; separability eta {eta})"

"""A methods paragraph, ready to paste: what was done to get these numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from napari_damm.analysis.cells import DRAWN
from napari_damm.analysis.config import TESTS
from napari_damm.analysis.report import AnalysisReport, SectionFacts
from napari_damm.analysis.thresholds import WITHOUT_FEW
from napari_damm.engine.config import EXPECTED, FAST
from napari_damm.util.extravasation import BLUR_UM, SPECK_UM2
from napari_damm.util.version import __version__

MANY_SIZES = 4


def methods_paragraph(report: AnalysisReport) -> str:
    """Return what was done, in sentences."""
    return " ".join(_sentences(report))


def _sentences(report: AnalysisReport) -> Iterator[str]:
    first = report.sections[0]
    count = len(report.sections)
    yield (
        f"Particle distribution was measured with napari-damm {__version__} in {count} "
        f"section{'s' if count != 1 else ''} at {_sizes(report.sections)} um per pixel."
    )
    yield from _origin(report.sections)
    if first.vessels_from == DRAWN:
        yield "Vessels were given as labels."
    elif first.vessels_from != "none":
        yield (
            f"Vessels are what is brighter in the vessel image, blurred by {BLUR_UM:g} um, than "
            f"{_threshold(report, 'vessels')}, without specks below {SPECK_UM2:g} um2."
        )
    if first.vessels_from != "none":
        yield (
            "Distances run from pixel centres to the nearest vessel's edge, up to 250 um; the "
            "profile is the mean intensity in shells of 5 um, and ends before the first of fewer "
            "than 200 pixels."
        )
    yield f"Particles count as bright above {_threshold(report, 'particles')}."
    if first.nuclei_from == DRAWN:
        yield "Nuclei were given as labels; a cell is a nucleus and the 2 um around it."
    elif first.nuclei_from != "none":
        yield (
            "Nuclei were found as bright blobs of about 7 um (Laplacian of Gaussian; touching ones "
            "may count as one); a cell is a nucleus and the 2 um around it."
        )
    if report.comparisons:
        yield (
            "Animals are the units, each the mean of its sections. Groups were compared by the "
            f"difference of {_compared(str(report.settings['test']))}; p was corrected by Holm's "
            "method for all measures of a region."
        )


def _sizes(sections: Sequence[SectionFacts]) -> str:
    """Say how large the pixels are: each size once, of many the smallest and the largest."""
    sizes = sorted({facts.pixel_um for facts in sections})
    said = [f"{y:.4g}" if y == x else f"{y:.4g} x {x:.4g}" for y, x in sizes]
    said = list(dict.fromkeys(said))
    return " or ".join(said) if len(said) < MANY_SIZES else f"{said[0]} to {said[-1]}"


def _compared(test: str) -> str:
    if test == "mixed":
        return (
            f"a {TESTS[test]} (statsmodels), with its 95 % interval and p of Student's t with "
            "(animals - 2) degrees of freedom, and Hedges' g of the animals' means"
        )
    return f"their means with Welch's 95 % interval, Hedges' g and the {TESTS[test]}"


def _origin(sections: Sequence[SectionFacts]) -> Iterator[str]:
    """Say which maps were imaged, and how the others were predicted."""
    imaged = sum(not facts.predicted for facts in sections)
    of = "" if imaged in (0, len(sections)) else f" of {imaged} of the sections"
    if imaged:
        yield f"The particles{of} were imaged; intensities are those of the file."
    ways = (_prediction(facts.record) for facts in sections if facts.predicted)
    yield from dict.fromkeys(ways)


def _prediction(record: Mapping[str, Any]) -> str:
    model: Mapping[str, Any] = record.get("model", {})
    samples, steps = int(record.get("samples", 1)), record.get("steps")
    drawn = ""
    if samples > 1 and record.get("mode") == EXPECTED:
        drawn = f"; beside it {samples} samples were drawn (mode {FAST})"
    elif samples > 1:
        drawn = f", as the mean of {samples} samples"
    taken = "in one step" if steps == 1 else f"in {steps} steps"
    return (
        "The particle map was not imaged but predicted from the images of vessels and nuclei by "
        f"the DAMM-Diffusion model {model.get('name', 'unnamed')} (SHA-256 "
        f"{str(model.get('sha256', ''))[:12]}) {taken} (mode {record.get('mode')}, seed "
        f"{record.get('seed')}){drawn}."
    )


def _threshold(report: AnalysisReport, role: str) -> str:
    """Say what threshold was taken, and how well it separates where it was found."""
    found = [facts.thresholds[role] for facts in report.sections if role in facts.thresholds]
    if not found:
        return "a threshold (none was found)"
    span = _span([float(threshold["value"]) for threshold in found], ".4g")
    if found[0]["method"] == "given":
        return f"a given threshold of {span}"
    aside = ""
    if any(threshold["method"] == WITHOUT_FEW for threshold in found):
        aside = "; a few pixels far off all others, as of a camera's hot ones, were left aside"
    share = _span([100 * float(threshold["eta"]) for threshold in found], ".0f")
    return (
        f"Otsu's threshold over the tissue of each section ({span}; {share} % of the variance lies "
        f"between what is above and below it{aside})"
    )


def _span(values: Sequence[float], form: str) -> str:
    low, high = (format(end(values), form) for end in (min, max))
    return low if low == high else f"{low} to {high}"

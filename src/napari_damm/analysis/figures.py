"""Figures of a report: each section with its vessels, profiles, and groups with every animal.

Drawn with matplotlib's Figure and Agg alone: `pyplot` would start a GUI toolkit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_damm.analysis.groups import by_animal
from napari_damm.analysis.measures import MEASURES
from napari_damm.analysis.regions import TISSUE
from napari_damm.analysis.report import AnalysisReport, SectionFacts
from napari_damm.util.panels import finish_panel, show_image
from napari_damm.util.text import with_micro

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_damm.analysis.agreement import Agreement

# Told apart by colour-blind readers, too (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
BRIGHTEST_PERCENTILE = 99.8
OUTLINE = "#00e5ff"
LISTED_PROFILES = 12
TITLE_LETTERS = 44


def figures(report: AnalysisReport) -> Iterator[tuple[str, Figure]]:
    """Yield every figure of a report with its name, as a file name without suffix."""
    if report.profiles:
        yield "profiles", draw_profiles(report)
    for number, facts in enumerate(report.sections, 1):
        if facts.thumbnail is not None:
            yield f"section-{number}", draw_section(facts)
        if facts.agreement is not None:
            yield f"agreement-{number}", draw_agreement(facts.name, facts.agreement)
    if any(row.group for row in report.rows):
        for measure in MEASURES:
            figure = draw_groups(report, measure)
            if figure is not None:
                yield f"groups-{measure}", figure


def draw_section(facts: SectionFacts) -> Figure:
    """Draw a section: particles on a scale of their own, vessels outlined, scale and colour bar."""
    shown = facts.thumbnail
    assert shown is not None
    height, width = shown.extent_um
    figure = _figure(5.2, 4.1 * min(2.0, max(0.5, height / width)) + 0.5)
    ax = figure.subplots()
    brightest = float(np.percentile(shown.particles, BRIGHTEST_PERCENTILE)) or 1.0
    extent = (0.0, width, height, 0.0)
    image = show_image(ax, shown.particles / brightest, facts.name, extent, "inferno")
    if shown.vessels.any():
        rows, cols = shown.vessels.shape
        xs = (np.arange(cols) + 0.5) * width / cols
        ys = (np.arange(rows) + 0.5) * height / rows
        ax.contour(xs, ys, shown.vessels, [0.5], colors=OUTLINE, linewidths=0.6)
    ticks = np.linspace(0, 1, 5)
    bar = figure.colorbar(image, ax=[ax], shrink=0.8, ticks=ticks)
    bar.ax.set_yticklabels([_plain(tick * brightest) for tick in ticks])
    kind = "particles, predicted" if facts.predicted else "particles, imaged"
    bar.set_label(f"{kind} (a.u.); vessels outlined")
    finish_panel(ax, extent)
    return figure


def _plain(value: float) -> str:
    """Return a number as people read it, not as 1.02e+03."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def draw_profiles(report: AnalysisReport) -> Figure:
    """Draw the signal by distance: of one section all regions, of several all tissue of each.

    Sections of one group have one colour.
    """
    figure = _figure(7.2, 4.2)
    ax = figure.subplots()
    one = len(report.sections) == 1
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in report.profiles:
        if one or row.region == TISSUE:
            key = row.region if one else row.section
            lines.setdefault(key, []).append((row.distance_um, row.signal))
    groups = {} if one else {row.section: row.group for row in report.rows if row.group}
    labels = {name: groups.get(name, name) for name in lines}
    seen = list(dict.fromkeys(labels.values()))
    for name, points in lines.items():
        x, y = zip(*points, strict=True)
        k = seen.index(labels[name])
        first = next(other for other in labels if labels[other] == labels[name]) == name
        ax.plot(
            x, y, ".-", color=COLOURS[k % len(COLOURS)], lw=1.5, ms=5,
            label=labels[name] if first and k < LISTED_PROFILES else None,
        )  # fmt: skip
    ax.axvline(0, color="0.5", lw=1)
    ax.set_xlabel("distance from the nearest vessel's edge (µm); negative: inside")
    ax.set_ylabel("mean particle signal (a.u.)")
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    return figure


def draw_groups(report: AnalysisReport, measure: str) -> Figure | None:
    """Draw a measure of all tissue: every animal a point, a line at each group's mean.

    None where no animal has it.
    """
    animals = by_animal(report.rows)
    groups = list(dict.fromkeys(row.group for row in report.rows if row.group))
    values = {group: animals.get((TISSUE, measure, group), {}) for group in groups}
    if not any(values.values()):
        return None
    figure = _figure(1.6 + 1.2 * len(groups), 3.6)
    ax = figure.subplots()
    for k, group in enumerate(groups):
        _draw_group(ax, k, list(values[group].values()))
    labels = [f"{group}\nn = {len(values[group])}" for group in groups]
    ax.set_xticks(range(len(groups)), labels)
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.set_ylabel(with_micro(MEASURES[measure].title))
    ax.grid(axis="y", alpha=0.3)
    of_it = [c for c in report.comparisons if (c.region, c.measure) == (TISSUE, measure)]
    compared = [c for c in of_it if c.p is not None]
    if len(compared) == 1:
        test = fill(compared[0].test, TITLE_LETTERS)
        ax.set_title(f"{test}\np = {compared[0].p:.3g}", fontsize=8)
    return figure


def _draw_group(ax: Axes, k: int, values: Sequence[float]) -> None:
    if not values:
        return
    colour = COLOURS[k % len(COLOURS)]
    spread = np.linspace(-0.12, 0.12, len(values)) if len(values) > 1 else np.zeros(1)
    ax.plot(k + spread, values, "o", color=colour, alpha=0.8)
    ax.plot([k - 0.25, k + 0.25], [np.mean(values)] * 2, "-", color=colour, lw=2)


def draw_agreement(name: str, agreement: Agreement) -> Figure:
    """Draw where a predicted map differs from the imaged one, and Bland and Altman's plot."""
    figure = _figure(9.6, 4.2)
    left, right = figure.subplots(1, 2)
    difference = agreement.difference
    step = max(1, max(difference.shape) // 700)
    height, width = (n * um for n, um in zip(difference.shape, agreement.pixel_um, strict=True))
    extent = (0.0, width, height, 0.0)
    image = left.imshow(
        difference[::step, ::step], cmap="RdBu_r", vmin=-1, vmax=1, extent=extent,
        interpolation="nearest",
    )  # fmt: skip
    left.set_title(f"{name}: predicted minus imaged", fontsize=10)
    figure.colorbar(image, ax=[left], shrink=0.8, label="relative intensity")
    finish_panel(left, extent)
    imaged, predicted = agreement.blocks.T
    right.plot((imaged + predicted) / 2, predicted - imaged, ".", color=COLOURS[0], alpha=0.5)
    for value, style in ((agreement.bias, "-"), (agreement.low, "--"), (agreement.high, "--")):
        if value is not None:
            right.axhline(value, color=COLOURS[1], ls=style)
    right.set_xlabel("mean of both, blocks of 64 px")
    right.set_ylabel("predicted minus imaged")
    right.set_title("bias and limits of agreement", fontsize=10)
    right.grid(alpha=0.3)
    return figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure

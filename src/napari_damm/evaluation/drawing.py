"""The figure of a report, drawn with matplotlib's Figure and Agg alone.

1. Above: measures by branch, and of trivial methods. A dot is a section, a bar the mean with its
   95 % interval.
2. Beside: the target's signal by distance from the primary image's structures, true and predicted.
3. Below: one section, its target as taken, as predicted, and how unsure the model is.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from napari_damm.evaluation.report import BRANCHES, MEASURES, NO_MODEL, Report
from napari_damm.evaluation.trivial import METHODS
from napari_damm.events import Branch
from napari_damm.util.extravasation import BIN_UM
from napari_damm.util.panels import finish_panel, show_image
from napari_damm.util.text import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = {
    "ssim": "higher is better",
    "psnr": "higher is better",
    "r2": "higher is better",
    "distance_error_um": "lower is better",
}
COLOURS = ("#0072b2", "#d55e00")  # told apart by colour-blind readers too
TRIVIAL_COLOUR = "#777777"
_BRANCH_COLOURS = {
    "uni-modal": Branch.UNI_MODAL.colour,
    "multi-modal": Branch.MULTI_MODAL.colour,
    "gated": "#0072b2",
}
_MAP_COLOURS = ("inferno", "inferno", "viridis")


def draw(report: Report) -> Figure:
    """Draw a report."""
    figure = Figure(figsize=(16.0, 9.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    of = count(len(report.sections), "section")
    figure.suptitle(
        "\n".join(
            [f"Evaluated on {of}", *(fill(str(card["summary"]), 150) for card in report.models)]
        ),
        fontsize=13,
    )
    note = [f"Truth: {report.truth}. {_how_sure(len(report.sections))}"]
    cautions = [fill(f"Caution: {caution}", 200) for caution in report.cautions]
    figure.supxlabel("\n".join(note + cautions), fontsize=10)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.0, 1.25)).flat
    axes = above.subplots(1, len(DRAWN) + 1, width_ratios=[1.0] * len(DRAWN) + [1.9])
    for ax, measure in zip(axes, DRAWN, strict=False):
        _draw_measure(ax, report, measure)
    if len(report.models) > 1:
        axes[0].legend(fontsize=8)
    _draw_profiles(axes[-1], report)
    if report.example is not None:
        _draw_example(below.subplots(1, 3), report)
    return figure


def _how_sure(sections: int) -> str:
    if sections < 2:
        return "One section has no interval: evaluate several"
    return (
        "Dots: sections. Bars: mean and its 95 % interval (bootstrap over sections). "
        "Grey: fitted to the very section"
    )


def _draw_measure(ax: Axes, report: Report, measure: str) -> None:
    """Draw one measure, branch by branch, of two models side by side; then trivial methods."""
    labels = report.branch_labels
    models = [str(card["name"]) for card in report.models]
    for k, model in enumerate(models):
        shift = 0.0 if len(models) == 1 else 0.36 * (k - 0.5)
        for x, branch in enumerate(BRANCHES):
            colour = _BRANCH_COLOURS[branch] if len(models) == 1 else COLOURS[k]
            _draw_sections(ax, report, (model, branch, measure), x + shift, colour)
            _draw_mean(ax, report, (model, branch, measure), x + shift, colour, x == 0)
    for x, method in enumerate(METHODS, len(BRANCHES)):
        _draw_sections(ax, report, (NO_MODEL, method, measure), x, TRIVIAL_COLOUR)
        _draw_mean(ax, report, (NO_MODEL, method, measure), x, TRIVIAL_COLOUR, False)
    ax.set_title(f"{MEASURES[measure].title}\n({DRAWN[measure]})", fontsize=10)
    columns = [*(labels[branch] for branch in BRANCHES), *METHODS]
    ax.set_xticks(range(len(columns)), [_wrapped(name) for name in columns], fontsize=7)
    ax.set_xlim(-0.6, len(columns) - 0.4)
    ax.grid(axis="y", alpha=0.3)


def _draw_sections(
    ax: Axes, report: Report, key: tuple[str, str, str], x: float, colour: str
) -> None:
    """Draw a dot for each section."""
    rows = [row for row in report.rows if (row.model, row.branch) == key[:2]]
    values = [v for row in rows if (v := row.scores.get(key[2])) is not None]
    spread = np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else np.zeros(len(values))
    ax.plot(x + spread, values, ".", color=colour, alpha=0.45)


def _draw_mean(
    ax: Axes, report: Report, key: tuple[str, str, str], x: float, colour: str, named: bool
) -> None:
    found = [s for s in report.summary if (s.model, s.branch, s.measure) == key]
    if not found or found[0].mean is None:
        return
    line, mean = found[0], found[0].mean
    ax.plot(
        [x - 0.16, x + 0.16], [mean, mean], "-", color=colour, lw=2.5,
        label=key[0] if named else None,
    )  # fmt: skip
    if line.low is not None and line.high is not None:
        ax.plot([x, x], [line.low, line.high], "-", color=colour, lw=2.5, alpha=0.6)


def _draw_profiles(ax: Axes, report: Report) -> None:
    """Draw the mean signal by distance, over sections that have such distances."""
    primary, _, target = report.modalities
    model = str(report.models[0]["name"])
    _draw_profile(ax, [facts.profile for facts in report.sections], "true", "black", "-")
    for branch in BRANCHES:
        chosen = [r.profile for r in report.rows if (r.model, r.branch) == (model, branch)]
        label = f"predicted, {report.branch_labels[branch]}"
        _draw_profile(
            ax, chosen, label, _BRANCH_COLOURS[branch], "-" if branch == "gated" else "--"
        )
    by = f" ({model})" if len(report.models) > 1 else ""
    ax.set_title(f"How far {target} get from {primary}{by}", fontsize=10)
    ax.set_xlabel(f"distance from the nearest of the {primary} (µm)", fontsize=9)
    ax.set_ylabel(f"mean {target} signal (0..1)", fontsize=9)
    ax.grid(alpha=0.3)
    if ax.lines:
        ax.legend(fontsize=8)
    else:
        ax.text(0.5, 0.5, "no distances to measure", ha="center", transform=ax.transAxes)


def _draw_profile(
    ax: Axes, profiles: Sequence[tuple[float, ...]], label: str, colour: str, style: str
) -> None:
    """Draw the mean of profiles of which some end sooner; as far as half of them go."""
    lengths = sorted(len(profile) for profile in profiles if profile)
    if not lengths:
        return
    means = []
    for k in range(lengths[len(lengths) // 2]):
        means.append(np.mean([profile[k] for profile in profiles if len(profile) > k]))
    middles = (np.arange(len(means)) + 0.5) * BIN_UM
    ax.plot(middles, means, style, color=colour, label=label, marker=".", ms=4)


def _draw_example(axes: Sequence[Axes], report: Report) -> None:
    """Draw the example's three pictures on one scale."""
    example = report.example
    assert example is not None
    height, width = example.extent_um
    whole = (0.0, width, height, 0.0)
    rows, cols = (n * example.cell_um for n in example.uncertainty.shape)
    target = report.modalities[2]
    how = f"{report.models[0]['name']}, gated" if len(report.models) > 1 else "gated"
    panels = (
        (example.truth, f"{example.name}\n{target}, as taken", whole, "relative intensity"),
        (example.prediction, f"{target}, predicted ({how})", whole, "relative intensity"),
        (example.uncertainty, "uncertainty", (0.0, cols, rows, 0.0), "0 sure, 1 unsure"),
    )
    for ax, (image, title, extent, scale), cmap in zip(axes, panels, _MAP_COLOURS, strict=True):
        shown = show_image(ax, image, title, extent, cmap)
        ax.figure.colorbar(shown, ax=[ax], label=scale, shrink=0.8)
        finish_panel(ax, whole)


def _wrapped(label: str) -> str:
    """Break a label of several words, for a narrow axis."""
    return label.replace(" + ", "\n+ ") if " + " in label else label.replace(" ", "\n", 1)

"""One figure of a predicted section: inputs, truth, prediction, uncertainty and branch.

1. Six panels on one physical scale, upper left corners aligned.
2. Truth and prediction share a colour scale; the coarse maps are stretched over their cells.
3. A scale bar in every image panel, a colour bar where the numbers mean something.

Drawn with matplotlib's Figure and Agg alone: `pyplot` would start a GUI toolkit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from napari_damm.events import Branch
from napari_damm.util.panels import finish_panel, show_image, without_formulas

if TYPE_CHECKING:
    from napari_damm.util.panels import Extent

BRANCH_NAMES = ("not predicted", "nuclei not trusted", "vessels and nuclei")


@dataclass(frozen=True)
class SectionPanels:
    """What is drawn. Images are 2-D and scaled to 0..1, on any pixel grid over `extent_um`.

    `uncertainty` (0..1) and `branch` (`Branch` codes) are maps of square cells `cell_um` wide whose
    first cell starts at the section's corner; the last cells may stick out.
    """

    vessels: np.ndarray
    nuclei: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    uncertainty: np.ndarray
    branch: np.ndarray
    extent_um: tuple[float, float]
    cell_um: float


def save_figure(panels: SectionPanels, path: Path, title: str, caption: str) -> None:
    """Draw the panels into a PNG file."""
    without_formulas(draw(panels, title, caption)).savefig(path, format="png")


def draw(panels: SectionPanels, title: str, caption: str) -> Figure:
    """Draw the panels: `title` stands above them, `caption` below."""
    figure = Figure(figsize=(13.5, 8.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=14)
    figure.supxlabel(caption, fontsize=10)
    axes = figure.subplots(2, 3).ravel()
    height, width = panels.extent_um
    whole = (0.0, width, height, 0.0)

    show_image(axes[0], panels.vessels, "Vessels (input)", whole, "gray")
    show_image(axes[1], panels.nuclei, "Nuclei (input)", whole, "gray")
    truth = show_image(axes[2], panels.truth, "Nanoparticles, truth (as imaged)", whole, "inferno")
    show_image(axes[3], panels.prediction, "Nanoparticles, predicted", whole, "inferno")
    figure.colorbar(truth, ax=[axes[2]], label="relative intensity", shrink=0.8)
    figure.colorbar(truth, ax=[axes[3]], label="relative intensity", shrink=0.8)

    cells = _cell_extent(panels)
    uncertainty = show_image(axes[4], panels.uncertainty, "Uncertainty", cells, "viridis")
    figure.colorbar(uncertainty, ax=[axes[4]], label="0 sure, 1 unsure", shrink=0.8)
    branch = axes[5].imshow(
        panels.branch,
        cmap=ListedColormap([code.colour for code in Branch]),
        norm=BoundaryNorm([-0.5, 0.5, 1.5, 2.5], len(Branch)),
        extent=cells,
        interpolation="nearest",
    )
    axes[5].set_title("Branch used")
    key = figure.colorbar(branch, ax=[axes[5]], ticks=list(Branch), shrink=0.8)
    key.ax.set_yticklabels(BRANCH_NAMES)
    for ax in axes:
        finish_panel(ax, whole)
    return figure


def _cell_extent(panels: SectionPanels) -> Extent:
    rows, cols = panels.branch.shape
    return (0.0, cols * panels.cell_um, rows * panels.cell_um, 0.0)

"""A figure of a prediction for slides and papers: the map, its outline, scale bar and colour bar.

Drawn from the level of the map that suits a page, so that it takes no longer for a whole slide.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.widgets.viewer.hiding import predicted_pixels
from napari_damm.widgets.viewer.result_maps import PARTIAL
from napari_damm.widgets.viewer.result_tools import RunLayers
from napari_damm.widgets.viewer.run_notes import record_of
from napari_damm.widgets.viewer.writer import um_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from napari.layers import Layer
    from numpy.typing import NDArray

ENDINGS = (".png", ".svg")
LONGEST_PX = 1600
OUTLINE = "#00e5ff"
DPI = 200


def write_figure(path: str, run: RunLayers) -> None:
    """Write the figure of a run, as PNG or SVG.

    Raises
    ------
    ValueError
        If there is no map, or the path has another ending.
    OSError
        If it cannot be written.
    """
    from napari_damm.util.files import written_whole

    kind = Path(path).suffix.lower()
    if kind not in ENDINGS:
        raise ValueError(f"{Path(path).name} must end in .png or .svg")
    with written_whole(Path(path)) as stream:
        draw(run).savefig(stream, format=kind[1:], dpi=DPI)


def draw(run: RunLayers) -> Figure:
    """Draw the NP map of a run on its scale in um.

    Raises
    ------
    ValueError
        If it was removed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from napari_damm.util.panels import finish_panel, show_image

    layer = run.np
    if layer is None:
        raise ValueError("The layer NP distribution was removed: predict again, or open the store")
    levels = list(layer.data) if layer.multiscale else [layer.data]
    fits = [k for k, each in enumerate(levels) if max(each.shape) <= LONGEST_PX]
    level = fits[0] if fits else len(levels) - 1
    height, width = (
        size * (um_of(scale, unit, layer.metadata) or 1.0)
        for size, scale, unit in zip(
            levels[0].shape, layer.scale[-2:], layer.units[-2:], strict=True
        )
    )
    figure = Figure(figsize=(6.0, 6.0 * min(2.0, max(0.4, height / width))), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    extent = (0.0, width, height, 0.0)
    low, high = layer.contrast_limits
    values = np.clip((np.asarray(levels[level], np.float32) - low) / (high - low), 0, 1)
    shown = show_image(ax, values, _title(layer), extent, "inferno")
    ax.title.set_fontsize(9)
    _outline(ax, predicted_pixels(run, level), (height, width))
    bar = figure.colorbar(shown, ax=[ax], shrink=0.8, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels([f"{low + tick * (high - low):.3g}" for tick in (0, 0.5, 1)])
    bar.set_label("predicted nanoparticles (relative intensity)")
    finish_panel(ax, extent)
    return figure


def _title(layer: Layer) -> str:
    record = record_of(layer) or {}
    model = (record.get("model") or {}).get("name", "")
    partial = PARTIAL.search(str(layer.name))
    words = [f"model {model}" if model else "", str(record.get("mode", ""))]
    return ", ".join(filter(None, words)) + (partial[0] if partial else "")


def _outline(ax: Any, pixels: NDArray[np.bool_] | None, size_um: tuple[float, float]) -> None:
    """Draw a line around what was predicted, if that is not everything."""
    if pixels is None or pixels.all() or not pixels.any():
        return
    predicted = np.pad(pixels, 1)  # so that the line closes at the border
    ys, xs = (
        (np.arange(n + 2) - 0.5) * size / n for n, size in zip(pixels.shape, size_um, strict=True)
    )
    ax.contour(xs, ys, predicted, [0.5], colors=OUTLINE, linewidths=0.8)

"""Image panels of figures, on a physical scale: drawn alike everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    Extent = tuple[float, float, float, float]

_LONGEST_SIDE_PX = 1600
_SCALE_BAR_SHARE = 0.25


def scale_bar_um(width_um: float) -> float:
    """Choose a round length (1, 2 or 5 times a power of ten) of at most a quarter of the width."""
    room = width_um * _SCALE_BAR_SHARE
    power = 10.0 ** np.floor(np.log10(room))
    return float(max(step * power for step in (1, 2, 5) if step * power <= room))


def show_image(ax: Axes, image: np.ndarray, title: str, extent: Extent, cmap: str) -> AxesImage:
    """Draw values of 0..1 over an extent (left, right, bottom, top) in um."""
    step = max(1, -(-max(image.shape) // _LONGEST_SIDE_PX))
    coarse = image.shape[0] * 4 < _LONGEST_SIDE_PX // 4
    ax.set_title(title)
    return ax.imshow(
        image[::step, ::step],
        cmap=cmap,
        vmin=0.0,
        vmax=1.0,
        extent=extent,
        interpolation="nearest" if coarse else "antialiased",
    )


def without_formulas(figure: Figure) -> Figure:
    """Let names say what they say: a pair of $ in one would be drawn, or fail, as mathematics."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def finish_panel(ax: Axes, extent: Extent) -> None:
    """Crop to the section, drop the ticks, draw the scale bar."""
    _, width, height, _ = extent
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_xticks([])
    ax.set_yticks([])
    length = scale_bar_um(width)
    right, bottom = 0.96 * width, 0.96 * height
    thickness = 0.012 * height
    ax.add_patch(
        Rectangle((right - length, bottom - thickness), length, thickness, facecolor="white")
    )
    ax.text(
        right - length / 2,
        bottom - 1.6 * thickness,
        f"{length:g} µm",
        color="white",
        ha="center",
        va="bottom",
        fontsize=9,
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )

"""The figures, drawn with matplotlib's Figure and Agg alone; small, told apart without colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from .rows import Row
from .settings import PRESETS
from .statistics import Stat

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"internal": "#0072b2", "external": "#d55e00"}
MARKERS = {"internal": "o", "external": "s"}
PANELS = (
    ("vessels", "vessels", "gray", 1.0),
    ("nuclei", "nuclei, outlined where they mislead", "gray", 1.0),
    ("taken", "nanoparticles, as taken", "inferno", 1.0),
    ("predicted", "predicted, mean of samples", "inferno", 1.0),
    ("std", "spread of samples × factor", "magma", 0.3),
    ("uncertainty", "uncertainty", "viridis", 1.0),
)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches."""
    return Figure(figsize=(width, height), dpi=80, layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write a PNG of 256 colours: a third of the size, and nothing to be missed."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(256).save(path, format="PNG", optimize=True)


def draw_contestants(means: Mapping[str, Any], labels: Mapping[str, str], path: Path) -> None:
    """Draw SSIM and PSNR of all contestants, with intervals, against both truths."""
    figure = new_figure(13.5, 0.38 * len(labels) + 1.6)
    views = [(truth, m) for truth in ("taken", "noise-free") for m in ("ssim", "psnr")]
    axes = figure.subplots(1, len(views), sharey=True)
    titles = {"ssim": "SSIM", "psnr": "PSNR (dB)"}
    for ax, (truth, measure) in zip(axes, views, strict=True):
        for k, preset in enumerate(PRESETS):
            for y, name in enumerate(labels):
                if name in means[preset]:
                    stat = means[preset][name][f"{truth}/fitted"][measure]
                    draw_interval(ax, stat, y + 0.24 * (k - 0.5), preset)
        what = "image as taken" if truth == "taken" else "noise-free field"
        ax.set_title(f"{titles[measure]}, {what}", fontsize=10)
        ax.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(labels)), list(labels.values()), fontsize=9)
    axes[0].invert_yaxis()
    add_legend(axes[-1])
    save(figure, path)


def draw_interval(ax: Axes, stat: Stat, y: float, preset: str) -> None:
    """Draw a mean and its interval as a dot on a line."""
    if stat["mean"] is None:
        return
    if stat["low"] is not None:
        ax.plot([stat["low"], stat["high"]], [y, y], color=COLOURS[preset], lw=1.8)
    ax.plot(stat["mean"], y, MARKERS[preset], color=COLOURS[preset], ms=5)


def add_legend(ax: Axes) -> None:
    """Name the presets."""
    for preset in PRESETS:
        ax.plot([], [], MARKERS[preset], color=COLOURS[preset], label=preset)
    ax.legend(fontsize=8)


def draw_examples(rows: Sequence[Row], path: Path) -> None:
    """Draw inputs, truth and maps, a row of panels for each section."""
    figure = new_figure(15.0, 2.75 * len(rows))
    grid = figure.subplots(len(rows), len(PANELS), squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        height, width = row["vessels"].shape
        for ax, (name, title, colours, top) in zip(axes, PANELS, strict=True):
            image = np.asarray(row[name], np.float32)
            cell = 32 if name == "uncertainty" else 1
            extent = (0, image.shape[1] * cell, image.shape[0] * cell, 0)
            ax.imshow(image, cmap=colours, vmin=0, vmax=top, extent=extent, interpolation="nearest")
            if name in ("nuclei", "uncertainty"):
                ax.contour(row["divergence"], [0.5], colors="#e69f00", linewidths=1.0)
            ax.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
            ax.set_title(title, fontsize=9)
        axes[0].set_ylabel(f"{row['preset']}, seed {row['seed']}\n{width} µm", fontsize=9)
    save(figure, path)


def draw_divergence(summary: Mapping[str, Any], branches: Mapping[str, str], path: Path) -> None:
    """Draw ROC curves of the uncertainty, and PSNR inside and outside divergent places."""
    figure = new_figure(12.0, 4.2)
    left, *others = figure.subplots(1, 3, width_ratios=(1.0, 1.0, 1.0))
    for preset in PRESETS:
        points = np.array(summary[preset]["roc"]["mean"]).reshape(-1, 2)
        left.plot(*points.T, color=COLOURS[preset], ls="-" if preset == PRESETS[0] else "--",
                  label=preset)  # fmt: skip
    left.plot([0, 1], [0, 1], ":", color="gray", label="chance")
    left.set(xlabel="clean cells marked", ylabel="divergent cells marked", aspect="equal")
    left.set_title("Uncertainty against planted divergence", fontsize=10)
    left.legend(fontsize=8)
    for ax, region in zip(others, ("inside", "outside"), strict=True):
        for k, preset in enumerate(PRESETS):
            for y, branch in enumerate(branches):
                stat = summary[preset]["psnr"][f"taken/{region}"][branch]
                draw_interval(ax, stat, y + 0.2 * (k - 0.5), preset)
        ax.set_yticks(range(len(branches)), list(branches.values()), fontsize=8)
        ax.set_ylim(len(branches) - 0.5, -0.5)
        ax.set_title(f"PSNR (dB) {region} divergent places", fontsize=10)
        ax.grid(axis="x", alpha=0.3)
    add_legend(others[-1])
    save(figure, path)


def draw_sampling(summary: Mapping[str, Any], path: Path) -> None:
    """Draw SSIM by number of steps, and the power of predictions by wavelength."""
    figure = new_figure(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    samplers = summary["samplers"]
    ssim = {name: of["quality"]["taken/fitted/ssim"]["mean"] for name, of in samplers.items()}
    by_steps = {int(n.split()[0]): s for n, s in ssim.items() if n.endswith(" steps")}
    left.plot(list(by_steps), [s["mean"] for s in by_steps.values()], "o-", color="#0072b2",
              label="fast sampler, one sample")  # fmt: skip
    left.axhline(ssim["reference"]["mean"], ls="--", color="black",
                 label=f"authors' sampler, {summary['reference steps']} steps")  # fmt: skip
    means = {int(n.split()[-1]): s for n, s in ssim.items() if n.startswith("mean of")}
    for count, stat in means.items():
        left.axhline(stat["mean"], ls=":", color="#009e73", lw=1 + np.log2(count) / 2,
                     label=f"mean of {count} samples")  # fmt: skip
    left.set_xscale("log", base=2)
    left.set_xticks(list(by_steps), [str(steps) for steps in by_steps])
    left.set(xlabel="denoising steps", ylabel="SSIM, as taken, fitted")
    left.legend(fontsize=8)
    bands = summary["bands px"]
    middles = [float(np.sqrt(a * b)) for a, b in pairwise(bands)]
    lines = {name: samplers[name]["power"] for name in (summary["fast"], "reference")}
    lines |= {f"mean of {max(means)}": samplers[f"mean of {max(means)}"]["power"]} if means else {}
    lines["noise-free field"] = summary["power of noise-free"]
    for (name, power), style in zip(lines.items(), ("o-", "s--", "^:", "k-."), strict=False):
        right.plot(middles, [stat["mean"] for stat in power], style, label=name)
    right.axhline(1, color="gray", lw=0.8)
    right.set_xscale("log", base=2)
    right.set_xticks(bands, [f"{b:g}" for b in bands])
    right.set(xlabel="wavelength (px)", ylabel="power / power of the image as taken")
    right.legend(fontsize=8)
    save(figure, path)


def draw_calibration(summary: Mapping[str, Any], path: Path) -> None:
    """Draw observed against nominal coverage, with the factor and without."""
    figure = new_figure(9.0, 4.2)
    for ax, name in zip(figure.subplots(1, 2), ("with factor", "as drawn"), strict=True):
        of = summary["raw"]
        nominal = 100 * np.array(of["levels"])
        for preset in PRESETS:
            curve = of[preset]["curves"][name]
            if curve:
                observed = [100 * stat["mean"] for stat in curve]
                ax.plot(nominal, observed, f"{MARKERS[preset]}-", color=COLOURS[preset],
                        label=preset, ms=4)  # fmt: skip
        ax.plot([0, 100], [0, 100], ":", color="gray", label="ideal")
        factor = of["factor"]
        shown = f"factor {factor:.2f}" if name == "with factor" and factor else "spread as drawn"
        ax.set_title(shown, fontsize=10)
        ax.set(xlabel="nominal interval (%)", ylabel="noise-free pixels inside (%)", aspect="equal")
        ax.legend(fontsize=8)
    save(figure, path)

"""Windows: cut out of a slide, ready for the network, and what comes out of it.

1. Both channels are read on the model's grid, padded by reflection, and normalised alike for the
   whole slide.
2. Whatever goes wrong with a window (a broken tile, a network drive that is away for a moment) is
   tried again, after a pause; what still fails is the caller's to report.
3. Several samples of one window are combined. A diffusion model draws one plausible image; another
   draw is another one. Their mean is the better guess, their standard deviation says per pixel how
   far it can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_damm.engine.planning import Plan
from napari_damm.events import Branch
from napari_damm.slide import Slide, normalise, read_region
from napari_damm.store.layout import halve
from napari_damm.util.tiling import Window

PAUSES_S = (0.1, 1.0)
"""How long to wait before each further attempt."""

Floats = NDArray[np.float32]
Cells = NDArray[np.uint8]


@dataclass(frozen=True)
class WindowInput:
    """One window: lattice position, corner (model px), both images (h, w) in [-1, 1].

    `familiarity`, 0..1, is None where the model does not say which images it knows.
    """

    window: tuple[int, int]
    corner: tuple[int, int]
    primary: Floats
    secondary: Floats
    familiarity: float | None = None


@dataclass(frozen=True)
class WindowOutput:
    """One sampled window: NP (h, w) relative intensity; uncertainty and branch of its cells.

    `branch` holds `Branch` codes. Of several samples `np` is the mean and `std`
    (h, w) the scaled standard deviation; `samples` (k, h/4, w/4) is each on its own, in means of
    4 x 4 pixels.
    """

    window: tuple[int, int]
    np: Floats
    uncertainty: Floats
    branch: Cells
    std: Floats | None = None
    familiarity: float | None = None
    samples: Floats | None = None


def cut(slide: Slide, plan: Plan, window: Window) -> WindowInput:
    """Read one window.

    Raises
    ------
    ValueError, OSError
        If the pixels are not finite, or cannot be read.
    """
    box = plan.lattice.window_box(*window)
    primary, secondary = (
        normalise(
            read_region(raster, box, plan.model_um, slide.origin, plan.lattice.shape), *limits
        )
        for raster, limits in (
            (slide.vessels, plan.normalisation.vessels),
            (slide.nuclei, plan.normalisation.nuclei),
        )
    )
    return WindowInput(window, (box.y0, box.x0), primary, secondary)


def cut_patiently(
    slide: Slide, plan: Plan, window: Window, pause: Callable[[float], object]
) -> WindowInput:
    """Read one window, trying again after each of `PAUSES_S`; raises the last error."""
    for seconds in PAUSES_S:
        try:
            return cut(slide, plan, window)
        except (OSError, ValueError):
            pause(seconds)
    return cut(slide, plan, window)


def combine(draws: Sequence[WindowOutput], spread_factor: float = 1.0) -> WindowOutput:
    """Return the output of a window from its samples; a single one is returned as it is.

    Parameters
    ----------
    draws
        The samples in the order of their noise streams, so that the sums have one order too.
    spread_factor
        What the standard deviation (n - 1 in its denominator) is multiplied by, so that the mean
        plus and minus 1.645 of it is a nominal 90 % interval.

    Returns
    -------
    WindowOutput
        Mean image and uncertainty; a cell is multi-modal where at least half of the samples are.
    """
    if len(draws) == 1:
        return draws[0]
    images = np.stack([draw.np for draw in draws])
    std = images.std(axis=0, dtype=np.float64, ddof=1)
    uncertainty = np.stack([draw.uncertainty for draw in draws]).mean(axis=0, dtype=np.float64)
    multi = (np.stack([draw.branch for draw in draws]) == Branch.MULTI_MODAL).sum(axis=0)
    branch = np.where(2 * multi >= len(draws), Branch.MULTI_MODAL, Branch.UNI_MODAL)
    return replace(
        draws[0],
        np=images.mean(axis=0, dtype=np.float64).astype(np.float32),
        uncertainty=uncertainty.astype(np.float32),
        branch=branch.astype(np.uint8),
        std=(spread_factor * std).astype(np.float32),
        samples=np.stack([halve(halve(image)) for image in images]),
    )

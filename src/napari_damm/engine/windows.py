"""Windows cut out of a slide, ready for the network.

1. Both channels are read on the model's grid, padded by reflection, and normalised alike for the
   whole slide.
2. Whatever goes wrong with a window (a broken tile, a network drive that is away for a moment) is
   tried again, after a pause; what still fails is the caller's to report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_damm.engine.planning import Plan
from napari_damm.slide import Slide, normalise, read_region
from napari_damm.tiling import Window
from napari_damm.util.errors import is_out_of_memory

if TYPE_CHECKING:
    from napari_damm.engine.sampler import WindowInput

PAUSES_S = (0.1, 1.0)
"""How long to wait before each further attempt."""


def cut(slide: Slide, plan: Plan, window: Window) -> WindowInput:
    """Read one window.

    Raises
    ------
    ValueError, OSError
        If the pixels are not finite, or cannot be read.
    """
    from napari_damm.engine.sampler import WindowInput

    box = plan.lattice.window_box(*window)
    images = [
        normalise(
            read_region(raster, box, plan.model_um, slide.origin, plan.lattice.shape), *limits
        )
        for raster, limits in (
            (slide.vessels, plan.normalisation.vessels),
            (slide.nuclei, plan.normalisation.nuclei),
        )
    ]
    return WindowInput(window, (box.y0, box.x0), *images)


def cut_patiently(
    slide: Slide, plan: Plan, window: Window, pause: Callable[[float], object]
) -> WindowInput:
    """Read one window, trying again after each of `PAUSES_S`; raises the last error."""
    for seconds in PAUSES_S:
        try:
            return cut(slide, plan, window)
        except Exception as error:
            # Decoders have exceptions of their own for damaged data; only memory is another matter.
            if is_out_of_memory(error):
                raise
            pause(seconds)
    return cut(slide, plan, window)

"""Whether a target is saturated, or a mask: how bright it was there nobody can learn, or judge.

1. Some windows, spread over what may be used, are looked at, in the pixels of the image itself.
2. What is cut off at the top of the camera's range lies at one value, the greatest that there is:
   more pixels than at any other value of the upper third of the range. Where an image has few grey
   levels many lie at the greatest, too, but about as many, or more, at those beneath.
3. Where hardly a pixel has another value than the greatest and the least, or all have one of three
   or four, the image is a mask: it tells where particles are, and not how many.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_damm.dataset import Field
from napari_damm.evaluation.some_windows import some_windows
from napari_damm.util.errors import is_out_of_memory
from napari_damm.util.tiling import Box

LEAST_SHARE = 0.005
OF_OTHERS = 1.5
"""As many pixels at the top as at the most frequent value beneath, where it is cut off."""
VALUES_OF_MASKS = 4
BETWEEN = 0.5
"""Of the pixels at the greatest value: as many lie between the two values of a mask, at most."""
MOST_PX = 512
"""Side of what is looked at in the middle of a window, where its pixels are finer."""


def said_of_saturated(fields: Sequence[Field], name: str) -> str:
    """Say that the target of a section, or of a folder's patches, is saturated, or a mask.

    `name` is what the target is called; "" if it is neither.
    """
    try:
        windows = [_own_pixels(field, box) for field, box in some_windows(fields)]
    except Exception as error:  # decoders' own: whoever needs this place will say so
        if is_out_of_memory(error):
            raise
        return ""
    values = np.concatenate([window.ravel() for window in windows]) if windows else np.empty(0)
    levels, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    if len(levels) < 2:
        return ""
    section = fields[0].section
    image = f"the {name} image of {section.folder if len(fields) > 1 else section.name}"
    bottom, top = float(levels[0]), float(levels[-1])
    if counts[1:-1].sum() <= BETWEEN * min(counts[0], counts[-1]):
        return _mask(image, "only" if len(levels) == 2 else "hardly more than", [bottom, top])
    share = float(counts[-1] / counts.sum())
    near = levels[:-1] >= top - (top - bottom) / 3
    beneath = max(counts[-2], counts[:-1][near].max(initial=0))
    if share < LEAST_SHARE or counts[-1] < OF_OTHERS * beneath:
        return ""
    if len(levels) <= VALUES_OF_MASKS:
        return _mask(image, "only", [float(level) for level in levels])
    percent = f"{100 * share:.1g}" if share < 0.01 else f"{100 * share:.0f}"
    return (
        f"{image} is saturated on {percent} % of what was looked at (all at its greatest value, "
        f"{top:g}): how bright it was there cannot be learnt or judged; image it with a shorter "
        "exposure"
    )


def _mask(image: str, only: str, values: Sequence[float]) -> str:
    listed = ", ".join(f"{value:g}" for value in values)
    return (
        f"{image} has {only} {len(values)} values ({listed}), as a mask: it shows where particles "
        "are, and not how many; give the image that the microscope took"
    )


def _own_pixels(field: Field, box: Box) -> NDArray[np.float64]:
    """Return the pixels of the target itself (y, x) in the middle of a box of model pixels."""
    raster, origin = field.section.target, field.section.slide.origin
    slices = []
    for axis, (low, high) in enumerate(((box.y0, box.y1), (box.x0, box.x1))):
        shift, um = origin[axis] - raster.origin[axis], raster.pixel_size_um
        start, stop = (round((edge * field.model_um + shift) / um) for edge in (low, high))
        spare = max(0, stop - start - MOST_PX)
        first = min(max(0, start + spare // 2), raster.shape[axis])
        slices.append(slice(first, max(first, stop - (spare + 1) // 2)))
    return np.asarray(raster.planes[0][slices[0], slices[1]], np.float64)

"""Whether a target is saturated: how bright it was there nobody can learn, or judge.

What is cut off at the top of the camera's range lies at one value, the greatest that there is; of
an image that is not, few pixels do. Some windows, spread over what may be used, are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_damm.dataset import Field
from napari_damm.evaluation.some_windows import some_windows

LEAST_SHARE = 0.005
NEARLY = 1e-5
"""Of the greatest value: what resampling makes of values that are equal."""


def said_of_saturated(fields: Sequence[Field], name: str) -> str:
    """Say that the target of a section, or of a folder's patches, is saturated; "" if it is not.

    `name` is what the target is called.
    """
    try:
        windows = [field.read_raw("target", box) for field, box in some_windows(fields)]
    except (OSError, ValueError):  # whoever needs this place will say so
        return ""
    if not windows:
        return ""
    values = np.stack(windows)
    top, bottom = float(values.max()), float(values.min())
    share = float((values >= top - NEARLY * abs(top)).mean())
    if share < LEAST_SHARE or top == bottom:
        return ""
    section = fields[0].section
    of = section.folder if len(fields) > 1 else section.name
    percent = f"{100 * share:.1g}" if share < 0.01 else f"{100 * share:.0f}"
    return (
        f"the {name} image of {of} is saturated on {percent} % of what was looked at (all at its "
        f"greatest value, {top:g}): how bright it was there cannot be learnt or judged; image it "
        "with a shorter exposure"
    )

"""What a trained model will say of how far the truth may lie from its maps.

Its best weights predict the validation windows anyway: from their errors intervals are fitted
(`trust.intervals`). These windows chose those weights, so that the intervals are a little too
narrow, and they are of the sections at hand: few of them say little of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.train.validation import Validator
from napari_damm.trust.intervals import FEWEST, Intervals

Floats = NDArray[np.float32]


def window_intervals(validator: Validator, predicted: Sequence[Floats]) -> dict[str, Any] | None:
    """Return what goes on the card; None of sampled maps, and of too few windows to tell."""
    if validator.sampler.sampling.mode != "expected" or len(predicted) < FEWEST:
        return None
    if not all(np.isfinite(image).all() for image in predicted):
        return None
    sections = len({patch.field for patch in validator.patches})
    said = f"{len(predicted)} validation windows of {sections} section{'s' * (sections != 1)}"
    pairs = list(zip(predicted, validator.truths, strict=True))
    return Intervals.fit(pairs, "windows", "image as taken", said).to_json()

"""What a trained model will say of how far the truth may lie from its maps.

Its best weights predict the validation windows anyway: from their errors intervals are fitted
(`trust.intervals`). These windows chose those weights, so that the intervals are a little too
narrow, and they are of the sections at hand: few of them say little of others. Too few for an
interval still tell at which intensities errors are large (`trust.widths`): that ranks places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.train.card import OF_ERRORS
from napari_damm.train.validation import Validator
from napari_damm.trust import intervals, widths
from napari_damm.trust.intervals import FEWEST, OF_FEW, Intervals
from napari_damm.trust.widths import Widths

Floats = NDArray[np.float32]


def window_intervals(validator: Validator, predicted: Sequence[Floats]) -> dict[str, Any]:
    """Return what the card says of errors, by its entries; None of sampled maps.

    Of too few windows for intervals, errors by intensity take their place.
    """
    said: dict[str, Any] = dict.fromkeys(OF_ERRORS)
    if validator.sampler.sampling.mode != "expected":
        return said
    if not all(np.isfinite(image).all() for image in predicted):
        return said
    pairs = list(zip(predicted, validator.truths, strict=True))
    if len(pairs) < FEWEST:
        images, truths = (
            np.ravel(np.asarray(some, np.float64)) for some in (predicted, validator.truths)
        )
        return said | {widths.KEY: Widths.fit(images, truths - images).to_json()}
    of = [patch.field for patch in validator.patches]
    sections = len(set(of))
    words = f"{len(pairs)} validation windows of {sections} section{'s' * (sections != 1)}"
    fitted = Intervals.fit(pairs, OF_FEW, "image as taken", words, of)
    return said | {intervals.KEY: fitted.to_json()}

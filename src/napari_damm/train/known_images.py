"""What the trained model will say of the images that it knows: those that it was trained on.

Some training patches, spread evenly, are measured (`trust.statistics`); a few seconds for all. Of
few small sections these are too few: then every place where a patch may train counts, and how far
other sections may differ is taken from the base model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_damm.dataset.fields import Field
from napari_damm.dataset.patches import Patch, Split
from napari_damm.train.setup import Data
from napari_damm.train.validation import evenly
from napari_damm.trust.known import Known
from napari_damm.trust.reference import FEWEST, Vector
from napari_damm.trust.statistics import window_statistics
from napari_damm.util.text import count

MOST_PATCHES, FEW_PATCHES = 240, 60
FEWEST_BESIDE_BASE = 4
"""Windows that are enough where the base tells how far others may differ: of three real fields, 1
to 48 windows gave almost the same verdicts on the others."""


def known_images(data: Data, base: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what goes on the card; None where there are too few patches to tell.

    `base` is the card of the model that is trained on: of few sections it tells how far others may
    differ from them.

    Raises
    ------
    ValueError
        If what the base says of its images cannot be used.
    """
    by_field: dict[int, list[Vector]] = {}
    patches = _patches(data.split)
    for patch in evenly(patches, min(MOST_PATCHES, len(patches))):
        row = _statistics(data.fields[patch.field], patch)
        if row is not None:
            by_field.setdefault(patch.field, []).append(row)
    windows = sum(map(len, by_field.values()))
    known = Known.of_card(base)
    of_base = known is not None and known.tells_of_others and len(by_field) < FEWEST
    if windows < (FEWEST_BESIDE_BASE if of_base else FEWEST):
        return None
    said = f"{count(windows, 'window')} of {count(len(by_field), 'section')} that it was trained on"
    if of_base:
        said += "; how far others may differ is taken from its base model"
    return Known.fit([np.stack(rows) for rows in by_field.values()], said, known).to_json()


def _patches(split: Split) -> Sequence[Patch]:
    """Return the training patches, or where they are few all that could be."""
    if len(split.train) >= FEW_PATCHES:
        return split.train
    return [
        Patch(k, int(row), int(col))
        for k, corners in enumerate(split.corners)
        for row, col in np.argwhere(corners)
    ]


def _statistics(field: Field, patch: Patch) -> Vector | None:
    """Measure a patch; None where it cannot be read: the training will say so."""
    try:
        images = [field.read(role, patch.box) for role in ("primary", "secondary")]
    except (OSError, ValueError):
        return None
    return window_statistics(images[0], images[1])

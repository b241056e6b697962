"""What is measured of one prediction of one section, and on which pixels.

1. `Ground`: the part of the section that counts is tissue, inside the region and all three images.
2. Pixel measures are over its pixels; ICC compares mean intensities of blocks of 64 px, truth and
   prediction being the raters; the area ICC compares in tiles how much of each is bright, above
   Otsu's threshold of the truth.
3. The distance that the target reaches from the primary image's structures (`extravasation`).
4. Where a prediction has an interval: how much of the truth lies in it, and the two scores that
   reward neither blur nor vagueness.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_damm.dataset import Field
from napari_damm.trust.score_rules import interval_score, normal_crps
from napari_damm.trust.widths import NORMAL_90
from napari_damm.util import extravasation, metrics
from napari_damm.util.measure import finite_or_none
from napari_damm.util.tiling import CELL, Box

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Scores = dict[str, float | None]

BLOCK_PX = 64
TILE_UM = 64.0


@dataclass(frozen=True, eq=False)
class Ground:
    """The part of a section that is evaluated.

    `box` is in model pixels of the section; `inside` (y, x) of its shape marks the pixels that
    count, `distance_um` (y, x) how far they are from the primary image's structures (None where
    it has none). `truth` (y, x) is the target, 0..1.
    """

    box: Box
    pixel_um: float
    inside: Mask
    truth: Floats
    distance_um: NDArray[np.float64] | None

    @property
    def extent_um(self) -> tuple[float, float]:
        """Height and width of the box in um."""
        height, width = self.box.shape
        return height * self.pixel_um, width * self.pixel_um


def ground_of(field: Field) -> Ground:
    """Read what a section's predictions are compared with.

    Raises
    ------
    ValueError
        If nothing of it counts.
    OSError
        If the target or the primary image cannot be read.
    """
    cells = field.usable & field.tissue
    box = _box(field, cells)
    first = box.cells()
    chosen = np.repeat(np.repeat(cells[first.slices], CELL, axis=0), CELL, axis=1)
    height, width = box.shape
    inside: Mask = chosen[:height, :width]
    truth, primary = (as_shown(field.read(role, box)) for role in ("target", "primary"))
    try:
        vessels = extravasation.vessel_mask(primary, field.model_um, inside)
        distance = extravasation.vessel_distance(vessels, field.model_um)
    except ValueError:  # nothing stands out in the primary image
        distance = None
    return Ground(box, field.model_um, inside, truth, distance)


def score(ground: Ground, prediction: Floats) -> tuple[Scores, extravasation.Profile | None]:
    """Measure a prediction (y, x), relative intensities, on the ground it belongs to."""
    truth, inside = ground.truth, ground.inside
    pair = truth[inside], prediction[inside]
    scores: Scores = {
        "ssim": finite_or_none(lambda: metrics.ssim(truth, prediction, mask=inside)),
        "psnr": finite_or_none(lambda: metrics.psnr(*pair)),
        "mse": metrics.mse(*pair),
        "r2": finite_or_none(lambda: metrics.r2(*pair)),
        "pearson_r": metrics.pearson_r(*pair),
        "icc": finite_or_none(lambda: metrics.icc31(_blocks(ground, prediction))),
        "area_icc": finite_or_none(lambda: metrics.icc31(_areas(ground, prediction))),
        "std_ratio": finite_or_none(lambda: metrics.std_ratio(*pair)),
    }
    expected, found = profile(ground, truth), profile(ground, prediction)
    reach = {"distance_truth_um": expected, "distance_um": found}
    for name, measured in reach.items():
        scores[name] = None
        if measured is not None:
            scores[name] = finite_or_none(partial(extravasation.extravasation_distance, measured))
    a, b = scores["distance_truth_um"], scores["distance_um"]
    scores["distance_error_um"] = None if a is None or b is None else abs(b - a)
    return scores, found


def score_interval(ground: Ground, prediction: Floats, half_width: Floats | float) -> Scores:
    """Measure a prediction's nominal 90 % interval, `half_width` above and below it."""
    inside = ground.inside
    half = np.broadcast_to(np.asarray(half_width, np.float32), inside.shape)[inside]
    truth, predicted = ground.truth[inside], prediction[inside]
    return {
        "crps": normal_crps(truth, predicted, half / NORMAL_90),
        "interval_score": interval_score(truth, predicted, half),
        "coverage": 100 * float(np.mean(np.abs(truth - predicted) <= half)),
    }


def residual_width(ground: Ground, prediction: Floats) -> float:
    """Return the half width of the 90 % interval that is the same everywhere."""
    return NORMAL_90 * float(
        np.sqrt(metrics.mse(ground.truth[ground.inside], prediction[ground.inside]))
    )


def profile(ground: Ground, image: Floats) -> extravasation.Profile | None:
    """Return an image's signal by distance; None where there is no distance to speak of."""
    if ground.distance_um is None:
        return None
    try:
        return extravasation.extravasation_profile(image, ground.distance_um, ground.inside)
    except ValueError:  # too little tissue outside vessels
        return None


def as_shown(values: Floats) -> Floats:
    """Map the model's -1..1 to 0..1."""
    shown: Floats = (values + np.float32(1)) / np.float32(2)
    return shown


def _box(field: Field, cells: Mask) -> Box:
    """Return the smallest box of whole cells around those that count."""
    rows, cols = (np.flatnonzero(cells.any(axis)) for axis in (1, 0))
    if not rows.size:
        roi = field.section.roi
        where = "" if roi is None else f" the region {' '.join(f'{v:g}' for v in roi)} and"
        raise ValueError(
            f"nothing of {field.section.name} can be evaluated: no square of {CELL} model pixels "
            f"({CELL * field.model_um:g} um) of tissue lies inside{where} all three images"
        )
    found = Box(*(int(v) * CELL for v in (rows[0], cols[0], rows[-1] + 1, cols[-1] + 1)))
    return found.intersect(Box(0, 0, *field.shape))


def _blocks(ground: Ground, prediction: Floats) -> NDArray[np.float64]:
    """Return the mean intensities (blocks, 2) of truth and prediction in blocks that count."""
    return extravasation.paired_tile_means(ground.truth, prediction, ground.inside, BLOCK_PX)


def _areas(ground: Ground, prediction: Floats) -> NDArray[np.float64]:
    """Return the bright area (tiles, 2) in um2 of truth and prediction."""
    threshold = threshold_otsu(ground.truth[ground.inside])  # type: ignore[no-untyped-call]
    images = (ground.truth, prediction)
    areas = [
        extravasation.signal_areas(image > threshold, ground.pixel_um, TILE_UM, ground.inside)
        for image in images
    ]
    return np.stack(areas, axis=1)

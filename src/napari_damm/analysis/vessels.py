"""What is vessel, in a box of the map, whichever tile asks.

1. The vessel image is blurred by 1 um against noise; what is brighter than a threshold is vessel.
2. Regions below 30 um2 are dropped: stained cells and noise. A box is read with a halo in which
   any such region shows whole, so that tiles agree with the whole picture.
3. Where the analyst has drawn the vessels (labels), these are taken as they are.
4. `centre_lines` are what vessels shrink to: their width is measured there.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from napari_damm.analysis.particle_map import ParticleMap
from napari_damm.util.extravasation import BLUR_UM, SPECK_UM2, drop_specks
from napari_damm.util.tiling import Box

Mask = NDArray[np.bool_]
TRUNCATE = 4.0
"""Standard deviations at which the blur ends, as scipy does by default."""
MARGIN_PX = 4
STAINED = f"image blurred by {BLUR_UM:g} um, above a threshold, without specks below "
STAINED += f"{SPECK_UM2:g} um2"


def blurred_vessels(section: ParticleMap, box: Box) -> NDArray[np.float64]:
    """Return the vessel image of a box, blurred by 1 um, in its own intensities."""
    sigma = [BLUR_UM / side for side in section.pixel_um]
    wide = section.grown(box, [math.ceil(TRUNCATE * s + 0.5) for s in sigma])
    pixels = section.read("vessels", wide).astype(np.float64)
    blurred: NDArray[np.float64] = ndimage.gaussian_filter(pixels, sigma, truncate=TRUNCATE)
    return blurred[box.shifted(-wide.y0, -wide.x0).slices]


def vessels_in(section: ParticleMap, box: Box, threshold: float | None) -> Mask:
    """Return the pixels (y, x) of a box that are vessel.

    `threshold` is that of the blurred image; None where the vessels are drawn.

    Raises
    ------
    ValueError
        If there is neither a threshold nor a drawing.
    """
    if section.vessel_labels is not None:
        drawn: Mask = section.vessel_labels.read(section, box) != 0
        return drawn
    if threshold is None:
        raise ValueError("a threshold for the vessels is needed, got None")
    pixel_area = section.pixel_um[0] * section.pixel_um[1]
    # A region of n pixels reaches n - 1 pixels from any of its own.
    wide = section.grown(box, [math.ceil(SPECK_UM2 / pixel_area)] * 2)
    above = (blurred_vessels(section, wide) > threshold) & ~section.unseen_in("vessels", wide)
    kept = drop_specks(above, pixel_area)
    return kept[box.shifted(-wide.y0, -wide.x0).slices]


def centre_lines(mask: Mask) -> Mask:
    """Return the skeleton (y, x) of vessels, one pixel wide."""
    # What the border cuts off would shrink from there, so it goes on by its last pixel.
    padded = np.pad(mask, MARGIN_PX, mode="edge")
    thin: Mask = skeletonize(padded)  # type: ignore[no-untyped-call]
    return thin[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]

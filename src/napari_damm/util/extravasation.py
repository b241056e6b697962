"""How far a substance gets from the vessels: pure functions of arrays.

1. What is vessel: ``vessel_mask`` of the vessel image.
2. How far each pixel is from the nearest one: ``vessel_distance``.
3. How much signal there is at each distance: ``extravasation_profile``, and in one number
   ``extravasation_distance``.
4. How much area holds signal, tile by tile: ``signal_areas``.

Nothing here asks what the stain is: of another primary image it measures the distance from that
one's bright structures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import block_reduce
from skimage.morphology import remove_small_objects

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLUR_UM = 1.0
SPECK_UM2 = 30.0
"""Anything smaller is a stained cell or noise, no vessel."""
BIN_UM = 5.0
LIMIT_UM = 100.0
LEAST_PIXELS = 200
"""A bin of fewer pixels is noise, and ends the profile."""
FAR_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Profile:
    """Mean signal by distance from the nearest vessel; arrays (bins,), nearest first.

    ``distance_um``: mean distance of the pixels of a bin. ``signal``: their mean intensity,
    in units of the image. ``pixels``: how many they are.
    """

    distance_um: Floats
    signal: Floats
    pixels: NDArray[np.int64]

    @property
    def background(self) -> float:
        """Mean signal of the far field: of the last fifth of the bins, at least one."""
        return float(self.signal[-max(1, round(FAR_SHARE * self.signal.size)) :].mean())


def otsu_mask(image: ArrayLike, inside: ArrayLike | None = None) -> Mask:
    """Return where an image is brighter than Otsu's threshold (Otsu 1979) over ``inside``.

    Parameters
    ----------
    image
        (y, x), any unit.
    inside
        (y, x) bool: the pixels that the threshold is chosen on; None = all.

    Raises
    ------
    ValueError
        If the image is not 2-D, not finite or constant there.
    """
    pixels = _image(image)
    values = pixels if inside is None else pixels[_mask(inside, pixels.shape)]
    if values.size == 0 or values.min() == values.max():
        raise ValueError("a threshold needs pixels that differ, got a constant image")
    above: Mask = pixels > threshold_otsu(values)  # type: ignore[no-untyped-call]
    return above


def vessel_mask(image: ArrayLike, pixel_um: float, inside: ArrayLike | None = None) -> Mask:
    """Return the pixels (y, x) that are vessel.

    Otsu's threshold on the image, blurred by 1 um against noise; regions below 30 um2 are dropped.

    Parameters
    ----------
    image
        Vessel stain (y, x), any unit.
    pixel_um
        Side of a pixel in um.
    inside
        (y, x) bool: the pixels that the threshold is chosen on, such as tissue; None = all.

    Raises
    ------
    ValueError
        If the image is not 2-D, not finite or constant, or ``pixel_um`` is not positive.
    """
    _check_positive("pixel_um", pixel_um)
    mask = otsu_mask(ndimage.gaussian_filter(_image(image), BLUR_UM / pixel_um), inside)
    return drop_specks(mask, pixel_um**2)


def drop_specks(mask: Mask, pixel_um2: float) -> Mask:
    """Return a mask (y, x) without its regions below 30 um2; a pixel is `pixel_um2` large."""
    too_small = math.ceil(SPECK_UM2 / pixel_um2) - 1
    kept: Mask = remove_small_objects(mask, max_size=too_small, connectivity=2)
    return kept


def vessel_distance(mask: ArrayLike, pixel_um: float) -> Floats:
    """Return the distance (y, x) in um from each pixel's centre to the nearest vessel's edge.

    0 inside vessels. The edge lies half a pixel before the centre of the nearest vessel pixel.

    Raises
    ------
    ValueError
        If the mask is not 2-D or holds no vessel, or ``pixel_um`` is not positive.
    """
    _check_positive("pixel_um", pixel_um)
    vessels = np.asarray(mask, dtype=bool)
    if vessels.ndim != 2 or not vessels.any():
        raise ValueError(f"a (y, x) mask with a vessel in it is needed, got shape {vessels.shape}")
    centres: Floats = ndimage.distance_transform_edt(~vessels)
    return np.maximum(centres - 0.5, 0.0) * pixel_um


def extravasation_profile(
    signal: ArrayLike,
    distance_um: ArrayLike,
    inside: ArrayLike | None = None,
    bin_um: float = BIN_UM,
    limit_um: float = LIMIT_UM,
) -> Profile:
    """Return the mean signal by distance from the nearest vessel, outside vessels.

    Parameters
    ----------
    signal
        (y, x), any unit.
    distance_um
        (y, x) from ``vessel_distance``.
    inside
        (y, x) bool: the pixels that count; None = all.
    bin_um, limit_um
        Width of the bins, and where they end. The profile ends before the first bin that has
        fewer than 200 pixels.

    Raises
    ------
    ValueError
        If shapes differ, widths are not positive, or there are fewer than two bins.
    """
    _check_positive("bin_um", bin_um)
    image, distance = _image(signal), _image(distance_um)
    if image.shape != distance.shape:
        raise ValueError(
            f"signal and distance must have one shape, got {image.shape} and {distance.shape}"
        )
    counts = (distance > 0) & (distance < limit_um)
    if inside is not None:
        counts &= _mask(inside, image.shape)
    which = (distance[counts] / bin_um).astype(np.int64)
    bins = max(2, int(np.ceil(limit_um / bin_um)))
    pixels = np.bincount(which, minlength=bins)
    few = np.flatnonzero(pixels < LEAST_PIXELS)
    end = int(few[0]) if few.size else bins
    if end < 2:
        raise ValueError(
            f"two distances of {LEAST_PIXELS} pixels each are needed for a profile, got {end}"
        )
    sums = (np.bincount(which, values, bins)[:end] for values in (distance[counts], image[counts]))
    by_distance, by_signal = (total / pixels[:end] for total in sums)
    return Profile(by_distance, by_signal, pixels[:end])


def extravasation_distance(profile: Profile) -> float:
    """Return how far the signal reaches from the vessels, in um.

    The mean distance, weighted by the signal above the far field: sum(d w) / sum(w) with
    w = max(signal - background, 0). Each distance counts alike, however much tissue is that far
    away. For signal that decays as exp(-d / L) in tissue much deeper than L this is L. An offset
    or factor on the intensities changes nothing. Where vessels lie close together the far field
    is not empty, and the number is a lower bound; two images of one field compare all the same.

    Raises
    ------
    ValueError
        If no distance is brighter than the far field.
    """
    above = np.maximum(profile.signal - profile.background, 0.0)
    if not above.any():
        raise ValueError("no distance is brighter than the far field: the signal is flat")
    return float(np.sum(above * profile.distance_um) / np.sum(above))


def signal_areas(
    mask: ArrayLike, pixel_um: float, tile_um: float, inside: ArrayLike | None = None
) -> Floats:
    """Return the area (tiles,) in um2 that holds signal, in square tiles from the corner.

    Parameters
    ----------
    mask
        (y, x) bool: signal, such as ``otsu_mask`` of it.
    pixel_um, tile_um
        Side of a pixel and of a tile in um.
    inside
        (y, x) bool: the pixels that count; tiles of which half or more does not are left out.

    Raises
    ------
    ValueError
        If shapes differ or sizes are not positive.
    """
    _check_positive("pixel_um", pixel_um)
    _check_positive("tile_um", tile_um)
    signal = np.asarray(mask, dtype=bool)
    valid = np.ones(signal.shape, bool) if inside is None else _mask(inside, signal.shape)
    side = max(1, round(tile_um / pixel_um))
    area, share = tile_means(signal & valid, side), tile_means(valid, side)
    return area[share > 0.5] * (side * pixel_um) ** 2


def tile_means(values: ArrayLike, side: int) -> Floats:
    """Return the mean (rows, cols) of each tile of ``side`` px; what fills no tile is left out."""
    x = np.asarray(values, dtype=np.float64)
    rows, cols = (n // side for n in x.shape)
    means: Floats = block_reduce(x[: rows * side, : cols * side], side, np.mean)  # type: ignore[no-untyped-call]
    return means


def paired_tile_means(
    first: ArrayLike, second: ArrayLike, inside: ArrayLike, side: int
) -> NDArray[np.float64]:
    """Return the means (tiles, 2) of two images over what counts of each tile of ``side`` px.

    ``inside`` (y, x) bool: the pixels that count; tiles of which half or more does not are left
    out.
    """
    share = tile_means(inside, side)
    counts = share > 0.5
    images = (np.asarray(image) * np.asarray(inside) for image in (first, second))
    return np.stack([tile_means(image, side)[counts] / share[counts] for image in images], axis=1)


def _image(image: ArrayLike) -> Floats:
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.ndim != 2 or pixels.size == 0 or not np.isfinite(pixels).all():
        raise ValueError(f"a finite (y, x) image is needed, got shape {pixels.shape}")
    return pixels


def _mask(mask: ArrayLike, shape: tuple[int, ...]) -> Mask:
    chosen = np.asarray(mask, dtype=bool)
    if chosen.shape != shape:
        raise ValueError(f"the mask must have the image's shape {shape}, got {chosen.shape}")
    return chosen


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")

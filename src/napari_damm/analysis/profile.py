"""Signal by distance from the nearest vessel, and what papers read off it.

1. `Shells` add up pixels, their signal and their distance in shells of 5 um, from 10 um inside the
   vessels to 250 um outside, tile by tile.
2. `profile` is the mean of each; it ends before the first shell that has fewer than 200 pixels.
3. `half_distance`: where the signal has fallen to half of its value at the vessels' edge.
4. `exposure`: the area under the profile from 0 to 100 um.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_damm.util.extravasation import BIN_UM, LEAST_PIXELS, LIMIT_UM, Profile

Floats = NDArray[np.float64]

INSIDE_UM = 10.0
CONFINED = 2.0
"""From how many times the signal outside on, both above the far field, what lies just inside
vessels is said to stay there: from there on a half-distance is mostly the microscope's blur
(tests/benchmarks/confined.py)."""
BRIGHTER = 1.1
"""So many times brighter must it be inside at all: above a far field that is as bright as the rest
there is nothing but noise to compare."""
STAYS = (
    "the signal above the far field falls to less than half at the vessels' edge: it stays in them"
)
FARTHEST_UM = 250.0
EXPOSURE_UM = 100.0
FIRST = round(INSIDE_UM / BIN_UM)
"""Shells before the one that begins at the vessels' edge."""
SHELLS = FIRST + round(FARTHEST_UM / BIN_UM)


def _zeros() -> Floats:
    return np.zeros(SHELLS)


@dataclass
class Shells:
    """Sums over pixels by their signed distance from the vessels' edge."""

    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SHELLS, np.int64))
    signal: Floats = field(default_factory=_zeros)
    distance: Floats = field(default_factory=_zeros)

    def add(self, signal: Floats, distance_um: Floats) -> None:
        """Add pixels (n,): their signal, and their distance, negative inside vessels."""
        near = (distance_um >= -INSIDE_UM) & (distance_um < FARTHEST_UM)
        distance, values = distance_um[near], signal[near]
        which = np.floor(distance / BIN_UM).astype(np.int64) + FIRST
        self.pixels += np.bincount(which, minlength=SHELLS)
        self.signal += np.bincount(which, values, SHELLS)
        self.distance += np.bincount(which, distance, SHELLS)

    def profile(self) -> Profile | None:
        """Return the mean signal of each shell, from inside the vessels outwards.

        None where there are not two shells of 200 pixels outside.
        """
        few = np.flatnonzero(self.pixels[FIRST:] < LEAST_PIXELS)
        end = FIRST + (int(few[0]) if few.size else SHELLS - FIRST)
        if end < FIRST + 2:
            return None
        start = FIRST
        while start > 0 and self.pixels[start - 1] >= LEAST_PIXELS:
            start -= 1
        return self._means(start, end)

    def outside(self, limit_um: float = FARTHEST_UM) -> Profile | None:
        """Return the profile outside vessels, up to a limit; None where there is none."""
        found = self.profile()
        if found is None:
            return None
        end = min(round(limit_um / BIN_UM), int((found.distance_um > 0).sum()))
        return self._means(FIRST, FIRST + end)

    def _means(self, start: int, end: int) -> Profile:
        pixels = self.pixels[start:end]
        return Profile(
            self.distance[start:end] / pixels, self.signal[start:end] / pixels, pixels.copy()
        )


def reach(shells: Shells) -> Profile | None:
    """Return the profile that `extravasation.extravasation_distance` is defined on: 0 to 100 um."""
    return shells.outside(LIMIT_UM)


def half_distance(outside: Profile) -> float | None:
    """Return where the signal above the far field has fallen to half of its value at the edge, um.

    The value at the edge (0 um) is that of the first shell, carried on as the first two fall off
    (exponentially); the far field is the mean of the last fifth of the shells. Between shells the
    profile is a straight line. For signal that decays as exp(-d / L) in tissue much deeper than L
    this is L ln 2.

    Returns
    -------
    None where it is not reached: where the signal does not fall, or not by half.
    """
    distance, above = outside.distance_um, outside.signal - outside.background
    if above[0] <= 0:
        return None
    edge = above[0]
    if 0 < above[1] < above[0]:
        edge *= (above[0] / above[1]) ** (distance[0] / (distance[1] - distance[0]))
    half = edge / 2
    below = np.flatnonzero(above <= half)
    if not below.size:
        return None
    k = int(below[0])
    # Before the first shell there is the edge itself.
    d0, v0 = (0.0, edge) if k == 0 else (float(distance[k - 1]), float(above[k - 1]))
    d1, v1 = float(distance[k]), float(above[k])
    return float(d0 + (v0 - half) / (v0 - v1) * (d1 - d0))


def at_the_edge(whole: Profile | None) -> tuple[float, float, float] | None:
    """Return the mean signal just inside vessels, just outside, and of the far field.

    None where there is too little of one to tell.
    """
    inside = 0 if whole is None else int((whole.distance_um < 0).sum())
    if whole is None or not inside:
        return None
    within, beyond = (float(each) for each in whole.signal[inside - 1 : inside + 1])
    outside = Profile(whole.distance_um[inside:], whole.signal[inside:], whole.pixels[inside:])
    return within, beyond, outside.background


def edge_ratio(whole: Profile | None) -> float | None:
    """Return how many times brighter it is just inside vessels than just outside.

    Both above the far field, so that an offset of the camera changes nothing; inf where the signal
    outside does not rise above it. None where it is not brighter inside.
    """
    found = at_the_edge(whole)
    if found is None:
        return None
    within, beyond, far = found
    if within <= BRIGHTER * max(beyond, 0.0):
        return None
    return (within - far) / (beyond - far) if beyond > far else np.inf


def confined(whole: Profile | None) -> bool:
    """Return whether the signal stays in the vessels; False where there is too little to tell."""
    ratio = edge_ratio(whole)
    return ratio is not None and ratio > CONFINED


def confinement(whole: Profile | None) -> str:
    """Say why a profile gives no distance where particles stay in the vessels; "" elsewhere."""
    found = at_the_edge(whole)
    if found is None or not confined(whole):
        return ""
    within, beyond, far = found
    return (
        f"{STAYS} (mean {within:.3g} within {BIN_UM:g} um inside, {beyond:.3g} outside, {far:.3g} "
        "far away), and what is left beyond tells no range: half-distance and extravasation "
        "distance are not given"
    )


def exposure(outside: Profile, limit_um: float = EXPOSURE_UM) -> float | None:
    """Return the integral of the profile from 0 to a distance, in signal x um.

    None where the profile ends before: an area over a shorter way would not compare.
    """
    shells = round(limit_um / BIN_UM)
    if outside.signal.size < shells:
        return None
    return float(outside.signal[:shells].sum() * BIN_UM)

"""Simulated sections and the two truths that predictions are compared with.

1. "taken": the nanoparticle image of the camera, 0.1 and 99.9 percentiles as 0 and 1.
2. "noise-free": the field without noise, background and bleed-through, on the scale of the former
   by one least-squares affine fit.
3. Predictions are compared as they are ("raw"), and after one affine intensity fit to that very
   truth ("fitted").
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from section_metrics import affine_fit

from napari_damm.evaluation.scores import Ground, score
from napari_damm.simulate import SimulatedSlide, divergence, simulate_slide
from napari_damm.slide import Slide, slide_from_arrays, tissue_mask
from napari_damm.util import extravasation
from napari_damm.util.tiling import CELL, Box

from .settings import Specimen

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

TRUTHS = ("taken", "noise-free")
FITS = ("fitted", "raw")
KINDS = ("_drop_out", "_defocus", "_misregister")
"""Functions of the simulator, one for each kind of divergence."""


@dataclass(frozen=True, eq=False)
class Section:
    """A section, its slide, and what is measured on; images are (y, x), float32."""

    specimen: Specimen
    simulated: SimulatedSlide
    slide: Slide

    @property
    def pixel_um(self) -> float:
        """Side of a pixel."""
        return self.simulated.pixel_size_um

    @cached_property
    def vessels(self) -> Floats:
        """The vessel image, 0..1."""
        return scaled(self.simulated.vessels)

    @cached_property
    def nuclei(self) -> Floats:
        """The nuclei image, 0..1."""
        return scaled(self.simulated.nuclei)

    @cached_property
    def tissue(self) -> Mask:
        """The pixels that count."""
        mask, cell_px = tissue_mask(self.slide, self.pixel_um)
        height, width = self.simulated.vessels.shape
        pixels: Mask = np.kron(mask, np.ones((cell_px, cell_px), bool))[:height, :width]
        return pixels

    @cached_property
    def truths(self) -> dict[str, Floats]:
        """Both truths, by name."""
        taken, field = scaled(self.simulated.nanoparticles), self.simulated.nanoparticles_true
        slope, offset = affine_fit(taken[self.tissue], field[self.tissue])
        return {"taken": taken, "noise-free": (slope * field + offset).astype(np.float32)}

    @cached_property
    def grounds(self) -> dict[str, Ground]:
        """Both truths as the package's evaluation takes them."""
        vessels = extravasation.vessel_mask(self.vessels, self.pixel_um, self.tissue)
        distance = extravasation.vessel_distance(vessels, self.pixel_um)
        box = Box(0, 0, *self.tissue.shape)
        return {
            name: Ground(box, self.pixel_um, self.tissue, truth, distance)
            for name, truth in self.truths.items()
        }

    def fitted(self, truth: str, prediction: Floats) -> Floats:
        """Return the prediction after one affine intensity fit to a truth."""
        slope, offset = affine_fit(self.truths[truth][self.tissue], prediction[self.tissue])
        return (slope * prediction + offset).astype(np.float32)

    def scores(self, prediction: Floats) -> dict[str, dict[str, float | None]]:
        """Return all measures by "truth/fit"."""
        found = {}
        for truth, ground in self.grounds.items():
            images = {"fitted": self.fitted(truth, prediction), "raw": prediction}
            for fit in FITS:
                found[f"{truth}/{fit}"] = score(ground, images[fit])[0]
        return found

    def cells(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return means over cells of 32 px; what fills no cell is left out."""
        return extravasation.tile_means(values, CELL)

    def of_cells(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Return a map of cells without those that the section does not fill."""
        rows, cols = (n // CELL for n in self.tissue.shape)
        return np.asarray(values[:rows, :cols], np.float64)


def simulate(specimen: Specimen) -> Section:
    """Simulate a section and open it as a slide."""
    section = simulate_slide(specimen.size, specimen.seed, specimen.preset)
    images = {"vessels": section.vessels, "nuclei": section.nuclei}
    return Section(specimen, section, slide_from_arrays(images, section.pixel_size_um))


def scaled(image: NDArray[np.generic]) -> Floats:
    """Map the 0.1 to 99.9 percentiles to 0..1 and clip, as the model's target is."""
    low, high = np.percentile(image, (0.1, 99.9))
    return np.clip((image - low) / (high - low), 0, 1).astype(np.float32)


def divergence_kinds(specimen: Specimen) -> NDArray[np.uint8]:
    """Return which kind of divergence was planted where, 1 + its place in `KINDS`; 0 = none.

    The simulator does not store it: it is watched while it draws the section once more.
    """
    patches: list[tuple[divergence.Box, Mask]] = []
    found = np.zeros((specimen.size,) * 2, np.uint8)
    draw_patch = divergence._patch

    def watched_patch(*arguments: object) -> tuple[divergence.Box, Mask]:
        patches.append(draw_patch(*arguments))  # type: ignore[arg-type]
        return patches[-1]

    def watched(kind: int) -> object:
        fault = getattr(divergence, KINDS[kind])

        def run(*arguments: object) -> object:
            box, patch_mask = patches[-1]
            found[box][patch_mask] = kind + 1
            return fault(*arguments)

        return run

    faults = {name: watched(kind) for kind, name in enumerate(KINDS)}
    with patch.multiple(divergence, _patch=watched_patch, **faults):
        simulate_slide(specimen.size, specimen.seed, specimen.preset)
    return found

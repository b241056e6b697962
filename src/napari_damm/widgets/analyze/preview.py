"""The masks and the profile while a threshold is dragged, on a coarse copy of the map.

1. The copy is read once: at most 600 pixels a side, of a large section a part (`previewed_part`).
2. Each threshold of the vessels gives the mask and the signed distances of the copy, and the
   profile of its tissue: the very code of the analysis, on larger pixels.
3. One of the particles gives what is bright in tissue outside vessels: the extravasated area.
4. A click on a distance shows the pixels of that shell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.widgets.viewer.roles import RESULT_KEY

if TYPE_CHECKING:
    from napari_damm.analysis.particle_map import ParticleMap
    from napari_damm.analysis.thresholds import Histogram
    from napari_damm.widgets.analyze.results import Line
    from napari_damm.widgets.viewer.layer_slides import World

NOTHING = "transparent"
MASK_LAYER = "Vessels measured from"
SHELL_LAYER = "Distance shell"
BRIGHT_LAYER = "Bright particles"


@dataclass(frozen=True, eq=False)
class Preview:
    """A coarse map, and the intensities of its (blurred) vessel image and of its particles.

    None where all of them are alike, and of vessels that are labels (`drawn`): nothing to cut.
    """

    section: ParticleMap
    vessels: Histogram | None
    particles: Histogram | None

    @classmethod
    def of(cls, section: ParticleMap) -> Preview:
        """Read a coarse map once."""
        from napari_damm.analysis.sources import array_map
        from napari_damm.analysis.thresholds import FEW_BLURRED, histogram_of
        from napari_damm.analysis.vessels import blurred_vessels

        whole, labels = section.whole, section.vessel_labels
        roles = ("particles", "vessels") if labels is None else ("particles",)
        images = {role: section.read(role, whole) for role in roles}
        tissue = section.tissue_in(whole)
        held = array_map(images, section.pixel_um, tissue, name=section.name,
                         origin=section.origin, vessel_labels=labels)  # fmt: skip
        particles = histogram_of(images["particles"][tissue])
        if labels is not None:
            return cls(held, None, particles)
        return cls(held, histogram_of(blurred_vessels(held, whole)[tissue], FEW_BLURRED), particles)

    @property
    def drawn(self) -> bool:
        """Whether the vessels are labels."""
        return self.section.vessel_labels is not None

    def measure(self, threshold: float | None) -> tuple[NDArray[np.float64], Line | None]:
        """Return the signed distance of each pixel, and the profile over all tissue.

        `threshold` is that of the vessels; None where they are drawn.
        """
        from napari_damm.analysis.distance import signed_distance
        from napari_damm.analysis.profile import FARTHEST_UM, Shells
        from napari_damm.analysis.vessels import vessels_in

        section = self.section
        vessels = vessels_in(section, section.whole, threshold)
        distance = signed_distance(vessels, section.pixel_um, FARTHEST_UM)
        tissue = section.tissue_in(section.whole)
        shells = Shells()
        signal = section.read("particles", section.whole)[tissue].astype(np.float64)
        shells.add(signal, distance[tissue])
        profile = shells.profile()
        if profile is None:
            return distance, None
        return distance, (profile.distance_um.tolist(), profile.signal.tolist())

    def bright(
        self, threshold: float, vessels: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], float]:
        """Return where particles outside vessels are bright, and their share of the tissue in %."""
        section = self.section
        tissue = section.tissue_in(section.whole)
        found = (section.read("particles", section.whole) > threshold) & tissue & ~vessels
        return found, 100.0 * float(found.sum()) / max(1, int(tissue.sum()))


def show_mask(viewer: Any, name: str, mask: NDArray[np.bool_], preview: Preview, world: World,
              colour: str) -> None:  # fmt: skip
    """Show a mask of the coarse map as a layer, or bring that layer up to date."""
    values = mask.astype(np.uint8)
    layer = next((layer for layer in viewer.layers if layer.name == name), None)
    if layer is not None and layer.data.shape == values.shape:
        layer.data = values
        return
    if layer is not None:
        viewer.layers.remove(layer)
    section = preview.section
    place = world.place(section.pixel_um[0], section.origin)
    # Marked as a result, so that nobody takes it for an input or a region.
    looks = {"opacity": 0.6, "metadata": {RESULT_KEY: {}}, "colormap": {None: NOTHING, 1: colour}}
    active = viewer.layers.selection.active
    viewer.add_labels(values, name=name, **looks, **place)
    viewer.layers.selection.active = active  # areas may be drawn on


def hide_masks(viewer: Any) -> None:
    """Hide what a preview showed, which is of other images than those that are picked now."""
    for layer in _masks(viewer):
        layer.visible = False


def remove_masks(viewer: Any) -> None:
    """Make room for another preview, which may lie elsewhere, on top of what was added since."""
    for layer in _masks(viewer):
        viewer.layers.remove(layer)


def _masks(viewer: Any) -> list[Any]:
    names = (MASK_LAYER, SHELL_LAYER, BRIGHT_LAYER)
    return [each for each in viewer.layers if each.name in names and RESULT_KEY in each.metadata]

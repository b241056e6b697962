"""The sample in napari's File > Open Sample menu: a section simulated on the spot, so no download.

The nanoparticles are there to compare a prediction with, hidden until someone looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.types import LayerDataTuple
    from numpy.typing import NDArray

SIZE_PX = 1024
SEED = 10_001  # from the evaluation seeds: no model was ever trained on this section
# name -> (colour map, shown at first)
CHANNELS = {
    "vessels": ("green", True),
    "nuclei": ("blue", True),
    "nanoparticles": ("inferno", False),
}


def simulated_tumour_section() -> list[LayerDataTuple]:
    """Simulate one section and return its channels as layers."""
    from napari_damm.simulate import simulate_slide

    slide = simulate_slide(SIZE_PX, SEED)
    layers: list[LayerDataTuple] = []
    for name, (colormap, visible) in CHANNELS.items():
        image = getattr(slide, name)
        arguments = {
            "name": name,
            "colormap": colormap,
            "blending": "additive",
            "visible": visible,
            "contrast_limits": _display_range(image),
            "scale": (slide.pixel_size_um,) * 2,
            "units": ("um", "um"),
        }
        layers.append((image, arguments, "image"))
    return layers


def _display_range(image: NDArray[Any]) -> tuple[float, float]:
    """Span the intensities of a channel save the brightest specks, which would dim the rest."""
    low, high = np.percentile(image, (1.0, 99.8))
    return float(low), float(high)

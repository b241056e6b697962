"""Slides: sections of any size, read lazily, in um, on the model's grid.

1. `planes`: 2-D pictures read piece by piece; `raster`: one channel with its place in the world.
2. `readers`: files as such channels (`tiff`, `ome_zarr`, `pictures`); `stacks`: which plane of
   them. `identity`: what tells one input from another.
3. `channels`: which of them are vessels and nuclei; `images`: which image of a file; `slide`: both
   channels together; `opening`: from files, at what pixel size.
4. `resample`: boxes of the model grid, the same whichever window asks.
5. `tissue`: what of a slide is tissue; `fill`: what is no picture at all; `normalisation`: how
   bright tissue is.
"""

from napari_damm.slide.channels import find_channel, guess_channel
from napari_damm.slide.normalisation import (
    Normalisation,
    intensity_limits,
    measure_normalisation,
    normalise,
    tissue_values,
)
from napari_damm.slide.opening import open_beside, open_slide
from napari_damm.slide.raster import Raster
from napari_damm.slide.readers import stack_size
from napari_damm.slide.resample import check_finite, model_shape, read_region
from napari_damm.slide.slide import Slide, slide_from_arrays
from napari_damm.slide.stacks import StackSize
from napari_damm.slide.tissue import full_of_tissue, tissue_mask, touches_tissue

__all__ = [
    "Normalisation",
    "Raster",
    "Slide",
    "StackSize",
    "check_finite",
    "find_channel",
    "full_of_tissue",
    "guess_channel",
    "intensity_limits",
    "measure_normalisation",
    "model_shape",
    "normalise",
    "open_beside",
    "open_slide",
    "read_region",
    "slide_from_arrays",
    "stack_size",
    "tissue_mask",
    "tissue_values",
    "touches_tissue",
]

"""Real tumour sections to compare with, from a folder that is not part of the repository.

Two immunofluorescence pictures of mouse tumours (data of Tian et al., Nature 544, 250-254, 2017;
files of the public repository lintian0616/vesselNormalization, which states no licence: use them,
do not pass them on). They record no pixel size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from numpy.typing import NDArray

from napari_damm import api
from napari_damm.slide import Raster, Slide, model_shape, read_region
from napari_damm.util.tiling import Box

GUESSED_UM = 0.6
"""Side of a pixel. At 0.6 um the nuclei of both measure about as wide as simulated ones of 8 um."""
STATED_UM = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Picture:
    """One picture: its file, and which colour shows what.

    ``tracer`` is a stain that was injected in the living animal, or None.
    """

    file: str
    vessels: str
    nuclei: str
    tracer: str | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return Path(self.file).stem

    def open(self, folder: Path, pixel_um: float) -> Slide:
        """Open it as if its pixels had this side."""
        return api.open_slide(
            folder / self.file,
            vessels_channel=self.vessels,
            nuclei_channel=self.nuclei,
            pixel_size_um=pixel_um,
        )


PICTURES = (
    Picture("cd31_ng2_dapi.jpg", vessels="green", nuclei="blue"),
    Picture("cd31_lectin_dapi.jpg", vessels="red", nuclei="blue", tracer="green"),
)


def resampled(slide: Slide, raster: Raster, model_um: float) -> NDArray:
    """Return a channel of the whole slide on the model's grid."""
    shape = model_shape(slide, model_um)
    return read_region(raster, Box(0, 0, *shape), model_um, slide.origin, shape)

"""Simulated sections as files: pyramidal OME-TIFF, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_damm.simulate.particles import block_mean
from napari_damm.simulate.section import CHANNELS, SimulatedSlide
from napari_damm.util.files import written_whole

TILE = 256
SMALLEST_LEVEL = 512
"""No level is added below a section of this longer side, px."""


def write_section(slide: SimulatedSlide, path: str | Path) -> Path:
    """Write a section as tiled, compressed, pyramidal OME-TIFF, uint16, and return the path.

    Channels carry their names and the image its pixel size in um; ``nanoparticles_true`` is
    rounded to whole counts. The file is written aside and renamed, so a failure leaves nothing.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    import tifffile

    path = Path(path)
    levels = [[a.astype(np.float32) for a in slide.channels().values()]]
    while max(levels[-1][0].shape) > SMALLEST_LEVEL:
        levels.append([block_mean(a, 2).astype(np.float32) for a in levels[-1]])
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": list(CHANNELS)},
        "PhysicalSizeX": slide.pixel_size_um,
        "PhysicalSizeXUnit": "\u00b5m",
        "PhysicalSizeY": slide.pixel_size_um,
        "PhysicalSizeYUnit": "\u00b5m",
        "Description": f"simulated tumour section, preset {slide.preset}, seed {slide.seed}",
    }
    with written_whole(path) as stream, tifffile.TiffWriter(stream, ome=True) as tif:
        for i, level in enumerate(levels):
            counts = np.clip(np.rint(np.stack(level)), 0, np.iinfo(np.uint16).max)
            tif.write(
                counts.astype(np.uint16),
                photometric="minisblack",
                tile=(TILE, TILE),
                compression="zlib",
                metadata=metadata if i == 0 else None,
                subifds=len(levels) - 1 if i == 0 else None,
                subfiletype=0 if i == 0 else 1,
            )
    return path

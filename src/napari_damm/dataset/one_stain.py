"""The one stain of an image in a folder: its only channel, or the mean of its colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_damm.slide.channels import listed
from napari_damm.slide.planes import Plane
from napari_damm.slide.raster import RGB, Raster


class MeanPlane:
    """The mean of planes of one shape, float32: a stain that was saved as a colour picture."""

    dtype = np.dtype(np.float32)

    def __init__(self, planes: Sequence[Plane]) -> None:
        self.planes = planes
        self.shape = planes[0].shape

    def __getitem__(self, key: tuple[slice, slice], /) -> np.ndarray:
        """Return the mean over the pixels of a box."""
        mean: np.ndarray[Any, Any] = np.asarray(
            np.mean([plane[key] for plane in self.planes], axis=0, dtype=np.float32)
        )
        return mean


def one_image(path: Path, raster: Raster) -> Raster:
    """Return the only channel of a file, or the mean of its colours."""
    from napari_damm.slide.readers import open_image

    image = open_image(path, 0, 0)
    colours = [i for i, name in enumerate(image.channels) if name in RGB[:3]]
    grey = len(image.channels) == 1 or [n.casefold() for n in image.channels[1:]] == [RGB[3]]
    if grey and len(colours) < 3:
        return raster
    if len(colours) == 3:
        levels = zip(*(image.planes[i] for i in colours), strict=True)
        return replace(raster, planes=tuple(MeanPlane(level) for level in levels))
    raise ValueError(
        f"{path} has {len(image.channels)} channels ({listed(image.channels)}): a folder's images "
        "have one stain each; train on the file itself and name its channels"
    )

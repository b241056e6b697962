"""What an OME-TIFF that was saved here says of its layer, so that it lies there again.

1. The file names the program that wrote it (`Creator`): other people's are not looked at.
2. Its pixel size and its corner are taken as they stand. Cells of a map are 32 pixels of the model,
   which in any other file would be a printer's resolution.
3. Labels are labels again: as an image their small numbers would be black.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from napari_damm.util.version import OWN_CREATOR

if TYPE_CHECKING:
    from napari.types import LayerDataTuple

LABELS = "labels"
IMAGE_ARGUMENTS = ("blending", "colormap")


@dataclass(frozen=True)
class SavedLayer:
    """Side of a pixel and corner (y, x) in um, where they were known, and the kind of layer."""

    size_um: tuple[float, float] | None
    corner_um: tuple[float, float] | None
    labels: bool = False

    def restored(self, layer: LayerDataTuple) -> LayerDataTuple:
        """Return a layer that was read from the file as it was when it was saved."""
        data, arguments, kind = layer
        arguments = dict(arguments)
        if self.size_um is not None:
            corner_and_size = zip(self.corner_um or (0.0, 0.0), self.size_um, strict=True)
            arguments["scale"] = self.size_um
            arguments["translate"] = tuple(corner + size / 2 for corner, size in corner_and_size)
            arguments["units"] = ("um", "um")
        if not self.labels:
            return data, arguments, kind
        return data, {k: v for k, v in arguments.items() if k not in IMAGE_ARGUMENTS}, LABELS


def saved_layer(path: str) -> SavedLayer | None:
    """Return what a TIFF says of the layer that it was saved from; None where others wrote it."""
    import tifffile

    with suppress(OSError, ValueError, ElementTree.ParseError), tifffile.TiffFile(path) as tif:
        root = ElementTree.fromstring(tif.ome_metadata or "<none/>")
        pixels = root.find("{*}Image/{*}Pixels")
        if root.get("Creator", "").startswith(f"{OWN_CREATOR} ") and pixels is not None:
            plane = pixels.find("{*}Plane")
            size = _pair(pixels.attrib, "PhysicalSize{}")
            return SavedLayer(
                size if size is not None and min(size) > 0 else None,
                None if plane is None else _pair(plane.attrib, "Position{}"),
                labels=root.findtext("{*}Image/{*}Description", "").split("; ")[-1] == LABELS,
            )
    return None


def _pair(attributes: Mapping[str, str], name: str) -> tuple[float, float] | None:
    """Return two numbers (y, x); None where they are missing or no finite numbers."""
    try:
        y, x = (float(attributes[name.format(axis)]) for axis in "YX")
    except (KeyError, ValueError):
        return None
    return (y, x) if math.isfinite(y) and math.isfinite(x) else None

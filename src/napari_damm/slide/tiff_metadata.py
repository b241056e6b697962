"""Names of channels and size of pixels of a TIFF, as the program that wrote it states them.

1. OME-TIFF: XML that describes all images of the file.
2. ImageJ: labels of planes, resolution tags in a unit of its own.
3. Scanners: Aperio (SVS) writes um per pixel into a text; Akoya and PerkinElmer (QPTIFF) write
   one XML per page; these, Hamamatsu (NDPI) and others fill the resolution tags.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage, TiffPageSeries

from napari_damm.slide.raster import RGB, Scale, to_um

# 72 to 600 dots per inch are printers' and screens' resolutions that programs write by default.
LARGEST_TAGGED_PIXEL_UM = 25.0
UNSTATED = "it states none"


def channel_names(
    tif: TiffFile, series: TiffPageSeries, numbers: NDArray[np.intp]
) -> tuple[str, ...]:
    """Return the names of the channels, their number where there is none.

    `numbers` (channel, ...) are the planes of each channel, as they are numbered in the file.
    """
    labels: list[str] = []
    if dict(zip(series.axes, series.shape, strict=True)).get("S", 1) > 1:
        labels = list(RGB[: len(numbers)])
    elif tif.is_ome:
        labels = [c.get("Name", "") for c in _ome_pixels(tif, series).findall("{*}Channel")]
    elif tif.is_imagej and tif.imagej_metadata:
        found = tif.imagej_metadata.get("Labels", [])
        labels = _shared_labels([found] if isinstance(found, str) else found, numbers)
    elif series.kind == "qpi":
        labels = [_qpi_name(page.description) for page in series if isinstance(page, TiffPage)]
    if len(labels) != len(numbers):
        labels = [""] * len(numbers)
    return tuple(label.strip() or str(index) for index, label in enumerate(labels))


def _shared_labels(labels: Sequence[object], numbers: NDArray[np.intp]) -> list[str]:
    """Return the label of each channel: ImageJ labels planes, which agree or name no channel."""
    if len(labels) != numbers.size:
        return []
    of_channel = [{str(labels[number]) for number in planes.flat} for planes in numbers]
    return [found.pop() if len(found) == 1 else "" for found in of_channel]


def _qpi_name(description: str) -> str:
    """Return the biomarker that a page of a QPTIFF shows, else the name of its filter band."""
    root = _xml(description)
    found = [(root.findtext(tag) or "").strip() for tag in ("Biomarker", "Name")]
    return found[0] or found[1]


def _xml(text: str | None) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text or "<none/>")
    except ElementTree.ParseError:
        return ElementTree.Element("none")


def _ome_pixels(tif: TiffFile, series: TiffPageSeries) -> ElementTree.Element:
    """Return the OME-XML element that describes a series."""
    images = _xml(tif.ome_metadata).findall("{*}Image/{*}Pixels")
    if not images:
        return ElementTree.Element("Pixels")
    same_number = len(images) == len(tif.series)
    return images[tif.series.index(series) if same_number else 0]


def pixel_size(tif: TiffFile, series: TiffPageSeries) -> tuple[Scale | None, str]:
    """Return the size of a pixel (y, x) in um, or None and the reason."""
    if tif.is_ome:
        return _ome_pixel_size(_ome_pixels(tif, series))
    if tif.is_svs and (um := _aperio_um(tif.pages.first.description)) is not None:
        return (um, um), ""
    return _tagged_pixel_size(tif, series)


def _ome_pixel_size(pixels: ElementTree.Element) -> tuple[Scale | None, str]:
    sizes = []
    for axis in "YX":
        text = pixels.get(f"PhysicalSize{axis}")
        if text is None:
            return None, UNSTATED
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        try:
            size = to_um(float(text), unit)
        except ValueError:
            size = None
        if size is None or not 0 < size < math.inf:
            return None, f"it states {text} {unit}"
        sizes.append(size)
    return (sizes[0], sizes[1]), ""


def _aperio_um(description: str) -> float | None:
    """Return um per pixel from "Aperio ...|AppMag = 20|MPP = 0.499"."""
    items = (item.partition("=") for item in description.split("|"))
    stated = {key.strip(): value for key, _, value in items}
    try:
        um = float(stated.get("MPP", ""))
    except ValueError:
        return None
    return um if 0 < um < math.inf else None


def _tagged_pixel_size(tif: TiffFile, series: TiffPageSeries) -> tuple[Scale | None, str]:
    page = series.keyframe
    if "XResolution" not in page.tags or "YResolution" not in page.tags:
        return None, UNSTATED
    per_unit = [_ratio(page.tags[f"{axis}Resolution"].value) for axis in "YX"]
    metadata = tif.imagej_metadata or {}
    tag = int(getattr(page.tags.get("ResolutionUnit"), "value", 1))
    unit = str(metadata.get("unit", "")) if tif.is_imagej else {2: "inch", 3: "cm"}.get(tag, "")
    if to_um(1.0, unit) is None or not all(0 < value < math.inf for value in per_unit):
        return None, UNSTATED
    y, x = (to_um(1 / value, unit) or 0.0 for value in per_unit)
    if max(y, x) > LARGEST_TAGGED_PIXEL_UM and unit in ("inch", "cm"):
        return None, f"its resolution tag says {x:.4g} um, a printer's or screen's resolution"
    return (y, x), ""


def _ratio(value: tuple[int, int]) -> float:
    return value[0] / value[1] if value[1] else 0.0

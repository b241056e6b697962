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
from tifffile import PHOTOMETRIC, TiffFile, TiffPage, TiffPageSeries

from napari_damm.slide.ome_xml import Pixels
from napari_damm.slide.raster import RGB, Scale, doubted_size, to_um

UNSTATED = "it states none"
COLOURED = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
"""Samples of other pages are stains side by side, not red, green and blue."""


def channel_names(
    tif: TiffFile, series: TiffPageSeries, numbers: NDArray[np.intp], pixels: Pixels | None
) -> tuple[str, ...]:
    """Return the names of the channels, their number where there is none.

    `numbers` (channel, ...) are the planes of each channel, as they are numbered in the file;
    `pixels` is what an OME-TIFF says of this image.
    """
    labels: list[str] = []
    samples = dict(zip(series.axes, series.shape, strict=True)).get("S", 1)
    if samples > 1 and series.keyframe.photometric in COLOURED:
        labels = list(RGB[: len(numbers)])
    elif tif.is_ome:
        labels = list(pixels.channels) if pixels is not None else []
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


def pixel_size(
    tif: TiffFile, series: TiffPageSeries, pixels: Pixels | None
) -> tuple[Scale | None, str]:
    """Return the size of a pixel (y, x) in um, or None and the reason."""
    if tif.is_ome:
        return (None, UNSTATED) if pixels is None else _ome_pixel_size(pixels)
    if tif.is_svs and (um := _aperio_um(tif.pages.first.description)) is not None:
        return (um, um), ""
    return _tagged_pixel_size(tif, series)


def _ome_pixel_size(pixels: Pixels) -> tuple[Scale | None, str]:
    sizes = []
    for text, unit in pixels.sizes:
        if text is None:
            return None, UNSTATED
        try:
            size = to_um(float(text), unit)
        except ValueError:
            size = None
        if size is None or not 0 < size < math.inf:
            return None, f"it states {text} {unit}"
        sizes.append(size)
    doubt = doubted_size((sizes[0], sizes[1]))
    return (None, doubt) if doubt else ((sizes[0], sizes[1]), "")


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
    doubt = doubted_size((y, x))
    return (None, doubt) if doubt else ((y, x), "")


def _ratio(value: tuple[int, int]) -> float:
    return value[0] / value[1] if value[1] else 0.0

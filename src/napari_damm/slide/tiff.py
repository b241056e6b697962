"""TIFF files as lazily read planes: OME-TIFF, ImageJ, plain; tiled, in strips, pyramidal.

1. Open the file with tifffile and choose its largest image (labels and macros are smaller).
2. Find the one axis that holds channels; refuse time series, z stacks and anything unclear.
3. Check that every byte the file promises is there: a copy that broke off is noticed now, not
   hours into a prediction.
4. Note where each plane's segments lie and how they are decoded, then close the file.
5. Read names and pixel size from OME-XML, ImageJ's metadata or the resolution tags.
6. A plane that is stored in one piece is memory-mapped; any other is decoded block by block.
"""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from tifffile import PHOTOMETRIC, TiffFile, TiffFileError, TiffPageSeries

from napari_damm.slide.planes import BlockSource, LazyPlane
from napari_damm.slide.raster import ImageFile, Scale, to_um
from napari_damm.slide.tiff_sources import MappedSource, Page, SegmentSource, quiet_tifffile
from napari_damm.slide.tiff_structure import directories_are_whole

CHANNEL_AXES = "CSQI"
AXIS_NAMES = {"Z": "z planes", "T": "time points"}
# 72 to 600 dots per inch are printers' and screens' resolutions that programs write by default.
LARGEST_TAGGED_PIXEL_UM = 25.0
RGB = ("red", "green", "blue", "alpha")


def read_tiff(path: Path) -> ImageFile:
    """Read what a TIFF holds, its pixels lazily.

    Raises
    ------
    ValueError
        The file is damaged or holds something that is not a set of 2-D channels.
    OSError
        The file is truncated.
    """
    with quiet_tifffile(), _open(path) as tif:
        try:
            return _image_file(path, tif)
        except (ValueError, OSError) as error:
            if isinstance(error, TiffFileError):
                raise _damaged(path, error) from error
            raise
        except Exception as error:
            # tifffile meets damage with whatever its parser trips over: struct.error, KeyError ...
            raise _damaged(path, error) from error


def _image_file(path: Path, tif: TiffFile) -> ImageFile:
    series, stack = _largest_image(tif)
    axis, count = _channel_axis(path, series)
    count = max(count, len(stack))
    for level in (level for image in stack for level in image.levels):
        _check_complete(path, level)
    planes = _planes(stack, count)
    names = _channel_names(tif, series, axis, count)
    size, no_size = _pixel_size(tif, series)
    return ImageFile(path, names, planes, size, no_size=no_size)


def _open(path: Path) -> TiffFile:
    """Return the file with its structure read, or say in one sentence why not."""
    if not directories_are_whole(path):
        raise _truncated(path)
    tif = None
    try:
        tif = TiffFile(path)
        if not tif.series:
            raise TiffFileError("no image")
    except Exception as error:
        if tif is not None:
            tif.close()
        raise _damaged(path, error) from error
    return tif


def _damaged(path: Path, problem: Exception) -> ValueError:
    return ValueError(f"{path} is a damaged TIFF ({problem}): copy or export the file again")


def _truncated(path: Path) -> OSError:
    size = path.stat().st_size
    return OSError(f"{path} is truncated after {size:,} bytes: copy or export the file again")


def _largest_image(tif: TiffFile) -> tuple[TiffPageSeries, list[TiffPageSeries]]:
    """Return the image to read, and all images that make up its channels (mostly itself)."""
    main = max(tif.series, key=lambda s: s.keyframe.imagelength * s.keyframe.imagewidth)
    same = [s for s in tif.series if (s.shape, s.axes, s.dtype) == (main.shape, "YX", main.dtype)]
    # Programs that save channel by channel make plain TIFFs of several one-page images.
    return main, same if len(same) > 1 and not tif.is_ome else [main]


def _channel_axis(path: Path, series: TiffPageSeries) -> tuple[str, int]:
    """Return the axis that holds channels ("" where there is one) and their number."""
    page = series.keyframe
    if page.photometric == PHOTOMETRIC.PALETTE:
        raise ValueError(f"{path} has indexed colours: save it as grey or RGB channels")
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        raise ValueError(f"{path} is stored inverted (white is zero): save it with black as zero")
    in_file = math.prod(n for a, n in zip(series.axes, series.shape, strict=True) if a not in "YXS")
    if series.parent and (series.parent.imagej_metadata or {}).get("images", 1) > in_file:
        raise _truncated(path)
    long = {a: n for a, n in zip(series.axes, series.shape, strict=True) if n > 1 and a not in "YX"}
    if page.imagedepth > 1:
        long["Z"] = page.imagedepth
    for axis, length in long.items():
        if axis not in CHANNEL_AXES:
            what = AXIS_NAMES.get(axis, f"planes along axis {axis}")
            raise ValueError(f"{path} has {length} {what}: save one of them as its own file")
    if len(long) > 1:
        raise ValueError(
            f"{path} has axes {series.axes} of shape {series.shape}: save it with one axis of "
            "channels, (c, y, x)"
        )
    return next(iter(long.items()), ("", 1))


def _check_complete(path: Path, level: TiffPageSeries) -> None:
    """Check that the pixels of a level are inside the file."""
    if level.dataoffset is not None and level.parent is not None:
        end = level.dataoffset + math.prod(level.shape) * level.dtype.itemsize
        if end > level.parent.filehandle.size:
            raise _truncated(path)
    for page in level:
        if page is None or not len(page.dataoffsets):
            raise OSError(f"{path} is incomplete, planes are missing: copy or export it again")
        segments = zip(page.dataoffsets, page.databytecounts, strict=False)
        if max(offset + count for offset, count in segments) > page.parent.filehandle.size:
            raise _truncated(path)


def _planes(stack: list[TiffPageSeries], count: int) -> tuple[tuple[LazyPlane, ...], ...]:
    """Return the planes as [channel][level]."""
    levels = []
    for number, level in enumerate(stack[0].levels):
        pages = [page for series in stack for page in series.levels[number] if page is not None]
        levels.append(_level_planes(level, pages, count))
    return tuple(zip(*levels, strict=True))


def _level_planes(level: TiffPageSeries, pages: list[Page], count: int) -> list[LazyPlane]:
    """Return one plane per channel; a page may hold several, side by side or interleaved."""
    separate, _, _, _, interleaved = level.keyframe.shaped
    # ImageJ describes only the first page of a file over 4 GB; the others just follow it.
    undescribed = len(pages) * separate * interleaved < count
    planes: list[LazyPlane] = []
    for index in range(count):
        at, inside = divmod(index, separate * interleaved)
        layer, sample = divmod(inside, interleaved)
        if sample:
            planes.append(LazyPlane(planes[-1].source, sample, planes[-1].key))
            continue
        page = pages[0 if undescribed else at]
        source: BlockSource
        if level.keyframe.is_final and page.dataoffsets[0]:
            skipped = at * level.keyframe.nbytes if undescribed else 0
            source = MappedSource(page, page.dataoffsets[0] + skipped, layer)
        else:
            source = SegmentSource(page, layer)
        planes.append(LazyPlane(source, 0 if interleaved > 1 else None))
    return planes


def _channel_names(tif: TiffFile, series: TiffPageSeries, axis: str, count: int) -> tuple[str, ...]:
    labels: list[str] = []
    if axis == "S":
        labels = list(RGB[:count])
    elif tif.is_ome:
        labels = [c.get("Name", "") for c in _ome_pixels(tif, series).findall("{*}Channel")]
    elif tif.is_imagej and tif.imagej_metadata:
        found = tif.imagej_metadata.get("Labels", [])
        labels = [str(label) for label in ([found] if isinstance(found, str) else found)]
    if len(labels) != count:
        labels = [""] * count
    return tuple(label.strip() or str(index) for index, label in enumerate(labels))


def _ome_pixels(tif: TiffFile, series: TiffPageSeries) -> ElementTree.Element:
    """Return the OME-XML element that describes a series."""
    try:
        root = ElementTree.fromstring(tif.ome_metadata or "<OME/>")
    except ElementTree.ParseError:
        root = ElementTree.Element("OME")
    images = root.findall("{*}Image/{*}Pixels")
    if not images:
        return ElementTree.Element("Pixels")
    same_number = len(images) == len(tif.series)
    return images[tif.series.index(series) if same_number else 0]


def _pixel_size(tif: TiffFile, series: TiffPageSeries) -> tuple[Scale | None, str]:
    """Return the size of a pixel (y, x) in um, or None and the reason."""
    none = "it states none"
    if tif.is_ome:
        pixels = _ome_pixels(tif, series)
        sizes = []
        for axis in "YX":
            text = pixels.get(f"PhysicalSize{axis}")
            if text is None:
                return None, none
            unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
            try:
                sizes.append(to_um(float(text), unit))
            except ValueError:
                sizes.append(None)
            if sizes[-1] is None or not 0 < sizes[-1] < math.inf:
                return None, f"it states {text} {unit}"
        return (float(sizes[0] or 0), float(sizes[1] or 0)), ""
    page = series.keyframe
    if "XResolution" not in page.tags or "YResolution" not in page.tags:
        return None, none
    per_unit = [_ratio(page.tags[f"{axis}Resolution"].value) for axis in "YX"]
    metadata = tif.imagej_metadata or {}
    tag = int(getattr(page.tags.get("ResolutionUnit"), "value", 1))
    unit = str(metadata.get("unit", "")) if tif.is_imagej else {2: "inch", 3: "cm"}.get(tag, "")
    if to_um(1.0, unit) is None or not all(0 < value < math.inf for value in per_unit):
        return None, none
    y, x = (to_um(1 / value, unit) or 0.0 for value in per_unit)
    if max(y, x) > LARGEST_TAGGED_PIXEL_UM and unit in ("inch", "cm"):
        return None, f"its resolution tag says {x:.4g} um, a printer's or screen's resolution"
    return (y, x), ""


def _ratio(value: tuple[int, int]) -> float:
    return value[0] / value[1] if value[1] else 0.0

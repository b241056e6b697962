"""TIFF files as lazily read planes: OME-TIFF, ImageJ, plain; tiled, in strips, pyramidal.

1. Open the file with tifffile and choose its largest image (labels and macros are smaller).
2. Find the one axis that holds channels and, in a stack, the z plane and time point asked for;
   refuse anything unclear.
3. Check that every byte the file promises is there: a copy that broke off is noticed now, not
   hours into a prediction.
4. Note where each plane's segments lie and how they are decoded, then close the file.
5. A plane that is stored in one piece is memory-mapped; any other is decoded block by block.

Names and pixel size are read by `tiff_metadata`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, TiffFile, TiffFileError, TiffPageSeries

from napari_damm.slide.planes import BlockSource, LazyPlane
from napari_damm.slide.raster import ImageFile
from napari_damm.slide.stacks import StackSize, choose_plane
from napari_damm.slide.tiff_metadata import channel_names, pixel_size
from napari_damm.slide.tiff_sources import MappedSource, Page, SegmentSource, quiet_tifffile
from napari_damm.slide.tiff_structure import directories_are_whole

CHANNEL_AXES = "CSQI"


def read_tiff(path: Path, z: int | None = None, t: int | None = None) -> ImageFile:
    """Read what a TIFF holds, its pixels lazily, at plane `z` and time point `t`.

    Raises
    ------
    ValueError
        The file is damaged, holds something that is not a set of 2-D channels, or is a stack
        without a choice of plane.
    OSError
        The file is truncated.
    """
    with quiet_tifffile(), _open(path) as tif:
        try:
            return _image_file(path, tif, z, t)
        except (ValueError, OSError) as error:
            if isinstance(error, TiffFileError):
                raise _damaged(path, error) from error
            raise
        except Exception as error:
            # tifffile meets damage with whatever its parser trips over: struct.error, KeyError ...
            raise _damaged(path, error) from error


def _image_file(path: Path, tif: TiffFile, z: int | None, t: int | None) -> ImageFile:
    series, stack = _largest_image(tif)
    layout = _layout(path, series, len(stack))
    for level in (level for image in stack for level in image.levels):
        _check_complete(path, level)
    at = {
        "Z": choose_plane(path, "z", layout.length("Z"), z),
        "T": choose_plane(path, "t", layout.length("T"), t),
    }
    planes = _planes(stack, layout, layout.planes_at(at))
    names = channel_names(tif, series, layout.numbers)
    size, no_size = pixel_size(tif, series)
    stack_size = StackSize(layout.length("Z"), layout.length("T"))
    return ImageFile(path, names, planes, size, no_size=no_size, stack=stack_size)


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


@dataclass(frozen=True)
class _Layout:
    """How the 2-D planes of an image are numbered: as they lie in the file, along these axes."""

    axes: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> NDArray[np.intp]:
        """Numbers of the planes, the axis of channels first (added where there is none)."""
        numbers = np.arange(math.prod(self.shape)).reshape(self.shape)
        channels = [axis for axis, name in enumerate(self.axes) if name in CHANNEL_AXES]
        return np.moveaxis(numbers, channels[0], 0) if channels else numbers[None]

    def length(self, axis: str) -> int:
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def planes_at(self, at: dict[str, int]) -> list[int]:
        """Return the numbers of the planes of each channel, at an index along other axes."""
        others = [at[axis] for axis in self.axes if axis not in CHANNEL_AXES]
        return [int(planes[tuple(others)]) for planes in self.numbers]


def _layout(path: Path, series: TiffPageSeries, images: int) -> _Layout:
    """Return how an image is laid out; `images` of it, of one page each, are its channels."""
    page = series.keyframe
    if page.photometric == PHOTOMETRIC.PALETTE:
        raise ValueError(f"{path} has indexed colours: save it as grey or RGB channels")
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        raise ValueError(f"{path} is stored inverted (white is zero): save it with black as zero")
    in_file = math.prod(n for a, n in zip(series.axes, series.shape, strict=True) if a not in "YXS")
    if series.parent and (series.parent.imagej_metadata or {}).get("images", 1) > in_file:
        raise _truncated(path)
    if page.imagedepth > 1:
        raise ValueError(
            f"{path} has volumes of {page.imagedepth} z planes in one page: save each plane as its "
            "own page"
        )
    long = {a: n for a, n in zip(series.axes, series.shape, strict=True) if n > 1 and a not in "YX"}
    for axis, length in long.items():
        if axis not in CHANNEL_AXES + "ZT":
            raise ValueError(
                f"{path} has {length} planes along axis {axis}: save one of them as its own file"
            )
    if len(set(long) - set("ZT")) > 1:
        raise ValueError(
            f"{path} has axes {series.axes} of shape {series.shape}: save it with one axis of "
            "channels, (c, y, x)"
        )
    if images > 1:
        return _Layout("C", (images,))
    return _Layout("".join(long), tuple(long.values()))


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


def _planes(
    stack: list[TiffPageSeries], layout: _Layout, numbers: list[int]
) -> tuple[tuple[LazyPlane, ...], ...]:
    """Return the planes of these numbers as [channel][level]."""
    total = math.prod(layout.shape)
    levels = []
    for number, level in enumerate(stack[0].levels):
        if _plane_count(level) != _plane_count(stack[0]):
            continue  # A pyramid of volumes: coarser levels hold other planes than the finest.
        pages = [page for series in stack for page in series.levels[number] if page is not None]
        levels.append(_level_planes(level, pages, total, numbers))
    return tuple(zip(*levels, strict=True))


def _plane_count(level: TiffPageSeries) -> int:
    return math.prod(n for a, n in zip(level.axes, level.shape, strict=True) if a not in "YX")


def _level_planes(
    level: TiffPageSeries, pages: list[Page], total: int, numbers: list[int]
) -> list[LazyPlane]:
    """Return the planes of these numbers; a page may hold several, side by side or interleaved."""
    separate, _, _, _, interleaved = level.keyframe.shaped
    # ImageJ describes only the first page of a file over 4 GB; the others just follow it.
    undescribed = len(pages) * separate * interleaved < total
    planes: list[LazyPlane] = []
    for number in numbers:
        at, inside = divmod(number, separate * interleaved)
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

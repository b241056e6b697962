"""TIFF files as lazily read planes: OME-TIFF, ImageJ, plain; tiled, in strips, pyramidal.

1. Open the file with tifffile and choose the image that is meant (`images`).
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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC, TiffFile, TiffFileError, TiffPageSeries

from napari_damm.slide.images import ONLY_IMAGE, ImageChoice, choose_image
from napari_damm.slide.ome_xml import (
    MOST_PLANES,
    TooMuchClaimedError,
    check_claims,
    missing_files,
    pixels_of,
)
from napari_damm.slide.planes import BlockSource, LazyPlane
from napari_damm.slide.raster import ImageFile
from napari_damm.slide.stacks import StackSize, choose_plane
from napari_damm.slide.tiff_metadata import channel_names, pixel_size
from napari_damm.slide.tiff_sources import (
    PACKED,
    PICTURES,
    SLACK,
    MappedSource,
    Page,
    SegmentSource,
    quiet_tifffile,
)
from napari_damm.slide.tiff_structure import directories_are_whole

CHANNEL_AXES = "CSQI"
MOST_PIECE_BYTES = 2**30
MOST_SEGMENTS = 2**24
"""Tiles of a plane: 2 million px a side in tiles of 512."""
FEW = 4
STRIP_PX = 32
"""No section is so few pixels wide."""


def read_tiff(
    path: Path, z: int | None = None, t: int | None = None, image: str | int | None = None
) -> ImageFile:
    """Read what a TIFF holds, its pixels lazily, at plane `z` and time point `t`.

    Raises
    ------
    ValueError
        The file is damaged, holds something that is not a set of 2-D channels, several images of
        similar size without a choice of one, or a stack without a choice of plane.
    OSError
        The file is truncated.
    """
    with quiet_tifffile(), _open(path) as tif:
        try:
            return _image_file(path, tif, {"Z": z, "T": t}, image)
        except (ValueError, OSError) as error:
            if isinstance(error, TiffFileError):
                raise _damaged(path, error) from error
            raise
        except Exception as error:
            # tifffile meets damage with whatever its parser trips over: struct.error, KeyError ...
            raise _damaged(path, error) from error


def _image_file(
    path: Path, tif: TiffFile, wanted: dict[str, int | None], image: str | int | None
) -> ImageFile:
    series, stack, choice = _chosen_image(path, tif, image)
    pixels = pixels_of(tif, series) if tif.is_ome else None
    layout = _layout(path, series, len(stack))
    absent = missing_files(tif, pixels)
    for level in (level for each in stack for level in each.levels):
        _check_complete(path, level, absent)
    at = {
        axis: choose_plane(path, axis.lower(), layout.length(axis), number)
        for axis, number in wanted.items()
    }
    planes = _planes(stack, layout, layout.planes_at(at))
    names = channel_names(tif, series, layout.numbers, pixels)
    size, no_size = pixel_size(tif, series, pixels)
    stack_size = StackSize(layout.length("Z"), layout.length("T"))
    # By now none is absent: the other files of a set that hold planes of this image.
    beside = tuple(path.parent / name for name in (pixels.files if pixels else ()) if name)
    corner = None if pixels is None or size is None else pixels.corner
    return ImageFile(
        path,
        names,
        planes,
        size,
        corner or (0.0, 0.0),
        no_size=no_size,
        stack=stack_size,
        image=choice,
        beside=beside,
        placed=corner is not None,
        predicted="" if pixels is None else pixels.predicted,
    )


def _open(path: Path) -> TiffFile:
    """Return the file with its structure read, or say in one sentence why not."""
    if not directories_are_whole(path):
        raise _truncated(path)
    tif = None
    try:
        tif = TiffFile(path)
        check_claims(path, tif.ome_metadata)
        _check_imagej(path, tif)
        if not tif.series:
            raise TiffFileError("no image")
    except Exception as error:
        if tif is not None:
            tif.close()
        if isinstance(error, TooMuchClaimedError):
            raise
        raise _damaged(path, error) from error
    return tif


def _check_imagej(path: Path, tif: TiffFile) -> None:
    """Refuse a number of planes that ImageJ's description cannot mean."""
    stated = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    for name in ("images", "channels", "slices", "frames"):
        number = stated.get(name, 1)
        if not isinstance(number, int) or number > MOST_PLANES:
            raise TooMuchClaimedError(f"{path} claims {number!r:.20} {name}: export it again")


def _damaged(path: Path, problem: Exception) -> ValueError:
    return ValueError(f"{path} is a damaged TIFF ({problem}): copy or export the file again")


def _truncated(path: Path) -> OSError:
    size = path.stat().st_size
    return OSError(f"{path} is truncated after {size:,} bytes: copy or export the file again")


def _chosen_image(
    path: Path, tif: TiffFile, wanted: str | int | None
) -> tuple[TiffPageSeries, list[TiffPageSeries], ImageChoice]:
    """Return the image to read, all images that make up its channels (mostly itself), and which."""
    here = [series for series in tif.series if _is_in(series, path)]
    if not here:
        raise ValueError(f"{path} holds no image, its planes are in other files: open one of those")
    main = max(here, key=lambda s: math.prod(_size(s)))
    same = [s for s in here if (s.shape, s.axes, s.dtype) == (main.shape, "YX", main.dtype)]
    if len(same) > 1 and not tif.is_ome and wanted is None:
        # Programs that save channel by channel make plain TIFFs of several one-page images.
        return main, same, ONLY_IMAGE
    names = [_name(tif, series) for series in here]
    choice = choose_image(path, names, [_size(series) for series in here], wanted)
    main = here[choice.number]
    return main, [main], choice


def _is_in(series: TiffPageSeries, path: Path) -> bool:
    """Tell whether any plane of an image is in this file; a set of files lists those of others."""
    return any(
        page is not None and Path(page.parent.filehandle.path).name == path.name for page in series
    )


def _name(tif: TiffFile, series: TiffPageSeries) -> str:
    pixels = pixels_of(tif, series) if tif.is_ome else None
    return str(series.name or "").strip() if pixels is None else pixels.name


def _size(series: TiffPageSeries) -> tuple[int, int]:
    return series.keyframe.imagelength, series.keyframe.imagewidth


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
    _check_channels_come_first(path, series, math.prod(long.values()))
    return _Layout("".join(long), tuple(long.values()))


def _check_channels_come_first(path: Path, series: TiffPageSeries, planes: int) -> None:
    """Refuse (y, x, c) saved as if it were (c, y, x): y pages, each x by a few pixels."""
    height, width = _size(series)
    if min(height, width) <= STRIP_PX and planes > max(FEW, min(height, width)):
        raise ValueError(
            f"{path} holds {planes} planes of {height} x {width} px, so its channels seem to come "
            "last: save it with the channels first, (c, y, x)"
        )


def _check_pieces(path: Path, level: TiffPageSeries) -> int:
    """Refuse tiles that are too large, too many, or packed in unusual ways; return their bytes."""
    frame = level.keyframe
    if frame.compression not in {*PACKED, *PICTURES}:
        name = getattr(frame.compression, "name", frame.compression)
        raise ValueError(
            f"{path} is packed by {name}, which is not read: save it with deflate, LZW, zstd, JPEG "
            "or JPEG 2000"
        )
    piece = math.prod(frame.chunks) * level.dtype.itemsize
    if piece > MOST_PIECE_BYTES and not _in_one_piece(level):
        raise ValueError(
            f"{path} is stored in pieces of {piece / 2**30:.3g} GiB that must be unpacked whole: "
            "save it in tiles"
        )
    segments_stated = math.prod(frame.chunked)
    if segments_stated > MOST_SEGMENTS:
        raise ValueError(
            f"{path} is cut into {segments_stated:,} tiles of {frame.tilelength} x "
            f"{frame.tilewidth} px: save it in tiles of 256 px or more"
        )
    return piece


def _in_one_piece(level: TiffPageSeries) -> bool:
    """Tell whether pixels lie in the file as in memory, so that they can be mapped."""
    return bool(level.keyframe.is_contiguous and level.keyframe.compression == 1)


def _check_complete(path: Path, level: TiffPageSeries, absent: Sequence[str] = ()) -> None:
    """Check that the pixels of a level are inside the file; `absent` are files that it names."""
    piece = _check_pieces(path, level)
    if level.dataoffset is not None and level.parent is not None:
        end = level.dataoffset + math.prod(level.shape) * level.dtype.itemsize
        if end > level.parent.filehandle.size:
            raise _truncated(path)
    for page in level:
        if page is None or not len(page.dataoffsets):
            where = f" (they should be in {', '.join(absent[:3])})" if absent else ""
            remedy = "put that file beside it" if absent else "copy or export it again"
            raise OSError(f"{path} is incomplete, planes are missing{where}: {remedy}")
        if max(page.databytecounts) > 2 * piece + SLACK and not _in_one_piece(level):
            raise ValueError(
                f"{path} is damaged, a tile takes {max(page.databytecounts):,} bytes for "
                f"{piece:,} of pixels: copy or export it again"
            )
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

"""Slides as large as real ones, with tissue on a part of them, written without being in memory.

1. `Tissue` is a simulated section that goes on forever by mirroring, at every pyramid level.
2. `write_tiff` puts it on a centred square of a tiled, compressed, pyramidal OME-TIFF; around it is
   glass at the darkest value that the camera gave.
3. `write_zarr` puts it on boxes of a pyramidal OME-Zarr; around them are true zeros: chunks that
   are not stored. `spread` spreads equal boxes over a slide, `cover` covers it.

Pixels are uint16 of 1 um, channels "vessels" and "nuclei". Corners and sides of boxes are multiples
of `GRAIN`, so that every pyramid level holds whole pixels of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_damm.simulate import EVALUATION_SEEDS_FROM, simulate_slide
from napari_damm.util.tiling import Box

CHANNELS = ("vessels", "nuclei")
GRAIN = 128
SMALLEST_LEVEL = 1024
TILE = 512
PIXEL_UM = 1.0

Counts = NDArray[np.uint16]


def levels_of(shape: tuple[int, int]) -> int:
    """Return how many pyramid levels a slide gets."""
    return 1 + max(0, min(7, math.ceil(math.log2(max(shape) / SMALLEST_LEVEL))))


class Tissue:
    """A simulated section of `side` px (a multiple of `GRAIN`), mirrored without end."""

    def __init__(self, side: int = 2048, seed: int = EVALUATION_SEEDS_FROM) -> None:
        section = simulate_slide(side, seed, "internal")
        finest = np.stack([section.vessels, section.nuclei]).astype(np.float32)
        self._levels = [finest]
        while side > 1 and side % 2 == 0:
            side //= 2
            fine = self._levels[-1].reshape(len(CHANNELS), side, 2, side, 2)
            self._levels.append(fine.mean(axis=(2, 4)))

    @property
    def darkest(self) -> NDArray[np.float32]:
        """The darkest value of each channel."""
        values: NDArray[np.float32] = self._levels[0].min(axis=(1, 2))
        return values

    def cut(self, level: int, box: Box) -> Counts:
        """Return (channels, h, w) of a box, in pixels of a level, anywhere."""
        picture = self._levels[level]
        rows, cols = (
            _mirrored(start, stop, picture.shape[-1])
            for start, stop in ((box.y0, box.y1), (box.x0, box.x1))
        )
        return np.rint(picture[:, rows[:, None], cols]).astype(np.uint16)


def _mirrored(start: int, stop: int, length: int) -> NDArray[np.int64]:
    position = np.arange(start, stop) % (2 * length)
    return np.minimum(position, 2 * length - 1 - position)


def centred_square(side: int, share: float) -> Box:
    """Return the box, in the middle of a square slide, that covers about this share of it."""
    inner = min(side, max(GRAIN, round(side * math.sqrt(share) / GRAIN) * GRAIN))
    corner = (side - inner) // 2 // GRAIN * GRAIN
    return Box(corner, corner, corner + inner, corner + inner)


def spread(side: int, count: int, patch: int) -> list[Box]:
    """Spread `count` patches over a square slide.

    Raises
    ------
    ValueError
        If they would touch.
    """
    across = math.ceil(math.sqrt(count))
    if side < across * (patch + 2 * GRAIN):
        raise ValueError(f"{count} patches of {patch} px do not fit apart into {side} px")
    starts = [int((k + 0.5) * side / across - patch / 2) // GRAIN * GRAIN for k in range(across)]
    corners = [(y, x) for y in starts for x in starts][:count]
    return [Box(y, x, y + patch, x + patch) for y, x in corners]


def cover(shape: tuple[int, int], patch: int = 2048) -> list[Box]:
    """Cut a slide into boxes that cover it."""
    whole = Box(0, 0, *shape)
    corners = [(y, x) for y in range(0, shape[0], patch) for x in range(0, shape[1], patch)]
    return [Box(y, x, y + patch, x + patch).intersect(whole) for y, x in corners]


def write_tiff(path: Path, side: int, share: float, tissue: Tissue) -> Path:
    """Write a square slide with tissue on a share of it as OME-TIFF."""
    import tifffile

    inside, glass = centred_square(side, share), np.rint(tissue.darkest).astype(np.uint16)
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": list(CHANNELS)},
        "PhysicalSizeX": PIXEL_UM,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": PIXEL_UM,
        "PhysicalSizeYUnit": "µm",
    }
    levels = levels_of((side, side))
    with tifffile.TiffWriter(path, ome=True, bigtiff=True) as tif:
        for level in range(levels):
            small = side >> level
            tif.write(
                _tiles(tissue, level, _at(level, inside), small, glass),
                shape=(len(CHANNELS), small, small),
                dtype=np.uint16,
                photometric="minisblack",
                tile=(TILE, TILE),
                compression="zlib",
                metadata=metadata if level == 0 else None,
                subifds=levels - 1 if level == 0 else None,
                subfiletype=int(level > 0),
            )
    return path


def _tiles(tissue: Tissue, level: int, inside: Box, side: int, glass: Counts) -> Iterator[Counts]:
    for channel, dark in enumerate(glass):
        for y in range(0, side, TILE):
            for x in range(0, side, TILE):
                tile = np.full((TILE, TILE), dark)
                shared = Box(y, x, y + TILE, x + TILE).intersect(inside)
                if not shared.empty:
                    tile[shared.shifted(-y, -x).slices] = tissue.cut(level, shared)[channel]
                yield tile


def write_zarr(path: Path, shape: tuple[int, int], boxes: Sequence[Box], tissue: Tissue) -> Path:
    """Write a slide with tissue in boxes, and zeros elsewhere, as OME-Zarr 0.5."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3)
    datasets = []
    for level in range(levels_of(shape)):
        array = group.create_array(
            str(level),
            shape=(len(CHANNELS), shape[0] >> level, shape[1] >> level),
            chunks=(1, TILE, TILE),
            dtype="uint16",
            fill_value=0,
        )
        for box in boxes:
            here = _at(level, box)
            array[:, here.y0 : here.y1, here.x0 : here.x1] = tissue.cut(level, here)
        scale = [1.0, PIXEL_UM * 2**level, PIXEL_UM * 2**level]
        transforms = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(level), "coordinateTransformations": transforms})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    labels = {"channels": [{"label": name} for name in CHANNELS]}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"name": path.stem, "axes": axes, "datasets": datasets}],
        "omero": labels,
    }
    return path


def _at(level: int, box: Box) -> Box:
    return Box(*(edge >> level for edge in (box.y0, box.x0, box.y1, box.x1)))

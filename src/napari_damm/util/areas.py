"""Parts of a section by their outlines, and which pixels lie in them.

1. An outline is a closed line through points (y, x). An area is one outline, or several where it
   has holes: a point lies in it if it lies in an odd number of them. Areas add up.
2. A pixel belongs to an area if its centre does. Where a row of pixel centres crosses an outline is
   a function of the row alone, so whatever boxes are asked for agree where they meet.
3. `areas_of_mask` turns a mask of pixels into outlines: rectangles of equal runs.
   `areas_of_geojson` reads what QuPath and others export: polygons in pixels, points (x, y);
   `named_areas_of_geojson` keeps each feature apart, under its name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.util.advice import Advice
from napari_damm.util.bounded_json import read_json
from napari_damm.util.settings import is_finite
from napari_damm.util.text import printable
from napari_damm.util.tiling import CELL, Box

Point = tuple[float, float]
Outline = tuple[Point, ...]
Area = tuple[Outline, ...]
Mask = NDArray[np.bool_]

MOST_POINTS = 200_000
FARTHEST = 1e9
"""No section is so many pixels wide; beyond, differences of coordinates would overflow."""
MOST_CROSSINGS = 2**20
"""Crossings of rows and edges that are held at once: 100 MB."""


@dataclass(frozen=True)
class Areas:
    """Areas of a section.

    Parameters
    ----------
    areas
        Each a tuple of outlines, tuples of points (y, x) in pixels, where (0, 0) is the upper left
        corner of the first pixel.
    name
        What people call them.
    """

    areas: tuple[Area, ...]
    name: str = ""

    def __post_init__(self) -> None:
        """Check that there are areas, and numbers that can be drawn."""
        points = [point for area in self.areas for outline in area for point in outline]
        if not self.areas or any(len(line) < 3 for area in self.areas for line in area):
            raise ValueError(
                Advice("must be outlines of three points or more each", parameter="areas")
            )
        if len(points) > MOST_POINTS:
            raise ValueError(
                Advice(
                    f"must have {MOST_POINTS:,} points or fewer, got {len(points):,}: draw "
                    "simpler outlines, or smooth the labels",
                    parameter="areas",
                )
            )
        bad = next((p for p in points if len(p) != 2 or not all(map(_is_place, p))), None)
        if bad is not None:
            raise ValueError(Advice(f"must be points (y, x), got {bad}", parameter="areas"))

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The box (y0, x0, y1, x1) around all."""
        points = np.array([p for area in self.areas for outline in area for p in outline])
        (y0, x0), (y1, x1) = points.min(0).tolist(), points.max(0).tolist()
        return y0, x0, y1, x1

    def scaled(self, factor: float) -> Areas:
        """Return the same areas on a grid of `factor` pixels for each of these."""
        return Areas(
            tuple(
                tuple(tuple((y * factor, x * factor) for y, x in outline) for outline in area)
                for area in self.areas
            ),
            self.name,
        )

    def moved(self, dy: float, dx: float) -> Areas:
        """Return the same areas, so many pixels further down and to the right."""
        return Areas(
            tuple(
                tuple(tuple((y + dy, x + dx) for y, x in outline) for outline in area)
                for area in self.areas
            ),
            self.name,
        )

    def mask(self, box: Box) -> Mask:
        """Tell which pixels of a box lie in any area."""
        inside = np.zeros(box.shape, bool)
        for edges in self._edges:
            inside |= _inside(edges, box)
        return inside

    def cells(self, cells: Box) -> Mask:
        """Tell which cells of 32 px hold a pixel of any area."""
        box = Box(cells.y0 * CELL, cells.x0 * CELL, cells.y1 * CELL, cells.x1 * CELL)
        height, width = cells.shape
        blocks = self.mask(box).reshape(height, CELL, width, CELL)
        return np.asarray(blocks.any(axis=(1, 3)), bool)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` restores."""
        areas = [[[[*point] for point in outline] for outline in area] for area in self.areas]
        return {"name": self.name, "areas": areas}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Areas:
        """Restore what `to_json` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is anything else.
        """
        areas = tuple(
            tuple(tuple((float(y), float(x)) for y, x in outline) for outline in area)
            for area in values["areas"]
        )
        return cls(areas, str(values["name"]))

    @cached_property
    def _edges(self) -> list[NDArray[np.float64]]:
        """The edges (n, y0 x0 y1 x1) of each area that are not level, downwards."""
        found = []
        for area in self.areas:
            lines = [np.array([*outline, outline[0]], np.float64) for outline in area]
            edges = np.concatenate([np.hstack([line[:-1], line[1:]]) for line in lines])
            upwards = edges[:, 0] > edges[:, 2]
            edges[upwards] = edges[upwards][:, [2, 3, 0, 1]]
            found.append(edges[edges[:, 0] < edges[:, 2]])
        return found


def areas_on_map(record: Mapping[str, Any]) -> Areas | None:
    """Return the areas that a job was asked for, in pixels of its map; None: all of the map.

    Raises
    ------
    ValueError
        If what the record says of them cannot be used.
    """
    given = record.get("areas")
    if not given:
        return None
    try:
        areas = Areas.from_json(given)
        scale = float(record["slide_pixel_size_um"]) / float(record["pixel_size_um"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ValueError(f"the areas of the result's record cannot be used ({error})") from error
    areas = areas.scaled(scale)
    # the map begins at the box around the areas, or where the section does
    y0, x0 = (max(0, math.floor(v + 1e-9)) for v in areas.bounds[:2])
    return areas.moved(-y0, -x0)


def _is_place(value: float) -> bool:
    return is_finite(value) and abs(value) <= FARTHEST


def areas_of_mask(mask: Mask, side: float, corner: Point, name: str = "") -> Areas:
    """Return a mask as areas; its pixels are `side` wide and begin at `corner` (y, x).

    Raises
    ------
    ValueError
        If nothing is marked, or it is scattered too finely.
    """
    found: list[Outline] = []
    open_: dict[tuple[int, int], int] = {}  # runs of the row above, and where they began
    for row in range(mask.shape[0] + 1):
        runs = _runs(mask[row]) if row < mask.shape[0] else []
        for run in [run for run in open_ if run not in runs]:
            found.append(_rectangle(open_.pop(run), row, run, side, corner))
        for run in runs:
            open_.setdefault(run, row)
    if not found:
        raise ValueError(f"'{name}' marks nothing: paint a part of the image")
    return Areas((tuple(found),), name)


def areas_of_geojson(path: Path) -> Areas:
    """Return the polygons of a GeoJSON file as areas, named after the file.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no GeoJSON, or holds no polygon.
    """
    named = named_areas_of_geojson(path)
    return Areas(tuple(area for each in named.values() for area in each.areas), path.stem)


def named_areas_of_geojson(path: Path) -> dict[str, Areas]:
    """Return the polygons of each feature of a GeoJSON file, by name.

    A name is the feature's own, or that of its class, or "area"; the second of a name is "... 2".

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no GeoJSON, or holds no polygon.
    """
    found = read_json(path)
    try:
        features = [(name, _outlines(feature)) for name, feature in _features(found)]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(
            f"{path} is no GeoJSON of polygons with points (x, y): export it anew"
        ) from None
    named: dict[str, Areas] = {}
    for name, areas in features:
        if areas:  # what is wrong with its points is said by Areas
            free = _free_name(name, named)
            named[free] = Areas(areas, free)
    if not named:
        raise ValueError(f"{path} holds no polygon: draw areas, and export them anew")
    return named


def _features(found: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(found, list):
        for each in found:
            yield from _features(each)
    elif found["type"] == "FeatureCollection":
        yield from _features(found["features"])
    else:
        yield _name_of(found), found


def _outlines(feature: Any) -> tuple[Area, ...]:
    return tuple(
        tuple(_ring(ring) for ring in polygon)
        for shape in _geometries(feature)
        for polygon in _polygons(shape)
    )


def _name_of(feature: Mapping[str, Any]) -> str:
    """Return what QuPath calls an annotation: its own name, or its class's."""
    known = feature.get("properties") or {}
    named = known.get("name") or (known.get("classification") or {}).get("name")
    return printable(str(named)).strip() if named else "area"


def _free_name(name: str, taken: Mapping[str, Areas]) -> str:
    numbers = (f"{name} {number}" for number in range(2, len(taken) + 3))
    return next(each for each in (name, *numbers) if each not in taken)


def _geometries(found: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(found, list):
        for each in found:
            yield from _geometries(each)
    elif found["type"] == "FeatureCollection":
        yield from _geometries(found["features"])
    elif found["type"] == "GeometryCollection":
        yield from _geometries(found["geometries"])
    elif found["type"] == "Feature":
        yield from _geometries(found["geometry"])
    else:
        yield found


def _polygons(shape: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    if shape["type"] == "Polygon":
        return [shape["coordinates"]]
    return list(shape["coordinates"]) if shape["type"] == "MultiPolygon" else []


def _ring(ring: Sequence[Sequence[float]]) -> Outline:
    points = [(float(y), float(x)) for x, y, *_ in ring]
    closed = len(points) > 1 and points[0] == points[-1]  # GeoJSON says the first point again
    return tuple(points[:-1] if closed else points)


def _runs(row: Mask) -> list[tuple[int, int]]:
    turns = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]])))
    return list(zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True))


def _rectangle(
    first: int, end: int, run: tuple[int, int], side: float, corner: Sequence[float]
) -> Outline:
    y0, y1 = (corner[0] + side * v for v in (first, end))
    x0, x1 = (corner[1] + side * v for v in run)
    return ((y0, x0), (y0, x1), (y1, x1), (y1, x0))


def _inside(edges: NDArray[np.float64], box: Box) -> Mask:
    """Tell which pixel centres of a box lie inside an odd number of outlines."""
    height, width = box.shape
    # Row r is crossed if its centre r + 0.5 lies in [y0, y1).
    first = np.maximum(np.ceil(edges[:, 0] - 0.5), box.y0)
    end = np.minimum(np.ceil(edges[:, 2] - 0.5), box.y1)
    counts = np.maximum(end - first, 0).astype(np.int64)
    turns = np.zeros((height, width + 1), np.uint8)
    portion = np.cumsum(counts) // MOST_CROSSINGS
    for part in np.split(np.arange(len(edges)), np.flatnonzero(np.diff(portion)) + 1):
        _cross(turns, edges[part], first[part], counts[part], box)
    return np.bitwise_xor.accumulate(turns, axis=1)[:, :width].astype(bool)


def _cross(
    turns: NDArray[np.uint8],
    edges: NDArray[np.float64],
    first: NDArray[np.float64],
    counts: NDArray[np.int64],
    box: Box,
) -> None:
    """Note in `turns` where `counts` rows of a box, from row `first` on, cross each edge."""
    which = np.repeat(np.arange(len(edges)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = first[which].astype(np.int64) + within
    y0, x0, y1, x1 = edges[which].T
    crossing = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
    cols = np.clip(np.ceil(crossing - 0.5) - box.x0, 0, turns.shape[1] - 1).astype(np.int64)
    np.bitwise_xor.at(turns, (rows - box.y0, cols), 1)

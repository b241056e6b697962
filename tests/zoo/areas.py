"""Areas drawn elsewhere (GeoJSON)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from zoo.case import Group
from zoo.goods import predict

CASES = Group("areas")

SQUARE = [[10, 10], [10, 90], [90, 90]]


def polygon(points: Any) -> str:
    return json.dumps({"type": "Polygon", "coordinates": [points]})


for _name, _says, _text in (
    ("a text", r"a\.geojson", "polygons"),
    ("nothing", r"a\.geojson", ""),
    ("null", "no GeoJSON", "null"),
    ("a number", "no GeoJSON", "7"),
    ("no polygon", "holds no polygon", '{"type": "FeatureCollection", "features": []}'),
    ("a feature of null", "no GeoJSON", '{"type": "Feature", "geometry": null}'),
    ("a line", "three points|no polygon", '{"type": "LineString", "coordinates": [[1, 2]]}'),
    ("two points", "three points", polygon(SQUARE[:2])),
    ("points of text", "no GeoJSON", polygon([["a", "b"]] * 4)),
    ("points of tables", "no GeoJSON", polygon([{"x": 1, "y": 2}] * 4)),
    ("points of one number", "no GeoJSON", polygon([[1]] * 4)),
    ("infinity", r"a\.geojson", polygon([*SQUARE, [float("inf"), 0]])),
    ("a point at 1e308", "must be points", polygon([*SQUARE, [1e308, 0]])),
    ("beside the section", "outside", polygon([[v + 9e6 for v in p] for p in SQUARE])),
    ("300,000 points", "200,000 points", polygon([[k % 90, k % 70] for k in range(300_000)])),
    ("geometries without end", r"a\.geojson", '{"type":"Feature","geometry":' * 90_000),
    ("lists without end", r"a\.geojson", "[" * 90_000 + "]" * 90_000),
):  # fmt: skip

    @CASES.refused(_name, _says)
    def _make(folder: Path, text: str = _text) -> list[str]:
        (folder / "a.geojson").write_text(text)
        return predict(folder, "--areas", "a.geojson")


@CASES.refused("a pipe", r"a\.geojson")
def _pipe(folder: Path) -> list[str]:
    os.mkfifo(folder / "a.geojson")
    return predict(folder, "--areas", "a.geojson")


@CASES.refused("40 GB of nothing", r"a\.geojson")
def _hollow(folder: Path) -> list[str]:
    with (folder / "a.geojson").open("wb") as file:
        file.truncate(40 * 2**30)
    return predict(folder, "--areas", "a.geojson")

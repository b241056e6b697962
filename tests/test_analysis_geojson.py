"""Outlines as QuPath exports them are regions: of a picture, and of a result on another grid."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from jobs import SHAPE, make_with_expected_map

from napari_damm import api, cli

SQUARE = [[64, 32], [320, 32], [320, 288], [64, 288], [64, 32]]  # x, y
HOLE = [[128, 96], [192, 96], [192, 160], [128, 160], [128, 96]]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A section of pixels of 2 um, its map of pixels of 1 um, outlines, and the same as labels."""
    folder = make_with_expected_map(tmp_path_factory.mktemp("job"))
    shape = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}
    known = {"classification": {"name": "Tumor"}}
    feature = {"type": "Feature", "geometry": shape, "properties": known}
    (folder / "regions.geojson").write_text(json.dumps([feature]))
    labels = np.zeros(SHAPE, np.uint16)
    labels[32:288, 64:320] = 1
    labels[96:160, 128:192] = 0
    tifffile.imwrite(folder / "section.ome.tif.labels.tif", labels)
    tifffile.imwrite(folder / "r.ome.zarr.labels.tif", labels[16:400, 16:400])
    predict = ["predict", str(folder / "section.ome.tif"), "--pixel-size", "2"]
    predict += ["--model", str(folder / "tiny.safetensors"), "--out", str(folder / "r.ome.zarr")]
    assert cli.main([*predict, "--roi", "16", "16", "400", "400"]) == 0
    return folder


def measured(source):
    """The rows of the one region, by measure."""
    *_, finished = api.analyze(source)
    rows = [row for row in finished.result.rows if row.region not in ("tissue", "tissue, trusted")]
    return {row.region for row in rows}, {row.measure: (row.value, row.n) for row in rows}


@pytest.mark.parametrize("input_name", ["section.ome.tif", "r.ome.zarr"])
def test_outlines_and_labels_of_the_same_pixels_measure_the_same(here, input_name):
    options = {}
    if input_name == "section.ome.tif":
        options = {"vessels_channel": 0, "particles_channel": 1, "pixel_size_um": 2.0}
    drawn = api.MapSource(here / input_name, regions=here / "regions.geojson", **options)
    names, values = measured(drawn)
    assert names == {"Tumor"}
    painted = replace(drawn, regions=here / f"{input_name}.labels.tif")
    assert values == measured(painted)[1]
    assert any(n for _, n in values.values())

"""Metadata of zarr arrays from elsewhere: refused before a library acts on them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from image_files import ALL, IMAGE, ome_zarr

from napari_damm.slide.readers import open_image
from napari_damm.slide.zarr_metadata import check_arrays


def changed(path, version, **values):
    """Change an array's metadata by hand."""
    file = path / "0" / (".zarray" if version == "0.4" else "zarr.json")
    metadata = json.loads(file.read_text())
    if version == "0.5" and "chunks" in values:
        values["chunk_grid"] = {
            "name": "regular",
            "configuration": {"chunk_shape": values.pop("chunks")},
        }
    file.write_text(json.dumps(metadata | values))
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"chunks": [1, 0, 64]}, "has chunks"),
        ({"chunks": [1, 64, True]}, "has chunks"),
        ({"shape": [3, -5, 170]}, "has shape"),
        ({"shape": [10**9, 150, 170]}, "claims 1,000,000,000 channels"),
        ({"shape": [3, 10**60, 170]}, "has shape"),
    ],
)
def test_absurd_shapes_and_chunks_are_refused(tmp_path, version, values, says):
    path = changed(ome_zarr(tmp_path / "a.zarr", version), version, **values)
    with pytest.raises(ValueError, match=says):
        open_image(path)


@pytest.mark.parametrize("name", ["pickle", "json2", "msgpack2", "vlen-utf8", "made up"])
def test_codecs_that_make_objects_are_refused(tmp_path, name):
    old = changed(ome_zarr(tmp_path / "a.zarr", "0.4"), "0.4", filters=[{"id": name}])
    with pytest.raises(ValueError, match=f"packed with '{name}'"):
        open_image(old)
    new = changed(
        ome_zarr(tmp_path / "b.zarr"),
        "0.5",
        codecs=[{"name": f"numcodecs.{name}", "configuration": {}}],
    )
    with pytest.raises(ValueError, match="packed with"):
        open_image(new)


def test_a_type_of_python_objects_is_refused(tmp_path):
    path = changed(ome_zarr(tmp_path / "a.zarr", "0.4"), "0.4", dtype="|O")
    with pytest.raises(ValueError, match="holds Python objects"):
        open_image(path)


def test_metadata_nested_without_end_is_one_sentence(tmp_path):
    path = ome_zarr(tmp_path / "a.zarr")
    (path / "0" / "zarr.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="damaged metadata"):
        check_arrays(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_usual_arrays_pass(tmp_path, version):
    path = ome_zarr(tmp_path / "a.zarr", version)
    check_arrays(path)
    np.testing.assert_array_equal(np.asarray(open_image(path).planes[1][0][ALL]), IMAGE[1])

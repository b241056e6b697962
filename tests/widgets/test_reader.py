"""Opening a result store in napari."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from napari.components import ViewerModel
from napari.layers import Layer

from napari_damm.store import ResultLayout, ResultStore, ShardMaps
from napari_damm.widgets.viewer.layer_slides import grid_of, stated_pixel_size
from napari_damm.widgets.viewer.reader import get_reader
from napari_damm.widgets.viewer.roles import Channel


@pytest.fixture
def result(tmp_path: Path) -> Path:
    path = tmp_path / "result.ome.zarr"
    layout = ResultLayout((700, 100), 2.0, (10.0, 20.0), (4, 0))
    record = {"seed": 3, "model": {"modalities": ["T1", "T2", "FLAIR"]}}
    store = ResultStore.create(path, layout, record)
    image = np.full(layout.shape, 0.5, np.float32)
    cells = np.ones(layout.cells_shape, np.float32)
    store.write_shard(0, 0, ShardMaps(image, cells / 4, cells.astype(np.uint8)))
    store.finish({"finished": "now"})
    return path


def blank(layout: ResultLayout) -> ShardMaps:
    """Make the maps of the first shard."""
    cells = np.ones(layout.shard_cells(0, 0).shape, np.float32)
    image = np.ones(layout.shard_box(0, 0).shape, np.float32)
    return ShardMaps(image, cells, cells.astype(np.uint8))


def test_the_three_layers_come_back_with_place_and_record(result):
    read = get_reader(str(result))
    assert read is not None
    layers = [Layer.create(*layer) for layer in read(str(result))]
    assert [layer.name for layer in layers] == ["NP distribution", "Uncertainty", "Branch"]
    np_map, uncertainty, branch = layers
    assert np_map.multiscale
    np.testing.assert_allclose(np_map.scale, (2, 2))
    np.testing.assert_allclose(np_map.translate, (11, 21))
    # The cell map starts 4 px before the NP map, with a cell of 64 um.
    np.testing.assert_allclose(uncertainty.translate, (10 - 8 + 32, 20 + 32))
    assert all(layer.metadata["napari_damm"]["seed"] == 3 for layer in layers)
    assert np.asarray(branch.data).max() == 1
    assert list(branch.features["predicted from"]) == [
        "uni-modal: T2 not trusted",
        "multi-modal: T1 and T2",
    ]


def test_a_reopened_result_looks_as_after_the_run(qapp, result, monkeypatch):
    viewer = ViewerModel()
    monkeypatch.setattr("napari.current_viewer", lambda: viewer)
    for _ in range(2):
        for layer in get_reader(str(result))(str(result)):
            viewer.layers.append(Layer.create(*layer))
    older, *_, np_map, _, branch = viewer.layers
    assert (older.visible, np_map.visible) == (False, True)
    assert not branch.editable
    assert not hasattr(np_map, "colorbar") or np_map.colorbar.visible  # since napari 0.9


def test_other_zarrs_are_left_to_napari(tmp_path):
    zarr.create_array(tmp_path / "plain.zarr", shape=(4, 4), dtype="u1")
    assert get_reader(str(tmp_path / "plain.zarr")) is None


def test_what_is_not_there_or_damaged_is_left_to_napari(tmp_path):
    (tmp_path / "damaged.zarr").mkdir()
    (tmp_path / "damaged.zarr" / "zarr.json").write_text("{")
    assert get_reader(str(tmp_path / "damaged.zarr")) is None
    assert get_reader(str(tmp_path / "missing.zarr")) is None
    assert get_reader(["a.zarr", "b.zarr"]) is None


def test_a_section_opens_with_names_and_pixel_size(tmp_path):
    path = tmp_path / "section.ome.tif"
    tifffile.imwrite(
        path,
        np.arange(2 * 64 * 80, dtype=np.uint16).reshape(2, 64, 80),
        photometric="minisblack",
        metadata={
            "axes": "CYX",
            "Channel": {"Name": ["CD31", "DAPI"]},
            "PhysicalSizeX": 0.5,
            "PhysicalSizeY": 0.5,
        },
    )
    read = get_reader(str(path))
    assert read is not None
    layers = [Layer.create(*layer) for layer in read(str(path))]
    assert [(layer.name, layer.colormap.name) for layer in layers] == [
        ("CD31", "green"),
        ("DAPI", "blue"),
    ]
    assert stated_pixel_size(grid_of(Channel(layers[0]))) == 0.5
    assert grid_of(Channel(layers[0])).corner == (0, 0)
    assert layers[1].data[:1, :1].compute() == 64 * 80


def test_a_stack_is_read_as_by_napari_and_what_is_broken_fails_as_there(plugin, tmp_path):
    """Who reads OME-TIFFs is asked of nobody: what is no section is handed on."""
    stack, broken = tmp_path / "stack.ome.tif", tmp_path / "broken.ome.tiff"
    image = np.arange(5 * 64 * 80, dtype=np.uint16).reshape(5, 64, 80)
    tifffile.imwrite(stack, image, metadata={"axes": "ZYX"})
    broken.write_bytes(b"no picture")
    ((data, *_),) = get_reader(str(stack))(str(stack))
    np.testing.assert_array_equal(np.asarray(data), image)
    with pytest.raises(OSError, match="broken"):
        get_reader(str(broken))(str(broken))
    (tmp_path / "broken.czi").write_bytes(b"ZISRAWFILE")
    assert get_reader(str(tmp_path / "broken.czi")) is None


def section_of(tmp_path, *names: str) -> list[Layer]:
    """Write an OME-TIFF whose channels are called so, and open it."""
    path = tmp_path / "section.ome.tif"
    tifffile.imwrite(
        path,
        np.arange(len(names) * 64 * 80, dtype=np.uint16).reshape(len(names), 64, 80),
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": list(names)}},
    )
    read = get_reader(str(path))
    assert read is not None
    return [Layer.create(*layer) for layer in read(str(path))]


@pytest.mark.parametrize(
    ("names", "visible"),
    [
        (["ch0", "ch1"], [True, True]),
        (["QD655"], [True]),
        (["red", "green", "blue"], [True, True, True]),
        (["CD31", "DAPI", "QD655"], [True, True, False]),
        (["ch0", "DAPI"], [False, True]),
    ],
)
def test_a_section_never_opens_with_every_layer_hidden(tmp_path, names, visible):
    assert [layer.visible for layer in section_of(tmp_path, *names)] == visible


def test_channels_named_after_a_colour_are_shown_in_it(tmp_path):
    layers = section_of(tmp_path, "red", "green", "blue")
    assert [layer.colormap.name for layer in layers] == ["red", "green", "blue"]


def test_a_result_that_was_stopped_opens_under_names_that_say_so(tmp_path):
    path = tmp_path / "result.ome.zarr"
    layout = ResultLayout((100, 100), 2.0, shard=64)
    with ResultStore.create(path, layout, {"finished": None}) as store:
        store.write_shard(0, 0, blank(layout))
    read = get_reader(str(path))
    assert read is not None
    assert [layer[1]["name"] for layer in read(str(path))] == [
        f"{name} (partial, 25 %)" for name in ("NP distribution", "Uncertainty", "Branch")
    ]

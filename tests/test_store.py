"""The result store: what is written reads back, for us and for OME-Zarr's own readers."""

import json

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import RECORD, maps, stored, write_all

from napari_damm.store import (
    ResultLayout,
    ResultStore,
    ShardMaps,
    ShardStatus,
    halve,
    open_result,
    to_half,
)


@settings(deadline=None, max_examples=15)
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(0, 31), st.integers(0, 31)),
    st.sampled_from([64, 128, 192]),
)
def test_what_is_written_reads_back(shape, offset, shard):
    layout = ResultLayout(shape, 0.65, (1.5, -2.5), offset, shard)
    content = maps(layout)
    store = ResultStore.create(None, layout, RECORD)
    write_all(store, content)
    result = store.result()
    np.testing.assert_array_equal(result.np.compute(), to_half(content[0]))
    np.testing.assert_array_equal(result.uncertainty.compute(), to_half(content[1]))
    np.testing.assert_array_equal(result.branch.compute(), content[2])
    assert (result.status == ShardStatus.DONE).all()


def test_a_stored_result_reopens_with_everything(tmp_path):
    layout = ResultLayout((1100, 90), 0.5, (10.0, 20.0), (3, 7), shard=512)
    store = stored(tmp_path / "r.ome.zarr", layout)
    store.finish({"seconds": 1.5})
    result = open_result(str(tmp_path / "r.ome.zarr"))
    assert result.record == RECORD | {"seconds": 1.5}
    assert result.layout == layout
    assert result.pixel_size_um == 0.5
    assert result.origin == (10.0, 20.0)
    assert result.cells_origin_um == (8.5, 16.5)
    assert result.path == tmp_path / "r.ome.zarr"
    assert all(isinstance(array, da.Array) for array in [*result.levels, result.branch])
    assert [level.shape for level in result.levels] == [(1100, 90), (550, 45), (275, 23)]
    assert result.np.dtype == np.float32
    assert result.uncertainty.dtype == np.float32
    assert result.branch.dtype == np.uint8
    assert result.digest() == store.result().digest()


def test_reductions_of_a_result_do_not_overflow(tmp_path):
    layout = ResultLayout((600, 700), 0.5, shard=512)
    image, uncertainty, branch = maps(layout)
    store = ResultStore.create(tmp_path / "r.ome.zarr", layout, RECORD)
    write_all(store, (np.ones_like(image), np.ones_like(uncertainty), branch))
    result = open_result(tmp_path / "r.ome.zarr")
    # The largest number of float16 is 65,504.
    for array in (result.np, result.np[:300, :300], result.levels[-1], result.uncertainty):
        assert float(array.mean()) == 1.0
        assert float(array.sum()) == array.size
        assert float(array.std()) == 0.0


def test_a_result_is_converted_only_where_it_is_read(tmp_path, monkeypatch):
    layout = ResultLayout((600, 700), 0.5, shard=512)
    read = []
    original = zarr.Array.__getitem__
    monkeypatch.setattr(
        zarr.Array, "__getitem__", lambda self, at: read.append(self.name) or original(self, at)
    )
    result = stored(tmp_path / "r.ome.zarr", layout).result()
    read.clear()
    _ = result.np[:10, :10].compute()
    assert read == ["/np/0"]


def test_levels_are_two_by_two_means_of_the_unrounded_map(location):
    layout = ResultLayout((1100, 530), 0.5, shard=256)
    store = stored(location, layout)
    level = maps(layout)[0]
    for array in store.result().levels:
        np.testing.assert_array_equal(array.compute(), to_half(level))
        level = halve(level)


def test_the_digest_does_not_depend_on_shards_order_or_medium(tmp_path):
    digests = {
        stored(location, ResultLayout((300, 260), 0.5, shard=shard), order=order).result().digest()
        for location, shard, order in [
            (None, 64, 1),
            (None, 64, -1),
            (None, 3072, 1),
            (tmp_path / "a", 128, 1),
        ]
    }
    assert len(digests) == 1


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_the_digest_tells_any_map_apart(layout, changed):
    content = [array.copy() for array in maps(layout)]
    content[changed][-1, -1] += 1
    store = ResultStore.create(None, layout, RECORD)
    write_all(store, content)
    assert store.result().digest() != stored(None, layout).result().digest()


def test_unwritten_shards_are_zero_and_pending(location, layout):
    result = stored(location, layout, only=[(1, 1)]).result()
    image = result.np.compute()
    assert (image[:128] == 0).all()
    assert (image[128:256, 128:] == to_half(maps(layout)[0][128:256, 128:])).all()
    assert result.status.tolist() == [[0, 0], [0, 1], [0, 0]]


def test_status_tells_background_and_failed_shards(location, layout):
    store = ResultStore.create(location, layout, RECORD)
    store.mark(0, 0, ShardStatus.BACKGROUND)
    box, cells = layout.shard_box(0, 1), layout.shard_cells(0, 1)
    ones = np.ones(cells.shape)
    maps = ShardMaps(np.ones(box.shape, np.float32), ones, ones)
    store.write_shard(0, 1, maps, ShardStatus.FAILED)
    assert store.result().status.tolist() == [[2, 3], [0, 0], [0, 0]]
    assert store.status.tolist() == store.result().status.tolist()
    assert store.verify() == {(0, 0)}


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_shard_of_the_wrong_shape_is_refused(layout, wrong):
    box, cells = layout.shard_box(0, 0), layout.shard_cells(0, 0)
    arrays = [np.zeros(box.shape), np.zeros(cells.shape), np.zeros(cells.shape)]
    arrays[wrong] = np.zeros((5, 7))
    with pytest.raises(ValueError, match=r"shard \(0, 0\) must have shape .* got \(5, 7\)"):
        ResultStore.create(None, layout, RECORD).write_shard(0, 0, ShardMaps(*arrays))


def test_nan_is_refused(layout):
    box, cells = layout.shard_box(0, 0), layout.shard_cells(0, 0)
    zeros = np.zeros(cells.shape)
    maps = ShardMaps(np.full(box.shape, np.nan, np.float32), zeros, zeros)
    with pytest.raises(ValueError, match="NaN"):
        ResultStore.create(None, layout, RECORD).write_shard(0, 0, maps)


def test_a_shard_outside_the_grid_is_refused(layout):
    with pytest.raises(ValueError, match=r"0\.\.2, 0\.\.1, got \(3, 0\)"):
        ResultStore.create(None, layout, RECORD).mark(3, 0, ShardStatus.BACKGROUND)


# ---------------------------------------------------------------- OME-Zarr


def test_level_positions_are_pixel_centres_in_um(tmp_path):
    ResultStore.create(tmp_path / "r", ResultLayout((1100, 90), 0.5, (10.0, 20.0)), RECORD)
    ome = json.loads((tmp_path / "r/zarr.json").read_text())["attributes"]["ome"]
    (pyramid,) = ome["multiscales"]
    assert ome["version"] == "0.5"
    assert [axis["unit"] for axis in pyramid["axes"]] == ["micrometer", "micrometer"]
    for k, dataset in enumerate(pyramid["datasets"]):
        scale, translation = dataset["coordinateTransformations"]
        size = 0.5 * 2**k
        assert scale == {"type": "scale", "scale": [size, size]}
        assert translation["translation"] == [10 + size / 2, 20 + size / 2]


def test_ome_zarr_models_accepts_the_store(tmp_path, layout):
    import ome_zarr_models

    stored(tmp_path / "r.ome.zarr", layout)
    group = ome_zarr_models.open_ome_zarr(zarr.open_group(tmp_path / "r.ome.zarr", mode="r"))
    assert group.ome_zarr_version == "0.5"
    assert [d.path for d in group.attributes.ome.multiscales[0].datasets] == ["np/0"]


def test_yaozarrs_accepts_the_store(tmp_path):
    import yaozarrs

    stored(tmp_path / "r.ome.zarr", ResultLayout((1100, 90), 0.5, shard=512))
    yaozarrs.validate_zarr_store(str(tmp_path / "r.ome.zarr"))
    group = yaozarrs.open_group(str(tmp_path / "r.ome.zarr"))
    assert len(group.ome_metadata().multiscales[0].datasets) == 3

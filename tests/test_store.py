"""The result store: layout, writing, journal, reopening."""

import errno
import json
import os

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_damm.store import (
    DiskFull,
    ResultLayout,
    ResultStore,
    ShardStatus,
    halve,
    open_result,
    to_half,
)
from napari_damm.tiling import Box

RECORD = {"model": {"name": "tiny", "sha256": "0" * 64}, "seed": 3, "roi": None, "lanes": [1, 2]}


def maps(layout, seed=0):
    """Random content of a whole result: np, uncertainty, branch."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=layout.shape).astype(np.float32)
    uncertainty = rng.random(layout.cells_shape, np.float32)
    branch = rng.integers(0, 3, layout.cells_shape, np.uint8)
    return image, uncertainty, branch


def write_all(store, content, order=1, only=None):
    image, uncertainty, branch = content
    for row, col, box in list(store.layout.shards())[::order]:
        if only is None or (row, col) in only:
            cells = store.layout.shard_cells(row, col).slices
            store.write_shard(row, col, image[box.slices], uncertainty[cells], branch[cells])


def stored(path, layout, seed=0, **how):
    store = ResultStore.create(path, layout, RECORD)
    write_all(store, maps(layout, seed), **how)
    return store


@pytest.fixture
def layout():
    return ResultLayout((300, 200), 0.5, (10.0, 20.0), shard=128)


@pytest.fixture(params=["disk", "memory"])
def location(request, tmp_path):
    return tmp_path / "r.ome.zarr" if request.param == "disk" else None


# ---------------------------------------------------------------- layout

shapes = st.tuples(st.integers(1, 700), st.integers(1, 700))
offsets = st.tuples(st.integers(0, 31), st.integers(0, 31))
shards = st.sampled_from([64, 128, 192, 320, 3072])


@given(shapes, offsets, shards)
def test_shards_partition_pixels_and_cells_and_every_cell_overlaps_its_shard(shape, offset, shard):
    layout = ResultLayout(shape, 1.0, cells_origin=offset, shard=shard)
    pixels, cells = np.zeros(shape, int), np.zeros(layout.cells_shape, int)
    for row, col, box in layout.shards():
        assert layout.shard_box(row, col) == box
        owned = layout.shard_cells(row, col)
        pixels[box.slices] += 1
        cells[owned.slices] += 1
        seen = box.shifted(*offset).cells()
        assert owned.intersect(seen) == owned
    assert (pixels == 1).all()
    assert (cells == 1).all()


@given(shapes, shards)
def test_levels_halve_and_their_shards_stay_aligned(shape, shard):
    levels = ResultLayout(shape, 1.0, shard=shard).levels
    assert levels[0].shape == shape
    for k, level in enumerate(levels):
        assert level.path == f"np/{k}"
        assert level.factor == 2**k
        assert level.shape == tuple(-(-side // 2**k) for side in shape)
        for axis in (0, 1):
            assert level.shard[axis] * level.factor == levels[0].shard[axis]
            assert level.shard[axis] % level.chunk[axis] == 0
            assert level.chunk[axis] <= 512
    assert max(levels[-1].shape) <= 512 or len(levels) == 5


def test_a_large_slide_has_the_designed_shards_and_chunks():
    levels = ResultLayout((100_000, 90_000), 0.5).levels
    assert [level.shard[0] for level in levels] == [3072, 1536, 768, 384, 192]
    assert [level.chunk[0] for level in levels] == [512, 512, 384, 384, 192]


def test_a_small_slide_does_not_allocate_a_large_shard():
    assert ResultLayout((100, 1030), 1.0).levels[0].shard == (128, 1536)


def test_a_region_keeps_its_place_in_the_world_and_on_the_cells_of_the_slide():
    layout = ResultLayout.for_region(Box(70, 32, 170, 232), 0.5, (100.0, 200.0), shard=64)
    assert layout.shape == (100, 200)
    assert layout.origin == (135.0, 216.0)
    assert layout.cells_origin == (6, 0)
    assert layout.cells_origin_um == (132.0, 216.0)
    assert layout.cells_shape == Box(70, 32, 170, 232).cells().shape


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"shape": (0, 3)}, "shape"),
        ({"pixel_size_um": 0.0}, "pixel size.*0.0"),
        ({"pixel_size_um": float("nan")}, "pixel size.*nan"),
        ({"cells_origin": (32, 0)}, "cells_origin.*32"),
        ({"shard": 100}, "shard.*100"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_by_name(values, named):
    with pytest.raises(ValueError, match=named):
        ResultLayout(**({"shape": (10, 10), "pixel_size_um": 1.0} | values))


@given(shapes.filter(lambda s: min(s) > 0))
def test_halving_averages_what_is_there(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    half = halve(image)
    assert half.shape == (-(-shape[0] // 2), -(-shape[1] // 2))
    assert half.dtype == np.float32
    for y, x in [(0, 0), (half.shape[0] - 1, half.shape[1] - 1)]:
        window = image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
        np.testing.assert_allclose(half[y, x], window.mean(), atol=1e-6)


def test_halves_are_finite_and_have_no_negative_zero():
    half = to_half(np.array([[1e9, -np.inf, -1e-12, 0.5]], np.float32))
    np.testing.assert_array_equal(half, [[65504, -65504, 0, 0.5]])
    assert not np.signbit(half[0, 2])


# ---------------------------------------------------------------- writing and reading


@settings(deadline=None, max_examples=15)
@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    offsets,
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
    assert result.np.dtype == np.float16
    assert result.uncertainty.dtype == np.float16
    assert result.branch.dtype == np.uint8
    assert result.digest() == store.result().digest()


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
    store.write_shard(0, 1, np.ones(box.shape, np.float32), ones, ones, ShardStatus.FAILED)
    assert store.result().status.tolist() == [[2, 3], [0, 0], [0, 0]]
    assert store.status.tolist() == store.result().status.tolist()
    assert store.verify() == {(0, 0)}


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_shard_of_the_wrong_shape_is_refused(layout, wrong):
    box, cells = layout.shard_box(0, 0), layout.shard_cells(0, 0)
    arrays = [np.zeros(box.shape), np.zeros(cells.shape), np.zeros(cells.shape)]
    arrays[wrong] = np.zeros((5, 7))
    with pytest.raises(ValueError, match=r"shard \(0, 0\) must have shape .* got \(5, 7\)"):
        ResultStore.create(None, layout, RECORD).write_shard(0, 0, *arrays)


def test_nan_is_refused(layout):
    box, cells = layout.shard_box(0, 0), layout.shard_cells(0, 0)
    zeros = np.zeros(cells.shape)
    with pytest.raises(ValueError, match="NaN"):
        ResultStore.create(None, layout, RECORD).write_shard(
            0, 0, np.full(box.shape, np.nan, np.float32), zeros, zeros
        )


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


# ---------------------------------------------------------------- durability


def journal(path):
    return [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]


def test_every_shard_is_journalled_after_its_files_with_their_hashes(tmp_path, layout):
    path = tmp_path / "r.ome.zarr"
    stored(path, layout)
    entries = journal(path)
    assert [entry["shard"] for entry in entries] == [[r, c] for r, c, _ in layout.shards()]
    named = {name for entry in entries for name in entry["files"]}
    on_disk = {str(p.relative_to(path)) for p in path.rglob("c/*/*") if "status" not in p.parts}
    assert on_disk == named


def test_a_shard_is_synced_before_its_journal_line_and_the_line_after(
    tmp_path, layout, monkeypatch
):
    path = tmp_path / "r.ome.zarr"
    store = ResultStore.create(path, layout, RECORD)
    synced = []

    def note(handle):
        synced.append(os.fstat(handle).st_ino)

    monkeypatch.setattr("napari_damm.store.durable.os.fsync", note)
    write_all(store, maps(layout), only=[(1, 0)])
    last = synced.index((path / "journal.jsonl").stat().st_ino)
    folders = ["np/0/c/1", "np/0/c", "np/0", "branch/c/1"] if os.name == "posix" else []
    for name in [*journal(path)[0]["files"], *folders]:
        assert synced.index((path / name).stat().st_ino) < last


def test_all_zero_shards_have_no_file_and_still_verify(tmp_path, layout):
    path = tmp_path / "r.ome.zarr"
    store = ResultStore.create(path, layout, RECORD)
    box, cells = layout.shard_box(0, 0), layout.shard_cells(0, 0)
    store.write_shard(
        0, 0, np.zeros(box.shape, np.float32), np.zeros(cells.shape), np.zeros(cells.shape)
    )
    assert set(journal(path)[0]["files"].values()) == {None}
    assert not (path / "np/0/c").exists()
    assert store.verify() == {(0, 0)}


@pytest.mark.parametrize("level", ["np/0", "np/1", "uncertainty", "branch"])
@pytest.mark.parametrize("damage", ["flip", "empty", "missing"])
def test_verify_leaves_out_a_damaged_shard(tmp_path, level, damage):
    layout = ResultLayout((300, 600), 0.5, shard=128)
    store = stored(tmp_path / "r", layout)
    everything = {(row, col) for row, col, _ in layout.shards()}
    assert store.verify() == everything
    file = tmp_path / "r" / level / "c/1/0"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flip" else b"")
    assert store.verify() == everything - {(1, 0)}


def test_a_flipped_bit_is_an_error_to_read_not_a_wrong_number(tmp_path):
    layout = ResultLayout((128, 128), 0.5, shard=128)
    store = stored(tmp_path / "r", layout)
    file = tmp_path / "r/np/0/c/0/0"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(Exception, match=r"(?i)zstd|checksum|corrupt"):
        store.result().np.compute()


def test_a_torn_journal_line_does_not_count_and_does_not_spoil_the_next(tmp_path, layout):
    path = tmp_path / "r"
    store = stored(path, layout, only=[(0, 0), (1, 0)])
    whole = (path / "journal.jsonl").read_bytes()
    (path / "journal.jsonl").write_bytes(whole[:-20])
    assert store.verify() == {(0, 0)}
    write_all(store, maps(layout), only=[(2, 0)])
    assert store.verify() == {(0, 0), (2, 0)}


def test_the_last_word_on_a_shard_counts(tmp_path, layout):
    store = stored(tmp_path / "r", layout, only=[(0, 0)])
    store.mark(0, 0, ShardStatus.FAILED)
    assert store.verify() == set()
    write_all(store, maps(layout, seed=9), only=[(0, 0)])
    assert store.verify() == {(0, 0)}


def test_finishing_replaces_the_record_and_keeps_the_rest(location, layout):
    store = stored(location, layout)
    before = store.result()
    store.finish({"seconds": 2.0, "seed": 4})
    after = store.result()
    assert after.record == RECORD | {"seconds": 2.0, "seed": 4}
    assert after.digest() == before.digest()
    assert after.layout == layout


# ---------------------------------------------------------------- refusals


def one_line(error):
    return "\n" not in str(error.value)


def test_an_existing_path_is_never_overwritten(tmp_path, layout):
    (tmp_path / "r").mkdir()
    with pytest.raises(FileExistsError, match=r"exists already: choose another --out") as error:
        ResultStore.create(tmp_path / "r", layout, RECORD)
    assert one_line(error)
    assert list((tmp_path / "r").iterdir()) == []


def test_a_missing_folder_is_named(tmp_path, layout):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist") as error:
        ResultStore.create(tmp_path / "nowhere/r", layout, RECORD)
    assert one_line(error)
    assert not (tmp_path / "nowhere").exists()


def test_a_record_that_is_not_json_leaves_nothing_behind(tmp_path, layout):
    with pytest.raises(TypeError):
        ResultStore.create(tmp_path / "r", layout, {"model": object()})
    assert list(tmp_path.iterdir()) == []


def test_discard_removes_what_create_made(tmp_path, layout):
    ResultStore.create(tmp_path / "r", layout, RECORD).discard()
    assert list(tmp_path.iterdir()) == []
    ResultStore.create(None, layout, RECORD).discard()


def test_opening_nothing_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_result(tmp_path / "r")


@pytest.mark.parametrize("what", ["folder", "file", "foreign", "garbage"])
def test_opening_something_else_is_refused_in_one_sentence(tmp_path, what):
    path = tmp_path / "r"
    if what == "file":
        path.write_text("hello")
    elif what == "foreign":
        zarr.create_group(path)
    else:
        path.mkdir()
    if what == "garbage":
        (path / "zarr.json").write_text("{")
    with pytest.raises(ValueError, match="is not a napari-damm result") as error:
        open_result(path)
    assert one_line(error)


def test_opening_a_store_without_its_arrays_says_it_is_damaged(tmp_path, layout):
    ResultStore.create(tmp_path / "r", layout, RECORD)
    (tmp_path / "r/branch/zarr.json").unlink()
    with pytest.raises(ValueError, match="is damaged"):
        open_result(tmp_path / "r")


def test_opening_a_newer_format_is_refused(tmp_path, layout):
    ResultStore.create(tmp_path / "r", layout, RECORD)
    file = tmp_path / "r/zarr.json"
    metadata = json.loads(file.read_text())
    metadata["attributes"]["napari_damm_store"]["format"] = 99
    file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="format 99"):
        open_result(tmp_path / "r")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_full_disk_is_one_error_in_one_sentence(tmp_path, layout, monkeypatch, code):
    store = stored(tmp_path / "r", layout, only=[(0, 0)])

    def full(handle):
        raise OSError(code, "no")

    with monkeypatch.context() as patched:
        patched.setattr("napari_damm.store.durable.os.fsync", full)
        with pytest.raises(DiskFull, match=r"disk is full: shard \(1, 0\).*start again") as error:
            write_all(store, maps(layout), only=[(1, 0)])
    assert one_line(error)
    assert error.value.errno == code
    assert store.verify() == {(0, 0)}
    assert store.status[1, 0] == ShardStatus.PENDING
    write_all(store, maps(layout), only=[(1, 0)])
    assert store.verify() == {(0, 0), (1, 0)}


def test_other_disk_errors_are_not_called_full(tmp_path, layout, monkeypatch):
    store = ResultStore.create(tmp_path / "r", layout, RECORD)

    def broken(handle):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("napari_damm.store.durable.os.fsync", broken)
    with pytest.raises(OSError, match="broken") as error:
        write_all(store, maps(layout))
    assert not isinstance(error.value, DiskFull)


def test_a_real_file_size_limit_is_a_full_disk_and_leaves_no_torn_shard(tmp_path, layout):
    resource = pytest.importorskip("resource")
    store = ResultStore.create(tmp_path / "r", layout, RECORD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(DiskFull):
            write_all(store, maps(layout), only=[(0, 0)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.verify() == set()
    assert (open_result(tmp_path / "r").np.compute() == 0).all()


def test_a_full_disk_at_the_start_leaves_nothing_behind(tmp_path, layout, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "no")

    monkeypatch.setattr("napari_damm.store.durable.os.fsync", full)
    with pytest.raises(DiskFull, match="choose another --out"):
        ResultStore.create(tmp_path / "r", layout, RECORD)
    assert list(tmp_path.iterdir()) == []

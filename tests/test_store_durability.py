"""The result store under damage, refusals and full disks."""

import errno
import json
import os

import numpy as np
import pytest
import zarr
from stores import RECORD, maps, stored, write_all

from napari_damm.store import (
    DiskFull,
    ResultLayout,
    ResultStore,
    ShardMaps,
    ShardStatus,
    open_result,
)


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

    monkeypatch.setattr("napari_damm.util.files.os.fsync", note)
    write_all(store, maps(layout), only=[(1, 0)])
    last = synced.index((path / "journal.jsonl").stat().st_ino)
    folders = ["np/0/c/1", "np/0/c", "np/0", "branch/c/1"] if os.name == "posix" else []
    for name in [*journal(path)[0]["files"], *folders]:
        assert synced.index((path / name).stat().st_ino) < last


def test_all_zero_shards_have_no_file_and_still_verify(tmp_path, layout):
    path = tmp_path / "r.ome.zarr"
    store = ResultStore.create(path, layout, RECORD)
    box, cells = layout.shard_box(0, 0), layout.shard_cells(0, 0)
    nothing = np.zeros(cells.shape)
    store.write_shard(0, 0, ShardMaps(np.zeros(box.shape, np.float32), nothing, nothing))
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
    with pytest.raises(
        FileExistsError,
        match=r"already exists: continue it with resume=True, remove it or choose another name$",
    ) as error:
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
        patched.setattr("napari_damm.util.files.os.fsync", full)
        with pytest.raises(DiskFull, match=r"full, shard \(1, 0\).*with resume=True") as error:
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

    monkeypatch.setattr("napari_damm.util.files.os.fsync", broken)
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

    monkeypatch.setattr("napari_damm.util.files.os.fsync", full)
    with pytest.raises(DiskFull, match="choose another store"):
        ResultStore.create(tmp_path / "r", layout, RECORD)
    assert list(tmp_path.iterdir()) == []

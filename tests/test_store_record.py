"""What a run notes beside its maps: marks, windows, the job record, how far it is."""

import errno
import json
import os

import numpy as np
import pytest
from stores import RECORD, everything, maps, write_all

from napari_damm.store import DiskFull, ResultLayout, ResultStore, ShardStatus, open_result

LAYOUT = ResultLayout((250, 600), 0.5, (10.0, 20.0), (10, 7), shard=128)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "r.ome.zarr"


def test_the_record_is_handed_out_as_a_copy(path):
    with ResultStore.create(path, LAYOUT, RECORD) as store:
        store.record["model"]["name"] = "other"
        assert store.record == RECORD


def test_many_marks_cost_one_sync_of_the_journal_and_one_status(path, monkeypatch):
    layout = ResultLayout((64 * 20, 64 * 20), 0.5, shard=64)
    store = ResultStore.create(path, layout, RECORD)
    synced, written = [], []
    real = os.fsync
    status_of = type(store.arrays.status).__setitem__

    def note(handle):
        synced.append(os.fstat(handle).st_ino)
        real(handle)

    def count(array, where, values):
        written.append(array.path)
        status_of(array, where, values)

    monkeypatch.setattr("napari_damm.util.files.os.fsync", note)
    monkeypatch.setattr(type(store.arrays.status), "__setitem__", count)
    store.mark_many(np.argwhere(np.ones(layout.grid)), ShardStatus.BACKGROUND)
    assert synced.count((path / "journal.jsonl").stat().st_ino) == 1
    assert written == ["status"]
    store.close()
    with ResultStore.reopen(path) as store:
        assert store.settled() == everything(layout)


def test_marking_no_shards_writes_nothing(path):
    with ResultStore.create(path, LAYOUT, RECORD) as store:
        store.mark_many([], ShardStatus.BACKGROUND)
    assert not (path / "journal.jsonl").exists()


def test_a_mark_outside_the_grid_commits_none_of_its_company(path):
    with ResultStore.create(path, LAYOUT, RECORD) as store:
        with pytest.raises(ValueError, match=r"got \(9, 9\)"):
            store.mark_many([(0, 0), (9, 9)], ShardStatus.BACKGROUND)
        assert store.settled() == set()
    assert not (path / "journal.jsonl").exists()


def test_the_journal_tells_how_many_windows_a_shard_took(path):
    with ResultStore.create(path, LAYOUT, RECORD) as store:
        store.commit(0, 0, ShardStatus.FAILED, {}, windows=7)
        store.mark(0, 1, ShardStatus.BACKGROUND)
    lines = (path / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["windows"] for line in lines] == [7, 0]


@pytest.mark.parametrize("disk", [True, False])
def test_the_record_is_merged_as_often_as_needed(path, disk):
    with ResultStore.create(path if disk else None, LAYOUT, RECORD) as store:
        store.update_record({"resumed": ["today"]})
        store.update_record({"seed": 4})
        store.finish({"finished": "now"})
        merged = RECORD | {"resumed": ["today"], "seed": 4, "finished": "now"}
        assert store.record == store.result().record == merged
    if disk:
        assert open_result(path).record == merged
        with ResultStore.reopen(path) as store:
            assert store.record == merged
            assert store.layout == LAYOUT


def test_the_record_is_synced_before_it_takes_its_name_and_the_folder_after(path, monkeypatch):
    store = ResultStore.create(path, LAYOUT, RECORD)
    synced = []
    monkeypatch.setattr(
        "napari_damm.util.files.os.fsync",
        lambda handle: synced.append((os.fstat(handle).st_ino, store_names(path))),
    )
    store.update_record({"seed": 4})
    new = (path / "zarr.json").stat().st_ino
    (file, names), *folders = synced
    assert file == new
    assert any(name.endswith(".partial") for name in names)
    if os.name == "posix":
        assert [inode for inode, _ in folders] == [path.stat().st_ino]


def store_names(path):
    return [file.name for file in path.iterdir()]


def test_a_full_disk_leaves_the_old_record_and_no_litter(path, monkeypatch):
    store = ResultStore.create(path, LAYOUT, RECORD)

    def full(handle):
        raise OSError(errno.ENOSPC, "no")

    with monkeypatch.context() as patched:
        patched.setattr("napari_damm.util.files.os.fsync", full)
        with pytest.raises(DiskFull, match=r"job record .* run again with resume=True"):
            store.update_record({"seed": 4})
    assert store.record == RECORD == open_result(path).record
    assert not list(path.rglob("*.partial"))
    store.update_record({"seed": 4})
    assert open_result(path).record["seed"] == 4


def test_an_unfinished_result_opens_and_says_how_far_it_is(path):
    with ResultStore.create(path, LAYOUT, RECORD | {"finished": None}) as store:
        write_all(store, maps(LAYOUT), only=[(0, 0), (0, 1)])
        store.mark(1, 0, ShardStatus.BACKGROUND)
        store.mark(1, 1, ShardStatus.FAILED)
        result = open_result(path)
        assert (result.complete, result.shards_done, result.shards) == (False, 4, 10)
        assert result.np[:128, :256].compute().all()
        store.finish({"finished": "now"})
    assert open_result(path).complete

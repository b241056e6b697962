"""Shards written by other processes and threads, committed by one coordinator."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import zarr
from stores import RECORD, everything, maps, python, shard_maps, stored

from napari_damm.store import (
    DiskFull,
    ResultLayout,
    ResultStore,
    ShardStatus,
    ShardWriter,
    open_result,
)

LAYOUT = ResultLayout((250, 600), 0.5, (10.0, 20.0), (10, 7), shard=128, with_std=True)

# Writes every second shard, beginning when told; prints what the coordinator needs.
WORKER = """
import json, sys
from stores import maps, shard_maps
from napari_damm.store import ShardWriter

writer, mine = ShardWriter.open(sys.argv[1]), int(sys.argv[2])
content = maps(writer.layout)
print("ready", flush=True)
sys.stdin.readline()
for row, col, _ in list(writer.layout.shards())[mine::2]:
    files = writer.write(row, col, shard_maps(writer.layout, row, col, content))
    print(json.dumps([row, col, files]), flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "r.ome.zarr"


def write(writer, row, col):
    return writer.write(row, col, shard_maps(writer.layout, row, col, maps(writer.layout)))


def test_two_processes_write_different_shards_at_once_and_one_coordinator_commits(path):
    with ResultStore.create(path, LAYOUT, RECORD) as store:
        workers = [python(WORKER, path, mine) for mine in (0, 1)]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n", worker.stderr.read()
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        for worker in workers:
            said, complaint = worker.communicate()
            assert worker.returncode == 0, complaint
            for row, col, files in map(json.loads, said.splitlines()):
                store.commit(row, col, ShardStatus.DONE, files, windows=4)
        assert store.settled() == everything(LAYOUT) == store.verify()
    with ResultStore.reopen(path) as store:
        assert store.settled() == everything(LAYOUT)
    assert open_result(path).digest() == stored(None, LAYOUT).result().digest()


def test_threads_write_different_shards_through_one_writer(path):
    with ResultStore.create(path, LAYOUT, RECORD) as store, ThreadPoolExecutor(4) as pool:
        writer = ShardWriter.open(path)
        shards = sorted(everything(LAYOUT))
        for shard, files in zip(shards, pool.map(lambda s: write(writer, *s), shards), strict=True):
            store.commit(*shard, ShardStatus.DONE, files)
        assert store.verify() == everything(LAYOUT)
    assert open_result(path).digest() == stored(None, LAYOUT).result().digest()


def test_a_writer_knows_neither_journal_nor_status_nor_lock(path):
    with ResultStore.create(path, LAYOUT, RECORD):
        before = {file for file in path.rglob("*") if file.is_file()}
        writer = ShardWriter.open(str(path))
        assert (writer.layout, writer.path) == (LAYOUT, path)
        files = write(writer, 1, 2)
        after = {file for file in path.rglob("*") if file.is_file()}
        assert after - before == {path / name for name in files}
        assert open_result(path).shards_done == 0


def test_a_writer_in_memory_has_no_files():
    store = ResultStore.create(None, LAYOUT, RECORD)
    assert write(store.writer, 0, 0) == {}
    store.commit(0, 0, ShardStatus.DONE, {})
    assert store.settled() == {(0, 0)}


def test_a_writer_opens_results_of_ours_only(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ShardWriter.open(tmp_path / "r")
    zarr.create_group(tmp_path / "foreign")
    with pytest.raises(ValueError, match="is not a napari-damm result"):
        ShardWriter.open(tmp_path / "foreign")


def test_a_full_disk_is_told_across_processes():
    full = DiskFull("disk is full: shard (0, 0)")
    again = pickle.loads(pickle.dumps(full))
    assert type(again) is DiskFull
    assert str(again) == str(full)

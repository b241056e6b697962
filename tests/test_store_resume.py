"""Reopening a result store after a kill, damage or a full disk."""

import json
import os
import signal
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import RECORD, everything, maps, python, resumed, shard_maps, stored, write_all

from napari_damm.store import ResultLayout, ResultStore, ShardMaps, ShardStatus, open_result

# Two levels; shards cut short by the edge; one row of cells more than the shards span; a spread.
LAYOUT = ResultLayout((250, 600), 0.5, (10.0, 20.0), (10, 7), shard=128, with_std=True)

# A run that kills itself at a given call of a function, as a power switch would.
KILLED = """
import os, signal, sys
from pathlib import Path
from stores import maps, write_all
from napari_damm.store import ResultStore
from napari_damm.store.journal import Journal

where, nth, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
store = ResultStore.reopen(path)
owner, name = {"rename": (Path, "replace"), "journal": (Journal, "append")}[where.split()[-1]]
real, calls = getattr(owner, name), []

def fatal(*arguments):
    calls.append(1)
    if where.startswith("after"):
        real(*arguments)
    if len(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return None if where.startswith("after") else real(*arguments)

setattr(owner, name, fatal)
write_all(store, maps(store.layout))
"""

LIMITED = """
import resource, sys
from stores import maps, write_all
from napari_damm.store import DiskFull, ResultStore

store = ResultStore.reopen(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
try:
    write_all(store, maps(store.layout))
except DiskFull as error:
    print(error)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "r.ome.zarr"


def begun(path, **how):
    stored(path, LAYOUT, **how).close()
    return path


@cache
def whole():
    """The digest of a run that nothing befell."""
    return stored(None, LAYOUT).result().digest()


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "truncated": lambda file: os.truncate(file, file.stat().st_size // 2),
    "emptied": lambda file: os.truncate(file, 0),
    "flipped": flip,
    "deleted": lambda file: file.unlink(),
}


def test_reopening_restores_layout_record_and_status(path):
    store = stored(path, LAYOUT, only=[(0, 0), (1, 2)])
    store.mark(0, 1, ShardStatus.BACKGROUND)
    store.mark(0, 2, ShardStatus.FAILED)
    store.close()
    with ResultStore.reopen(str(path)) as store:
        assert store.layout == LAYOUT
        assert store.record == RECORD
        assert store.path == path
        assert store.settled() == {(0, 0), (1, 2), (0, 1)} == store.verify()
        assert store.status[0, 1] == ShardStatus.BACKGROUND
        assert store.status[0, 2] == ShardStatus.PENDING
        assert open_result(path).status.tolist() == store.status.tolist()


@settings(deadline=None, max_examples=8)
@given(data=st.data())
def test_any_interrupted_and_damaged_store_ends_like_one_that_nothing_befell(
    tmp_path_factory, data
):
    path = tmp_path_factory.mktemp("any") / "r"
    shards = sorted(everything(LAYOUT))
    done = data.draw(st.sets(st.sampled_from(shards)), "done")
    store = stored(path, LAYOUT, only=done)
    for row, col in data.draw(st.sets(st.sampled_from(shards)), "written but not committed"):
        if (row, col) not in done:
            half = shard_maps(LAYOUT, row, col, maps(LAYOUT, seed=5))
            store.writer.write(row, col, half)
    store.close()
    files = sorted(path.rglob("c/*/*"))
    harmed = data.draw(st.sets(st.sampled_from(files), max_size=4), "harmed") if files else set()
    for file in harmed:
        DAMAGES[data.draw(st.sampled_from(sorted(DAMAGES)), "how")](file)
    assert resumed(path, maps(LAYOUT)).digest() == whole()
    assert open_result(path).shards_done == len(shards)


@pytest.mark.parametrize("name", ["np/0", "np/1", "np_std/0", "np_std/1", "uncertainty", "branch"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_harmed_shard_is_pending_and_stands_in_nobodys_way(path, name, damage):
    # The corner shard is smaller than its file holds: zarr merges into what is there.
    corner = LAYOUT.grid[0] - 1, LAYOUT.grid[1] - 1
    begun(path)
    DAMAGES[damage](path / f"{name}/c/{corner[0]}/{corner[1]}")
    with ResultStore.reopen(path) as store:
        assert store.settled() == everything(LAYOUT) - {corner}
        assert (store.result().np.compute()[LAYOUT.shard_box(*corner).slices] == 0).all()
        write_all(store, maps(LAYOUT), only=[corner])
        assert store.result().digest() == whole()


def test_a_shard_without_its_journal_line_is_pending_and_reads_as_zero(path):
    begun(path, only=[(0, 0), (0, 1)])
    lines = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (path / "journal.jsonl").write_bytes(lines[0])
    with ResultStore.reopen(path) as store:
        assert store.settled() == {(0, 0)}
        assert (store.result().np.compute()[LAYOUT.shard_box(0, 1).slices] == 0).all()


def test_what_a_failed_shard_has_stays_until_it_is_written_anew(path):
    store = ResultStore.create(path, LAYOUT, RECORD)
    box, cells = LAYOUT.shard_box(0, 0), LAYOUT.shard_cells(0, 0)
    ones = np.ones(cells.shape)
    image = np.ones(box.shape, np.float32)
    store.write_shard(0, 0, ShardMaps(image, ones, ones, image), ShardStatus.FAILED)
    store.close()
    with ResultStore.reopen(path) as store:
        assert store.status[0, 0] == ShardStatus.PENDING
        assert (store.result().np.compute()[box.slices] == 1).all()
    assert resumed(path, maps(LAYOUT)).digest() == whole()


@pytest.mark.parametrize("status", ["older", "newer", *DAMAGES])
def test_the_journal_decides_not_the_status_array(path, status):
    store = stored(path, LAYOUT, only=[(0, 0), (1, 0)])
    file = path / "status/c/0/0"
    if status == "newer":
        store.arrays.status[:] = ShardStatus.DONE
    elif status == "older":
        store.arrays.status[:] = ShardStatus.PENDING
    else:
        DAMAGES[status](file)
    store.close()
    with ResultStore.reopen(path) as store:
        assert store.settled() == {(0, 0), (1, 0)}
    assert np.argwhere(open_result(path).status).tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    "tail",
    [b"", b"\0" * 50, b'{"shard": [2, 0], "st', b"\xff\xfe", b"17\n"],
    ids=["clean", "zeros", "half a line", "not text", "a number"],
)
def test_a_torn_journal_is_believed_up_to_the_tear_and_goes_on_after_it(path, tail):
    begun(path, only=[(0, 0), (1, 0)])
    with (path / "journal.jsonl").open("ab") as file:
        file.write(tail)
    with ResultStore.reopen(path) as store:
        assert store.settled() == {(0, 0), (1, 0)}
        write_all(store, maps(LAYOUT), only=[(1, 1)])
        store.mark(1, 2, ShardStatus.BACKGROUND)
        assert store.verify() == {(0, 0), (1, 0), (1, 1), (1, 2)}


@pytest.mark.parametrize("shard", [[99, 0], [-1, 0], [0], "00", None, ["a", "b"]])
def test_a_journal_line_about_no_shard_is_no_entry(path, shard):
    begun(path, only=[(0, 0)])
    with (path / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"shard": shard, "status": 1, "files": {}}) + "\n")
    with ResultStore.reopen(path) as store:
        assert store.settled() == {(0, 0)}


def test_a_done_shard_that_names_no_files_is_not_believed(path):
    with ResultStore.create(path, LAYOUT, RECORD) as store:
        store.writer.write(0, 0, shard_maps(LAYOUT, 0, 0, maps(LAYOUT)))
        store.commit(0, 0, ShardStatus.DONE, {})
        assert store.verify() == set()


def test_only_temporary_files_are_swept(path):
    begun(path)
    temporary = [
        path / f"np/0/c/0/0.{'0a' * 16}.partial",
        path / f"zarr.{'f' * 32}.partial",
    ]
    kept = [path / "np/0/c/0/mine.partial", path / "notes.txt"]
    for file in [*temporary, *kept]:
        file.write_bytes(b"x")
    ResultStore.reopen(path).close()
    assert not any(file.exists() for file in temporary)
    assert all(file.exists() for file in kept)


# ---------------------------------------------------------------- real kills and limits


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("where", "nth", "settled"),
    [("before rename", 1, 0), ("before rename", 9, 1), ("before journal", 2, 1),
     ("after journal", 2, 2)],
)  # fmt: skip
def test_a_run_that_is_killed_is_continued_to_the_same_result(path, where, nth, settled):
    ResultStore.create(path, LAYOUT, RECORD).close()
    run = python(KILLED, where, nth, path)
    _, complaint = run.communicate()
    assert run.returncode == -signal.SIGKILL, complaint
    # zarr's temporary names are as the sweep expects them.
    assert bool(list(path.rglob("*.partial"))) == (where == "before rename")
    with ResultStore.reopen(path) as store:
        assert len(store.settled()) == settled
        assert not list(path.rglob("*.partial"))
    assert resumed(path, maps(LAYOUT)).digest() == whole()


@pytest.mark.skipif(os.name != "posix", reason="needs RLIMIT_FSIZE")
def test_a_run_that_meets_a_full_disk_is_continued_once_there_is_room(path):
    ResultStore.create(path, LAYOUT, RECORD).close()
    run = python(LIMITED, path)
    said, complaint = run.communicate()
    assert run.returncode == 0, complaint
    assert said.startswith("disk is full, shard (0, 0) could not be written")
    assert said.count("\n") == 1
    assert resumed(path, maps(LAYOUT)).digest() == whole()

"""One writer per store: who is refused, and that no dead process holds a lock."""

import json
import os
import platform

import pytest
import zarr
from stores import RECORD, everything, maps, python, stored, write_all

from napari_damm.store import ResultStore, ShardStatus, StoreLocked, open_result

HOLD = """
import sys
from napari_damm.store import ResultStore
store = ResultStore.reopen(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path, layout):
    """A closed store with one shard."""
    stored(tmp_path / "r.ome.zarr", layout, only=[(0, 0)]).close()
    return tmp_path / "r.ome.zarr"


def test_a_second_writer_in_the_same_process_is_refused_until_the_first_closes(path):
    with ResultStore.reopen(path):
        with pytest.raises(StoreLocked) as error:
            ResultStore.reopen(path)
        assert str(error.value) == (
            f"{path} is being written by another run (process {os.getpid()} on "
            f"{platform.node()}): wait for it, or choose another store"
        )
    ResultStore.reopen(path).close()


def test_the_creator_holds_the_lock(tmp_path, layout):
    store = ResultStore.create(tmp_path / "r", layout, RECORD)
    with pytest.raises(StoreLocked):
        ResultStore.reopen(tmp_path / "r")
    store.close()
    ResultStore.reopen(tmp_path / "r").close()


def times(path):
    return {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.name != "writer.lock"}


def test_a_refused_writer_changes_nothing(path):
    with ResultStore.reopen(path) as store:
        (path / "np/0/c/0/0").rename(path / "aside")  # what a recovery would act upon
        before = times(path)
        with pytest.raises(StoreLocked):
            ResultStore.reopen(path)
        assert times(path) == before
        assert store.status[0, 0] == ShardStatus.DONE


def test_another_process_is_named_and_its_lock_is_free_once_it_is_killed(path):
    holder = python(HOLD, path)
    try:
        assert holder.stdout.readline() == "held\n", holder.stderr.read()
        with pytest.raises(StoreLocked, match=rf"\(process {holder.pid} on .*\): wait for it"):
            ResultStore.reopen(path)
    finally:
        holder.kill()
        holder.communicate()
    with ResultStore.reopen(path) as store:
        assert store.settled() == {(0, 0)}


def test_lock_files_that_lie_around_mean_nothing(path):
    (path / "writer.lock").write_bytes(b"old")
    (path / "writer.json").write_text(json.dumps({"process": 1, "host": "gone"}))
    ResultStore.reopen(path).close()
    assert not (path / "writer.json").exists()


@pytest.mark.parametrize("name", ["", "{", "[]", '{"process": "x", "host": 1}'])
def test_a_holder_without_a_readable_name_is_still_a_holder(path, name):
    with ResultStore.reopen(path):
        (path / "writer.json").write_text(name)
        with pytest.raises(StoreLocked, match="by another run: wait for it"):
            ResultStore.reopen(path)


def test_reading_needs_no_lock(path, layout):
    with ResultStore.reopen(path) as store:
        assert open_result(path).digest() == store.result().digest()
    assert store.result().digest() == open_result(path).digest()


def test_closing_twice_is_closing_once_and_releases_nobody_elses_lock(path):
    first = ResultStore.reopen(path)
    first.close()
    with ResultStore.reopen(path):
        first.close()
        with pytest.raises(StoreLocked):
            ResultStore.reopen(path)


def test_a_closed_store_takes_no_more(path, layout):
    store = ResultStore.reopen(path)
    store.close()
    before = (path / "journal.jsonl").read_bytes()
    for write in (
        lambda: store.mark(1, 0, ShardStatus.BACKGROUND),
        lambda: write_all(store, maps(layout)),
        lambda: store.update_record({"seed": 9}),
    ):
        with pytest.raises(ValueError, match="is closed"):
            write()
    assert (path / "journal.jsonl").read_bytes() == before
    assert open_result(path).record == RECORD


def test_in_memory_there_is_nothing_to_lock(layout):
    with ResultStore.create(None, layout, RECORD) as store:
        write_all(store, maps(layout))
    store.close()
    assert store.settled() == everything(layout)
    assert store.result().np.compute().any()


def test_discarding_lets_the_same_place_be_used_at_once(tmp_path, layout):
    ResultStore.create(tmp_path / "r", layout, RECORD).discard()
    ResultStore.create(tmp_path / "r", layout, RECORD).close()


def test_a_failed_recovery_gives_the_lock_back(path, monkeypatch):
    def broken(root):
        raise OSError("broken")

    with monkeypatch.context() as patched:
        patched.setattr("napari_damm.store.writing.sweep", broken)
        with pytest.raises(OSError, match="broken"):
            ResultStore.reopen(path)
    ResultStore.reopen(path).close()


def test_nothing_is_put_into_a_folder_that_is_not_ours(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        ResultStore.reopen(tmp_path / "r")
    zarr.create_group(tmp_path / "foreign")
    before = list((tmp_path / "foreign").iterdir())
    with pytest.raises(ValueError, match="is not a napari-damm result"):
        ResultStore.reopen(tmp_path / "foreign")
    assert list((tmp_path / "foreign").iterdir()) == before
    assert not (tmp_path / "r").exists()


@pytest.mark.filterwarnings("ignore:Object at .* is not recognized")
@pytest.mark.parametrize("held", [True, False])
def test_readers_of_ome_zarr_do_not_mind_the_lock(path, held):
    import ome_zarr_models
    import yaozarrs

    store = ResultStore.reopen(path)
    assert (path / "writer.lock").exists()
    if not held:
        store.close()
        (path / "writer.lock").touch()
    yaozarrs.validate_zarr_store(str(path))
    group = ome_zarr_models.open_ome_zarr(zarr.open_group(path, mode="r"))
    assert group.ome_zarr_version == "0.5"
    assert set(zarr.open_group(path, mode="r").array_keys()) == {"uncertainty", "branch", "status"}
    store.close()

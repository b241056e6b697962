"""Being killed at any moment, damage, and going on: the same result, nothing computed twice."""

from __future__ import annotations

import hashlib
import shutil

import crashing
import jobs
import numpy as np
import pytest
from jobs import assert_steps_add_up, digest, of, run, tiles_computed

from napari_damm.events import Finished, Planned, ShardDone
from napari_damm.store import ResultStore, ShardStatus, open_result

pytestmark = pytest.mark.usefixtures("quick_first_stages")


@pytest.fixture(scope="module")
def whole(folder):
    """The events of a run that nothing befell."""
    return run(folder, folder / "whole.ome.zarr")


@pytest.fixture
def finished(whole, folder, out):
    """A copy of the finished result."""
    shutil.copytree(folder / "whole.ome.zarr", out)
    return out


def settled(path):
    """The shards that a store vouches for."""
    with ResultStore.reopen(path) as store:
        return store.settled()


def hashes(path):
    return {
        file.relative_to(path): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in path.rglob("*")
        if file.is_file()
    }


# (point, which time): early, midway and last where a point comes often
KILLS = [
    ("creation", 3),
    ("denoising step", 3),
    ("shard array", 2),
    ("rename", 20),
    ("fsync", 40),
    ("journal", 3),
    ("journal line", 4),
    ("status", 2),
    ("finish", 1),
]


@pytest.mark.parametrize(("point", "nth"), KILLS)
def test_a_run_killed_at_any_moment_is_continued_to_the_same_result(point, nth, folder, out, whole):
    assert crashing.in_another_process(crashing.crash, point, nth, folder, out, {}) == -9
    before = settled(out) if out.exists() else set()
    events = run(folder, out, resume=True)
    assert digest(events) == digest(whole)
    planned = of(Planned, events)[0]
    assert planned.shards_done == len(before)
    assert tiles_computed(events) == planned.windows - planned.windows_done
    computed = {(e.row, e.col) for e in of(ShardDone, events)}
    assert not computed & before
    assert_steps_add_up(events)
    assert not [file for file in out.parent.rglob("*") if "partial" in file.name]
    assert list(out.parent.iterdir()) == [out]


def test_a_run_killed_twice_counts_its_windows_once(folder, out, whole):
    for point, nth in (("journal", 3), ("status", 4)):
        assert crashing.in_another_process(crashing.crash, point, nth, folder, out, {}) == -9
    record = run(folder, out, resume=True)[-1].result.record
    expected = whole[-1].result.record
    same = ("windows", "background_windows", "multi_modal_windows", "failed", "normalisation")
    assert {key: record[key] for key in same} == {key: expected[key] for key in same}
    assert len(record["resumed"]) == 2
    assert "resumed" not in expected
    assert record["finished"]


def shard_files(path):
    return sorted(file for file in path.glob("np/0/c/*/*") if file.is_file())


def truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flipped(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 4
    file.write_bytes(content)


def deleted(file):
    file.unlink()


def emptied(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncated, flipped, deleted, emptied])
def test_only_the_shards_that_were_damaged_are_computed_again(damage, folder, finished, whole):
    victims = shard_files(finished)[1], finished / "branch/c/1/2"
    for victim in victims:
        damage(victim)
    events = run(folder, finished, resume=True)
    assert {(e.row, e.col) for e in of(ShardDone, events)} == {(0, 1), (1, 2)}
    assert digest(events) == digest(whole)
    assert 0 < tiles_computed(events) < of(Planned, events)[0].windows
    assert open_result(finished).complete


def test_a_finished_result_is_left_as_it_is(folder, finished, whole):
    before = hashes(finished)
    events = run(folder, finished, resume=True)
    assert [type(event) for event in events if not hasattr(event, "level")] == [Planned, Finished]
    assert digest(events) == digest(whole)
    assert hashes(finished) == before


def test_to_resume_where_nothing_exists_is_to_begin(folder, out, whole):
    events = run(folder, out, resume=True)
    assert digest(events) == digest(whole)
    assert "resumed" not in events[-1].result.record


def test_a_foreign_folder_is_refused_and_left_alone(folder, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("precious")
    with pytest.raises(ValueError, match="not a napari-damm result"):
        run(folder, tmp_path / "mine", resume=True)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("wishes", "named"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"steps": 3}, "steps is 2 there and 3 here"),
        ({"mode": "draft"}, "mode is fast there and draft here"),
        ({"roi": (0, 0, 300, 300)}, "roi is null there and"),
        ({"gamma": 0.25}, "gamma is"),
        ({"batch_size": 4}, "batch_size is 2 there and 4 here"),
    ],
    ids=str,
)
def test_another_job_is_refused_with_the_difference_named(wishes, named, folder, finished):
    before = hashes(finished)
    with pytest.raises(ValueError, match=named):
        run(folder, finished, resume=True, **wishes)
    assert hashes(finished) == before


def test_another_model_or_a_changed_input_is_refused(folder, finished, tmp_path):
    before = hashes(finished)
    other = tmp_path / "other"
    other.mkdir()
    for file in ("section.ome.tif", "tiny.safetensors"):
        shutil.copy2(folder / file, other / file)
    assert of(Finished, run(other, finished, resume=True))  # moved files are the same job
    with (other / "section.ome.tif").open("r+b") as file:
        file.seek(-1000, 2)
        file.write(b"scratch")
    with pytest.raises(ValueError, match="input vessels"):
        run(other, finished, resume=True)
    shutil.copy2(folder / "section.ome.tif", other / "section.ome.tif")
    jobs.write_model(other / "tiny.safetensors", seed=1)
    with pytest.raises(ValueError, match="model sha256"):
        run(other, finished, resume=True)
    assert hashes(finished) == before


@pytest.mark.parametrize(
    "wishes", [{"shard": 128, "lanes": 2}, {"order": "centre", "shard": 320}], ids=str
)
def test_a_job_may_be_continued_in_other_lanes_order_and_shards(wishes, folder, out, whole):
    running = jobs.predict(folder, out)
    for event in running:
        if isinstance(event, ShardDone):
            break
    running.close()
    events = run(folder, out, resume=True, **wishes)
    assert digest(events) == digest(whole)
    assert events[-1].result.layout.shard == jobs.QUICK["shard"]


def test_what_is_stored_can_be_read_while_the_rest_is_missing(folder, out, whole):
    running = jobs.predict(folder, out)
    while not isinstance(next(running), ShardDone):
        pass
    running.close()
    part = open_result(out)
    assert not part.complete
    done = np.argwhere(part.status == ShardStatus.DONE)
    assert len(done)
    for row, col in done:
        box = part.layout.shard_box(int(row), int(col)).slices
        assert np.array_equal(np.asarray(part.np[box]), np.asarray(whole[-1].result.np[box]))

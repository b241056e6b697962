"""What tells one input from another: copies are the same, whatever was changed is noticed."""

from __future__ import annotations

import os
import shutil

import jobs
import numpy as np
import pytest
from image_files import IMAGE, ome, ome_zarr

from napari_damm.engine.provenance import differences
from napari_damm.events import Planned, ShardDone
from napari_damm.slide import identity, open_slide, slide_from_arrays
from napari_damm.store import open_result
from napari_damm.util.errors import JobFault

pytestmark = pytest.mark.usefixtures("quick_first_stages")


def changes(before, after):
    """In what two jobs of these inputs differ, apart from all that they lack here."""
    found = differences({"input": before}, {"input": after})
    return [difference for difference in found if difference.startswith("input")]


WRITERS = {"file": ome, "directory": ome_zarr}


def touch(path):
    """Give everything another modification time, as copying does."""
    for file in path.rglob("*") if path.is_dir() else [path]:
        os.utime(file, (1e9, 1e9))


def flip(path, at):
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def somewhere(path):
    """A file with pixels in it, and a place that is not in its first or last MiB where it can."""
    if path.is_dir():
        return max(path.glob("0/c/*/*/*"), key=lambda file: file.stat().st_size), 20
    return path, path.stat().st_size // 2


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_copy_is_the_same_input_and_a_changed_byte_is_not(tmp_path, write):
    path = write(tmp_path / "a")
    slide = open_slide(path)
    before = slide.identity
    touch(path)
    slide.check_unchanged(whole=True)
    assert open_slide(path).identity["vessels"]["mtime_ns"] != before["vessels"]["mtime_ns"]
    assert changes(before, open_slide(path).identity) == []
    flip(*somewhere(path))
    with pytest.raises(JobFault, match=r"changed or replaced while it was read: put the file back"):
        slide.check_unchanged(whole=True)
    assert any("sha256_content" in d for d in changes(before, open_slide(path).identity))


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_of_a_large_input_parts_from_all_over_it_are_hashed(tmp_path, write, monkeypatch):
    path = write(tmp_path / "a")
    monkeypatch.setattr(identity, "MIB", 64)
    monkeypatch.setattr(identity, "HASHED_BYTES", 64 * 64)
    entry = open_slide(path).identity["vessels"]
    assert entry["hashed"] == "64 parts of it"
    touch(path)
    assert open_slide(path).identity["vessels"]["sha256_content"] == entry["sha256_content"]
    flip(*(somewhere(path) if path.is_dir() else (path, -1)))
    with pytest.raises(JobFault):
        identity.check_files({"vessels": entry}, whole=True)


def test_an_input_that_is_removed_or_grows_is_noticed(tmp_path):
    path = ome(tmp_path / "a.tif")
    slide = open_slide(path)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(JobFault, match="changed or replaced"):
        slide.check_unchanged()
    path.unlink()
    with pytest.raises(JobFault, match=r"a\.tif cannot be read any more \(No such file"):
        slide.check_unchanged()


def test_a_directory_that_is_written_anew_is_noticed_without_looking_at_its_chunks(tmp_path):
    slide = open_slide(ome_zarr(tmp_path / "a.zarr"))
    slide.check_unchanged()
    ome_zarr(tmp_path / "a.zarr", image=IMAGE[:, :140])
    with pytest.raises(JobFault):
        slide.check_unchanged()


def test_arrays_are_not_looked_at_again():
    slide = slide_from_arrays({"vessels": IMAGE[0], "nuclei": IMAGE[1]}, 1.0)
    slide.check_unchanged(whole=True)


def test_a_result_of_before_content_was_hashed_goes_by_time_and_ends(tmp_path):
    path = ome(tmp_path / "a.tif")
    now = open_slide(path).identity
    new = ("sha256_content", "hashed")
    old = {
        role: {k: v for k, v in entry.items() if k not in new} if role != "kind" else entry
        for role, entry in now.items()
    }
    assert changes(old, now) == []
    touch(path)
    assert any("mtime_ns" in d for d in changes(old, open_slide(path).identity))


@pytest.fixture
def folder(tmp_path):
    return jobs.make(tmp_path)


def replace_section(folder):
    """Put another section of the same size in its place, as a scanner's export does."""
    other = folder / "other"
    other.mkdir()
    section = jobs.make(other, jobs.SHAPE) / "section.ome.tif"
    content = bytearray(section.read_bytes())
    content[len(content) // 2] ^= 1
    section.write_bytes(content)
    section.replace(folder / "section.ome.tif")


def replace_at(shards_done, folder, events):
    for event in events:
        if isinstance(event, ShardDone) and event.shards_done == shards_done:
            replace_section(folder)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_section_that_is_replaced_while_it_runs_stops_the_job(folder, workers):
    out = folder / "r.ome.zarr"
    events = jobs.predict(folder, out, workers=workers)
    with pytest.raises(JobFault, match=r"section\.ome\.tif was changed or replaced"):
        replace_at(1, folder, events)
    result = open_result(out)
    assert not result.complete
    assert result.shards_done >= 1


def test_a_section_that_is_replaced_after_its_last_shard_does_not_finish(folder):
    out = folder / "r.ome.zarr"
    events = jobs.predict(folder, out)
    with pytest.raises(JobFault):
        replace_at(6, folder, events)
    assert not open_result(out).complete


def test_a_job_goes_on_after_its_section_was_copied(folder, tmp_path):
    out, whole = folder / "r.ome.zarr", jobs.run(folder, None)
    events = jobs.predict(folder, out)
    for event in events:
        if isinstance(event, ShardDone):
            break
    events.close()
    shutil.copyfile(folder / "section.ome.tif", folder / "copy")
    (folder / "copy").replace(folder / "section.ome.tif")
    touch(folder / "section.ome.tif")
    resumed = jobs.run(folder, out, resume=True)
    assert jobs.digest(resumed) == jobs.digest(whole)
    assert jobs.of(Planned, resumed)[0].shards_done > 0
    np.testing.assert_array_equal(open_result(out).status, 1)

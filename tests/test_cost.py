"""What a prediction will cost: said beforehand, kept afterwards, refused where it cannot fit."""

from __future__ import annotations

import re
from collections import namedtuple

import jobs
import pytest
import torch
from disks import DiskUsage
from jobs import of, run

from napari_damm import api, cli
from napari_damm.engine import cost
from napari_damm.events import Notice, Planned, ShardDone
from napari_damm.util.text import duration, gigabytes

Memory = namedtuple("Memory", "available")

pytestmark = pytest.mark.usefixtures("quick_first_stages")


def survey(folder, store=None, **wishes):
    config = api.PredictConfig(**jobs.QUICK | wishes)
    slide = api.open_slide(folder / "section.ome.tif")
    return api.plan(slide, folder / "tiny.safetensors", config, store)


def test_the_disk_bound_holds_and_is_not_absurd(folder, out):
    events = run(folder, out)
    planned = of(Planned, events)[0]
    used = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    assert used <= planned.disk_bytes <= 3 * 2**20
    assert planned.disk_bytes == survey(folder, out.with_name("other.ome.zarr")).disk_bytes


def test_a_plan_states_everything_in_one_sentence_and_makes_nothing(folder, out):
    planned = survey(folder, out)
    said = str(planned)
    for words in (
        "6 windows in 6 parts", "0 of 6 windows skipped as background",
        f"about {duration(planned.seconds)}",
        f"{gigabytes(planned.memory_bytes)} of memory",
        f"up to {gigabytes(planned.disk_bytes)} for the result",
    ):  # fmt: skip
        assert words in said
    assert "\n" not in said
    assert list(out.parent.iterdir()) == []


def test_workers_compute_borders_twice_and_the_plan_says_so(folder):
    alone, shared = survey(folder), survey(folder, workers=2, lanes=1)
    assert "computed twice" not in str(alone)
    assert "computed twice" in str(shared)
    assert shared.cost.recomputed > 0


def test_workers_need_memory_each(folder):
    one, four = survey(folder, workers=1), survey(folder, workers=4)
    assert four.memory_bytes > 3 * one.memory_bytes / 2


def test_a_result_in_memory_counts(folder, out):
    in_memory, on_disk = survey(folder), survey(folder, out)
    assert in_memory.memory_bytes > on_disk.memory_bytes


@pytest.mark.parametrize("threads", [1, 2])
def test_timing_a_window_leaves_the_number_of_threads_alone(folder, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert survey(folder).seconds > 0
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_too_little_disk_is_refused_with_what_would_fit(folder, out, monkeypatch):
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda path: DiskUsage(0, 0, 300_000))
    with pytest.raises(ValueError, match=r"at most 3.. x 3.. model pixels") as caught:
        run(folder, out)
    assert "1 MB are free" in str(caught.value) or "0 MB are free" in str(caught.value)
    assert str(out.parent) in str(caught.value)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("on_disk", [True, False])
def test_too_little_memory_is_refused_with_what_would_help(folder, out, on_disk, monkeypatch):
    monkeypatch.setattr(cost.psutil, "virtual_memory", lambda: Memory(1_000_000))
    remedy = "close other programs" if on_disk else "on disk with store"
    with pytest.raises(ValueError, match=f"of memory.*are free.*{remedy}"):
        run(folder, out if on_disk else None)
    assert list(out.parent.iterdir()) == []


def test_a_resumed_job_needs_room_for_the_rest_only_and_is_told(folder, out):
    running = jobs.predict(folder, out)
    first = next(event for event in running if isinstance(event, Planned))
    for event in running:
        if isinstance(event, ShardDone):
            break
    running.close()
    events = run(folder, out, resume=True)
    planned = of(Planned, events)[0]
    assert planned.disk_bytes < first.disk_bytes
    assert f"{planned.shards_done} of 6 parts stored already" in of(Notice, events)[0].message


def test_the_plan_of_a_store_that_exists_is_what_is_left_of_it(folder, out):
    running = jobs.predict(folder, out)
    stored = 0
    for event in running:
        if isinstance(event, ShardDone):
            stored = event.shards_done
            break
    running.close()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    planned = survey(folder, out)
    assert planned.shards == 6 - stored
    assert f"{stored} of 6 parts stored already" in str(planned)
    assert planned.disk_bytes < survey(folder, out.with_name("other.ome.zarr")).disk_bytes
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    with pytest.raises(ValueError, match="seed is 0 there and 1 here"):
        survey(folder, out, seed=1)
    run(folder, out, resume=True)
    assert str(survey(folder, out)) == "all 6 parts stored already: nothing is left to do"


def test_the_command_advises_only_options_that_it_has(folder, out, capfd, monkeypatch):
    monkeypatch.setattr(cost.psutil, "virtual_memory", lambda: Memory(1_000_000))
    section, model = str(folder / "section.ome.tif"), str(folder / "tiny.safetensors")
    command = ["predict", section, "--out", str(out), "--model", model]
    for workers, advised in (("1000", {"--workers", "--roi"}), ("1", {"--roi"})):
        assert cli.main([*command, "--workers", workers]) == 2
        said = capfd.readouterr().err
        assert set(re.findall(r"--[a-z]+", said)) == advised
        assert "close other programs" in said
    assert cli.main(["predict", "--help"]) == 0
    offered = capfd.readouterr().out
    assert "--workers" in offered
    assert "--roi" in offered


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (150, "2 min"), (7260, "2 h 1 min")]
)
def test_times_are_written_for_people(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "words"), [(10, "1 MB"), (2_400_000, "2 MB"), (3_140_000_000, "3.1 GB")]
)
def test_sizes_are_written_for_people(size, words):
    assert gigabytes(size) == words

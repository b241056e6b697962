"""The coordinator and a worker's share, with the workers in this very process."""

from __future__ import annotations

import errno
import io
import pickle
from dataclasses import replace

import jobs
import numpy as np
import pytest
import torch
from jobs import assert_steps_add_up, digest, of, run

from napari_damm import api
from napari_damm.engine.job import prepare
from napari_damm.engine.recovery import NothingWorks
from napari_damm.engine.sampler import WindowSampler
from napari_damm.engine.workers import dask, worker_main
from napari_damm.engine.workers.coordinator import ShardReport, lost_shard, run_job
from napari_damm.engine.workers.shard import Cancelled, TaskSpec, Worker, shards_apart
from napari_damm.events import FailedItem, Finished, Notice, ShardDone
from napari_damm.store import DiskFull, ResultStore, ShardStatus
from napari_damm.store.journal import Journal

pytestmark = pytest.mark.usefixtures("quick_first_stages")

WINDOWS, SHARDS = 6, 6


@pytest.fixture(scope="module")
def whole(folder):
    return run(folder, None, steps=1)


def here(job, left):
    """Compute shards in this process, last first; everything travels as it would."""
    spec = pickle.loads(pickle.dumps(TaskSpec.of(job)))
    steps = job.setup.sampling.window_steps
    return shards_apart(left, steps, reports_of(Worker(spec), reversed(left.shards)))


def reports_of(worker, shards):
    for shard in shards:
        steps = []
        report = worker.compute(pickle.loads(pickle.dumps(shard)), steps.append)
        yield from steps
        yield pickle.loads(pickle.dumps(report))


def coordinate(folder, out, compute=here, resume=False, **wishes):
    config = api.PredictConfig(**jobs.QUICK | {"workers": 2, "steps": 1} | wishes)
    slide = api.open_slide(folder / "section.ome.tif")
    model = api.load_model(folder / "tiny.safetensors")
    return run_job(prepare(slide, model, config, out, resume), compute)


def breaking(monkeypatch, fault, unless=lambda inputs: False):
    """Let the network raise, unless the pool pleases."""
    real = WindowSampler.run

    def run(self, inputs):
        for step in real(self, inputs):
            if not unless(self if unless.__name__ == "fits" else inputs):
                raise fault
            yield step

    monkeypatch.setattr(WindowSampler, "run", run)


@pytest.mark.parametrize("wishes", [{"shard": 320, "lanes": 2}, {"order": "centre"}], ids=str)
def test_shards_computed_on_their_own_make_the_same_result(wishes, folder, out, whole):
    events = list(coordinate(folder, out, **wishes))
    assert digest(events) == digest(whole)
    assert_steps_add_up(events)
    record, expected = events[-1].result.record, whole[-1].result.record
    for key in ("windows", "background_windows", "multi_modal_windows", "failed", "normalisation"):
        assert record[key] == expected[key]


def test_the_journal_says_how_many_windows_made_a_shard(folder, out, tmp_path):
    list(coordinate(folder, out))
    run(folder, tmp_path / "alone.ome.zarr", steps=1)
    counts = [
        {(e.row, e.col): e.windows for e in Journal(path, (2, 3)).latest()}
        for path in (out, tmp_path / "alone.ome.zarr")
    ]
    assert counts[0] == counts[1]
    assert counts[0][0, 2] == 2
    assert sum(counts[0].values()) > WINDOWS


def test_what_other_workers_stored_is_not_computed_again(folder, out, whole):
    def two(job, left):
        for outcome in here(job, left):
            yield outcome
            if isinstance(outcome, ShardReport) and (outcome.row, outcome.col) == (1, 1):
                raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="lights"):
        list(coordinate(folder, out, two))
    events = list(coordinate(folder, out, resume=True))
    assert len(of(ShardDone, events)) == SHARDS - 2
    assert digest(events) == digest(whole)
    assert_steps_add_up(events)


def test_a_bad_window_is_told_once_in_the_record_though_neighbours_share_it(
    folder, out, monkeypatch
):
    breaking(monkeypatch, ZeroDivisionError("bad"), lambda pool: (0, 2) not in windows_of(pool))
    finished = of(Finished, list(coordinate(folder, out)))[0]
    assert len(finished.failed) == 1
    assert finished.failed == tuple(finished.result.record["failed"])
    assert finished.result.record["windows"] == WINDOWS - 1
    status = finished.result.status
    bad = [(int(row), int(col)) for row, col in np.argwhere(status == ShardStatus.FAILED)]
    assert bad == [(0, 1), (0, 2)]


def windows_of(pool):
    return {each.window for each in pool}


def test_a_shard_that_nobody_could_compute_fails_and_the_rest_is_done(folder, out, whole):
    others = set()

    def one_lost(job, left):
        first, *rest = left.shards
        others.update(window for shard in rest for window in shard.windows)
        yield lost_shard(first, RuntimeError("thrice killed"))
        yield from here(job, replace(left, shards=tuple(rest)))

    events = list(coordinate(folder, out, one_lost))
    assert [item.item for item in of(FailedItem, events)] == ["shard (0, 0)"]
    result = events[-1].result
    assert result.status[0, 0] == ShardStatus.FAILED
    assert (result.status == ShardStatus.DONE).sum() == SHARDS - 1
    assert not np.asarray(result.np[:200, :200]).any()
    assert result.record["windows"] == len(others)
    again = list(coordinate(folder, out, resume=True))
    assert digest(again) == digest(whole)
    assert again[-1].result.record["windows"] == WINDOWS
    assert of(Finished, again)[0].failed == ()


def test_where_no_shard_could_be_computed_no_window_is_said_to_be_predicted(folder, out):
    def all_lost(job, left):
        yield from (lost_shard(shard, RuntimeError("no such card")) for shard in left.shards)

    (*_, finished) = coordinate(folder, out, all_lost, shard=1024)
    assert len(finished.failed) == 1
    assert finished.result.record["windows"] == 0


def test_out_of_memory_in_a_worker_is_told_and_recorded(folder, out, monkeypatch):
    def fits(sampler):
        return sampler.sampling.batch_size <= 1

    breaking(monkeypatch, torch.OutOfMemoryError("the card is full"), fits)
    events = list(coordinate(folder, out))
    told = [event.message for event in of(Notice, events) if event.level == "warning"]
    assert len(told) == 1
    assert "batches of 1" in told[0]
    assert events[-1].result.record["out_of_memory"] == told
    assert events[-1].failed == ()
    assert_steps_add_up(events)


def test_strict_mode_stops_a_worker_that_is_out_of_memory(folder, out, monkeypatch):
    breaking(monkeypatch, MemoryError())
    with pytest.raises(MemoryError, match="strict"):
        list(coordinate(folder, out, strict=True))
    ResultStore.reopen(out).close()


def test_a_fault_of_the_model_stops_the_job_with_its_reason(folder, out, monkeypatch):
    breaking(monkeypatch, ZeroDivisionError("wrong weights"))
    with pytest.raises(NothingWorks, match="wrong weights"):
        list(coordinate(folder, out, shard=320))


def test_a_worker_that_is_stopped_leaves_within_a_step(folder, out):
    def stopped(job, left):
        worker, seen = Worker(TaskSpec.of(job)), []

        def step(done):
            seen.append(done)
            worker.stop()

        try:
            worker.compute(left.shards[-1], step)
        finally:
            assert len(seen) == 1
            assert not jobs.threads_left()
        yield 0

    with pytest.raises(Cancelled):
        list(coordinate(folder, out, stopped, steps=200))


def test_a_job_that_ended_while_a_dask_worker_loads_its_model_is_not_computed(
    folder, out, monkeypatch
):
    def ended(job, left):
        spec = TaskSpec.of(job)

        def slow(given):
            dask.stop(given.id)
            return Worker(given)

        dask.begin(spec)
        monkeypatch.setattr(dask, "Worker", slow)
        try:
            dask.compute(spec.id, left.shards[0])
        finally:
            assert spec.id not in dask._workers
        yield 0

    with pytest.raises(Cancelled):
        list(coordinate(folder, out, ended))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("none left"),
        NothingWorks("why"),
        torch.OutOfMemoryError("card"),
        ValueError("v"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_dask_task_without_hope_stops_the_job(error, folder, out):
    class Task:
        status = "error"

        def exception(self):
            return pickle.loads(pickle.dumps(error))

    with pytest.raises(type(error), match=str(error)):
        dask._report(Task(), None)


def test_a_full_disk_in_a_worker_arrives_as_one(folder, out, monkeypatch):
    def full(job, left):
        worker = Worker(TaskSpec.of(job))
        monkeypatch.setattr("zarr.Array.__setitem__", raising(OSError(errno.ENOSPC, "full")))
        try:
            worker.compute(left.shards[0])
        except OSError as error:
            raise received(worker_main.ERROR, error) from None
        yield 0

    with pytest.raises(DiskFull, match=r"disk is full.*resume=True"):
        list(coordinate(folder, out, full))
    monkeypatch.undo()
    ResultStore.reopen(out).close()


def raising(error):
    def function(*args):
        raise error

    return function


def received(kind, value):
    """What arrives of a message of a worker process."""
    pipe = io.BytesIO()
    worker_main.send(pipe, kind, value)
    worker_main.send(pipe, worker_main.STEPS, 3)
    pipe.seek(0)
    sent, arrived = pickle.load(pipe)
    assert sent == kind
    assert pickle.load(pipe) == (worker_main.STEPS, 3)
    return arrived


class OneWay(Exception):
    """Pickles, but cannot be made again from what was pickled."""

    def __reduce__(self):
        return raise_type_error, ()


def raise_type_error():
    raise TypeError("one argument too few")


@pytest.mark.parametrize("error", [OneWay("blind mice"), ValueError(lambda: "blind mice")])
def test_errors_that_cannot_be_sent_arrive_as_what_they_say(error):
    assert str(received(worker_main.ERROR, error)) == f"{type(error).__name__}: {error}"


def test_a_spec_is_small_where_slide_and_model_are_files(folder, out):
    def weighed(job, left):
        sizes.append(len(pickle.dumps(TaskSpec.of(job))))
        yield from (lost_shard(shard, RuntimeError("not tried")) for shard in left.shards)

    sizes = []
    list(coordinate(folder, out, weighed))
    assert sizes[0] < 20_000

"""Worker processes: the same result, whoever dies; nobody left behind."""

from __future__ import annotations

import os
from functools import partial

import crashing
import jobs
import psutil
import pytest
from jobs import assert_steps_add_up, digest, of, run

from napari_damm import api
from napari_damm.engine.job import prepare
from napari_damm.engine.workers import processes
from napari_damm.engine.workers.coordinator import run_job
from napari_damm.engine.workers.shard import ModelSource
from napari_damm.engine.workers.watchdog import Watchdog
from napari_damm.events import Finished, Notice, Planned, ShardDone, Step
from napari_damm.store import ResultStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return jobs.make(tmp_path_factory.mktemp("job"), (250, 640))


@pytest.fixture(scope="module")
def whole(folder):
    """The events of a run in this process alone."""
    return run(folder, None)


def workers_of_ours():
    children = psutil.Process().children(recursive=True)
    return [
        child for child in children if "napari_damm.engine.workers.worker_main" in child.cmdline()
    ]


def test_a_worker_that_is_killed_in_a_shard_changes_nothing(folder, out, whole):
    events, victim = [], None
    for event in jobs.predict(folder, out, workers=2):
        events.append(event)
        if victim is None and isinstance(event, Step) and event.done:
            victim = workers_of_ours()[0]
            victim.kill()
    assert victim is not None
    assert digest(events) == digest(whole)
    assert_steps_add_up(events)
    assert not workers_of_ours()
    assert not jobs.threads_left()
    record, expected = events[-1].result.record, whole[-1].result.record
    for key in ("windows", "multi_modal_windows", "failed", "normalisation", "batch_size"):
        assert record[key] == expected[key]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows cannot stop a process")
def test_a_worker_that_is_frozen_is_replaced_and_changes_nothing(folder, out, whole):
    config = api.PredictConfig(**jobs.QUICK | {"workers": 2})
    slide = api.open_slide(folder / "section.ome.tif")
    model = api.load_model(folder / "tiny.safetensors")
    patient = partial(processes.compute, patience_s=10.0)
    events, victim = [], None
    for event in run_job(prepare(slide, model, config, out), patient):
        events.append(event)
        if victim is None and isinstance(event, Step) and event.done:
            victim = workers_of_ours()[0]
            victim.suspend()
    assert victim is not None
    told = [event.message for event in of(Notice, events) if event.level == "warning"]
    assert any("has not answered for 10 s" in line for line in told)
    assert digest(events) == digest(whole)
    assert_steps_add_up(events)
    assert not workers_of_ours()


@pytest.mark.slow
def test_what_lies_in_the_current_folder_is_not_executed_by_workers(
    folder, out, whole, tmp_path, monkeypatch
):
    trap = "import pathlib; pathlib.Path(__file__).with_suffix('.sprung').touch(); raise SystemExit"
    for name in ("queue", "torch", "sitecustomize", "numpy"):
        (tmp_path / f"{name}.py").write_text(trap)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert digest(run(folder, out, workers=2)) == digest(whole)
    assert not list(tmp_path.glob("*.sprung"))


@pytest.mark.slow
def test_the_workers_of_a_killed_coordinator_end_and_the_job_goes_on(folder, out, whole):
    pids = out.with_name("pids")
    dead = crashing.in_another_process(crashing.crash_with_workers, "journal", 2, folder, out, pids)
    assert dead == -9
    workers = [psutil.Process(int(pid)) for pid in pids.read_text().split() if alive(pid)]
    assert not psutil.wait_procs(workers, timeout=20)[1]
    events = run(folder, out, resume=True)
    assert of(Planned, events)[0].shards_done == 1
    assert digest(events) == digest(whole)


def alive(pid):
    return psutil.pid_exists(int(pid))


def test_closing_ends_the_workers_at_once_also_those_that_are_starting(folder, out):
    running = jobs.predict(folder, out, workers=2)
    while not isinstance(next(running), Step):
        pass
    assert workers_of_ours()
    running.close()
    assert not workers_of_ours()
    assert not jobs.threads_left()
    ResultStore.reopen(out).close()


def test_a_worker_that_begins_while_the_pool_stops_is_ended(monkeypatch):
    pool = processes._WorkerPool(b"", (), Watchdog(), "cpu")
    pool._stop.set()
    monkeypatch.setattr(processes.sys, "executable", "sleep")
    started = []
    popen = processes.subprocess.Popen

    def long_sleep(command, **options):
        started.append(popen(["sleep", "1000"], **options))
        return started[0]

    monkeypatch.setattr(processes.subprocess, "Popen", long_sleep)
    with pytest.raises(processes.WorkerDied, match="signal 9"):
        pool._begin(0)
    assert started[0].wait(10) == -9
    pool._end(0)


def test_workers_that_all_die_at_the_start_stop_the_job_with_a_reason(folder, out, monkeypatch):
    monkeypatch.setattr(processes.sys, "executable", "false")
    events = []
    with pytest.raises(processes.WorkerDied, match="worker process ended with code 1"):
        events.extend(jobs.predict(folder, out, workers=2))
    monkeypatch.undo()
    assert not jobs.threads_left()
    assert not of(ShardDone, events) + of(Finished, events)
    ResultStore.reopen(out).close()


def test_workers_need_a_store_on_disk(folder):
    with pytest.raises(ValueError, match="give store"):
        next(jobs.predict(folder, None, workers=2))


def test_a_model_file_that_was_replaced_is_refused_by_a_worker(folder, tmp_path):
    path = tmp_path / "tiny.safetensors"
    jobs.write_model(path)
    source = ModelSource.of(api.load_model(path))
    assert source.load().card["sha256"] == source.sha256
    jobs.write_model(path, seed=1)
    with pytest.raises(ValueError, match="another model on this worker"):
        source.load()


def test_a_model_without_a_file_travels_with_its_weights(tiny_model):
    import pickle

    import torch

    source = pickle.loads(pickle.dumps(ModelSource.of(tiny_model)))
    sent = source.load().state_dict()
    for name, value in tiny_model.state_dict().items():
        assert torch.equal(sent[name], value)

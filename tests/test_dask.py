"""A dask cluster of real processes: the same result while workers die and others join."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import jobs
import pytest
from jobs import assert_steps_add_up, digest, of, run

from napari_damm import cli
from napari_damm.engine.workers import dask as dask_workers
from napari_damm.events import Finished, Planned, ShardDone, Step
from napari_damm.store import ResultStore

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return jobs.make(tmp_path_factory.mktemp("job"), (250, 640))


class Cluster:
    """A scheduler and its workers, each a process of its own on this machine."""

    def __init__(self, folder):
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes = []
        self.scheduler = self.start("scheduler", "--port", "0", "--host", "127.0.0.1")
        self.workers = [self.add_worker() for _ in range(2)]
        self.client = distributed.Client(
            scheduler_file=str(self.file), timeout=15, set_as_default=False
        )
        self.client.wait_for_workers(2)

    def start(self, *command):
        quiet = ["--scheduler-file", str(self.file), "--dashboard-address", ":0"]
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *command, *quiet],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def add_worker(self):
        return self.start("worker", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1")

    @property
    def address(self):
        return self.client.scheduler.address

    def workers_known(self):
        return list(self.client.scheduler_info(n_workers=-1)["workers"])

    def close(self):
        self.client.close()
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.mark.slow
def test_samples_and_their_spread_are_the_same_on_a_cluster(dask, folder, out):
    events = run(folder, out, client=dask.client, samples=2, steps=1)
    assert digest(events) == digest(run(folder, None, samples=2, steps=1))
    assert events[-1].result.np_std is not None
    assert_steps_add_up(events)


def computing():
    """In a worker: the engine's threads that are alive, and the jobs it has in hand."""
    from napari_damm.engine.workers import dask as dask_workers

    threads = [t.name for t in threading.enumerate() if t.name.startswith("napari-damm")]
    return threads, len(dask_workers._workers), len(dask_workers._specs)


@pytest.mark.slow
def test_closing_early_stops_the_workers_and_leaves_what_can_be_resumed(dask, folder, out):
    running = jobs.predict(folder, out, client=dask.client, steps=200)
    for event in running:
        if isinstance(event, Step) and any(at[0] for at in dask.client.run(computing).values()):
            break
    running.close()
    # What was in the network may end its step; a task slot is free once its threads are joined.
    for address in dask.workers_known():
        dask.client.submit(int, workers=[address], pure=False).result()
    assert dask.client.run(computing) == dict.fromkeys(dask.workers_known(), ([], 0, 0))
    ResultStore.reopen(out).close()


@pytest.mark.slow
def test_a_worker_dies_and_another_joins_and_the_result_is_the_same(dask, folder, out):
    whole = run(folder, None)
    events, killed = [], False
    for event in jobs.predict(folder, out, client=dask.client):
        events.append(event)
        if not killed and isinstance(event, ShardDone):
            dask.workers[0].kill()
            dask.workers[0].wait()
            dask.add_worker()
            killed = True
    assert killed
    assert digest(events) == digest(whole)
    assert_steps_add_up(events)
    planned, finished = of(Planned, events)[0], of(Finished, events)[0]
    assert planned.shards == 3
    assert finished.failed == ()
    record, expected = finished.result.record, whole[-1].result.record
    for key in ("windows", "multi_modal_windows", "failed", "normalisation", "batch_size"):
        assert record[key] == expected[key]


def test_the_command_line_computes_on_a_cluster(dask, folder, out, capfd):
    options = ["--model", str(folder / "tiny.safetensors"), "--steps", "2"]
    section = str(folder / "section.ome.tif")
    command = ["predict", section, "--out", str(out), *options, "--scheduler", dask.address]
    assert cli.main(command) == 0
    assert "windows     3 predicted" in capfd.readouterr().out


def test_a_wrong_address_is_bad_input_in_one_line(folder, out, capfd, monkeypatch):
    monkeypatch.setattr(dask_workers, "CONNECT_S", 0.5)
    section = str(folder / "section.ome.tif")
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        assert cli.main(["predict", section, "--out", str(out), "--scheduler", address]) == 2
        lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
        assert len(lines) == 1
        assert address in lines[0]
        assert "dask scheduler" in lines[0]
    assert not out.exists()


def test_a_cluster_needs_a_store(dask, folder):
    with pytest.raises(ValueError, match="give store"):
        next(jobs.predict(folder, None, client=dask.client))


@pytest.mark.slow
def test_a_scheduler_that_dies_stops_the_job_and_says_how_to_go_on(dask, folder, out):
    running = jobs.predict(folder, out, client=dask.client, steps=200)
    while not isinstance(next(running), Step):
        pass
    dask.scheduler.kill()
    with pytest.raises(RuntimeError, match=r"scheduler is gone.*resume=True"):
        list(running)
    ResultStore.reopen(out).close()

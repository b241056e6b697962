"""The same plan on a dask cluster: one task per shard, coordinates in, status out.

1. A plugin gives every worker, those that join later too, the job's `TaskSpec`; a worker process
   builds model and store once, at its first shard.
2. One task per shard, retried by dask when it fails or its worker dies; a shard that keeps failing
   is marked failed and the job goes on. A full disk or lack of memory stops the job.
3. Closing the generator cancels the tasks and stops what is being computed within a denoising step.

Workers need the same version of this package, and the slide, the model and the store under the
same paths (a shared file system). `dask worker` gives its tasks one thread, as a network call
needs it.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from napari_damm.engine.config import PredictConfig
from napari_damm.engine.job import Job, prepare
from napari_damm.engine.planning import Plan, Shard
from napari_damm.engine.recovery import NothingWorks
from napari_damm.engine.workers.coordinator import Outcome, ShardReport, lost_shard, run_job
from napari_damm.engine.workers.shard import TaskSpec, Worker, need_disk, shards_apart
from napari_damm.events import Event, Notice
from napari_damm.slide import Slide
from napari_damm.util.advice import Advice
from napari_damm.util.errors import JobFault, is_disk_full, is_out_of_memory

if TYPE_CHECKING:
    from distributed import Client

    from napari_damm.model.damm import DAMM

RETRIES = 3
HOPELESS = (ValueError, NothingWorks, JobFault)
POLL_S = 0.2
CONNECT_S = 30
DROPPED = Advice(
    "the scheduler is gone or dropped the job", "see its log, then continue with {resume}"
)

# In a worker process: the jobs it knows of, and its share of those it has begun.
_specs: dict[str, TaskSpec] = {}
_workers: dict[str, Worker] = {}
_lock = Lock()


def connect(address: str) -> Client:
    """Connect to a scheduler ("tcp://host:8786").

    Raises
    ------
    ValueError
        If `distributed` is not installed or nobody answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(
            'a cluster needs dask.distributed: pip install "napari-damm[cluster]"'
        ) from error
    try:
        return Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"no dask scheduler answers at {address}: start one with 'dask scheduler', and give "
            "its address, such as tcp://host:8786"
        ) from error


def predict(
    slide: Slide,
    model: DAMM,
    config: PredictConfig,
    store: str | Path | None,
    client: Client,
    resume: bool = False,
) -> Iterator[Event]:
    """Predict on a cluster; see `engine.predict`.

    Parameters
    ----------
    client
        Connected to the scheduler. `config.lanes` is the number of sampler threads per task (one by
        default); `config.workers` is not used.

    Raises
    ------
    ValueError, OSError
        For bad input, before the first event.
    """
    if not client.scheduler_info()["workers"]:
        yield Notice("waiting for the cluster's first worker")
    if config.device == "auto":
        # what the workers have counts, not what this machine has
        device = client.submit(best_device, pure=False).result()
        config = replace(config, device=device)
    else:
        _check_workers(client, config.device)
    # what `workers` means is the cluster's business, but every shard is computed on its own
    config = replace(config, workers=max(2, config.workers))
    need_disk(store)
    job = prepare(slide, model, config, store, resume, remote=True)
    yield from run_job(job, partial(compute_on, client))


def compute_on(client: Client, job: Job, left: Plan) -> Iterator[Outcome]:
    """Compute all shards of a plan on a cluster (a `Compute`, given its client)."""
    spec = TaskSpec.of(job)
    client.register_plugin(_job_plugin(spec), name=spec.id)
    tasks = {
        client.submit(compute, spec.id, shard, key=_key(spec, shard), retries=RETRIES, pure=False):
        shard
        for shard in left.shards
    }  # fmt: skip
    try:
        steps = job.setup.sampling.window_steps
        yield from shards_apart(left, steps, _collect(client, tasks))
    finally:
        with suppress(Exception):  # the scheduler may be what is gone
            client.cancel(list(tasks))
            client.run(stop, spec.id)
            client.unregister_worker_plugin(spec.id)


def _collect(client: Client, tasks: dict[Any, Shard]) -> Iterator[ShardReport | int]:
    # dask's own `wait` knows the process's default client only, which this one need not be
    finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for task in tasks:
        task.add_done_callback(finished.put)
    for _ in tasks:
        while True:
            try:
                task = finished.get(timeout=POLL_S)
                break
            except queue.Empty:
                if client.status != "running":
                    raise RuntimeError(DROPPED) from None
                yield 0
        yield _report(task, tasks[task])


def _report(task: Any, shard: Shard) -> ShardReport:
    if task.status == "cancelled":
        raise RuntimeError(DROPPED)
    error = task.exception()
    if error is None:
        report: ShardReport = task.result()
        return report
    if is_disk_full(error) or is_out_of_memory(error) or isinstance(error, HOPELESS):
        raise error
    return lost_shard(shard, error)


def _key(spec: TaskSpec, shard: Shard) -> str:
    return f"napari-damm-shard-{spec.id}-{shard.row}-{shard.col}"


def best_device() -> str:
    """Name the best device of this worker."""
    from napari_damm.model_file import resolve_device

    return resolve_device("auto").type


def has_device(device: str) -> bool:
    """Tell whether this worker has such a device."""
    from napari_damm.model_file import resolve_device

    try:
        resolve_device(device)
    except ValueError:
        return False
    return True


def _check_workers(client: Client, device: str) -> None:
    """Raise ValueError where workers have joined, and none has such a device."""
    found = client.run(has_device, device)
    if found and not any(found.values()):
        raise ValueError(
            Advice(
                f"{device} is on none of the cluster's workers ({len(found)})",
                "leave {device} out to take what they have",
                parameter="device",
            )
        )


def compute(job_id: str, shard: Shard) -> ShardReport:
    """Compute a shard in this worker (the task)."""
    with _lock:
        worker = _workers.get(job_id) or Worker(_specs[job_id])
        _workers[job_id] = worker
    if job_id not in _specs:  # the job was ended while the model was being loaded
        _workers.pop(job_id, None)
        worker.stop()
    return worker.compute(shard)


def begin(spec: TaskSpec) -> None:
    """Take note of a job (in a worker process)."""
    _specs[spec.id] = spec


def stop(job_id: str) -> None:
    """End a job (in a worker process), within a denoising step."""
    worker = _workers.pop(job_id, None)
    _specs.pop(job_id, None)
    if worker is not None:
        worker.stop()


def _job_plugin(spec: TaskSpec) -> Any:
    from distributed import WorkerPlugin

    class JobPlugin(WorkerPlugin):  # type: ignore[misc,unused-ignore]
        """Tells a worker of the job, whenever the worker joins."""

        def setup(self, worker: Any) -> None:
            begin(spec)

        def teardown(self, worker: Any) -> None:
            stop(spec.id)

    return JobPlugin()

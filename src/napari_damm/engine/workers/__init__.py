"""Who computes the shards: this process, others of this machine, or a dask cluster.

1. `coordinator`: runs a job to its end with any of them, and commits their reports.
2. `local`: all shards in this process.
3. `shard`: one shard as a task for another process: coordinates in, status and hashes out.
4. `worker_main`: the program of a local worker process; `processes` starts and feeds them,
   `watchdog` notes which are silent.
5. `dask`: the same tasks on a cluster.
"""

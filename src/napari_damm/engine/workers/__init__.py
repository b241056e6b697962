"""Shards computed elsewhere: in processes of this machine, or on a dask cluster.

1. `shard`: one shard as a task: coordinates in, status and hashes out.
2. `worker_main`: the program of a local worker process; `processes` starts and feeds them.
3. `dask`: the same tasks on a cluster.
4. `coordinator`: takes the reports, whoever computed, and commits them.
"""

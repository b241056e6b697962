"""The result store: one OME-Zarr 0.5 group per run, written shard by shard, never half-believed.

1. `layout`: where everything lies: pyramid levels, shards, cells, world coordinates. Pure numbers.
2. `arrays`: the zarr arrays of a layout, created or opened.
3. `durable`: fsync, hashes, the journal, and the one error for a full disk.
4. `writing`: `ResultStore`, the writer of one run.
5. `result`: `Result`, what a finished (or unfinished) run looks like to its reader.
"""

from napari_damm.store.durable import DiskFull
from napari_damm.store.layout import ResultLayout, ShardStatus, halve, to_half
from napari_damm.store.result import Result, open_result
from napari_damm.store.writing import ResultStore

__all__ = [
    "DiskFull",
    "Result",
    "ResultLayout",
    "ResultStore",
    "ShardStatus",
    "halve",
    "open_result",
    "to_half",
]

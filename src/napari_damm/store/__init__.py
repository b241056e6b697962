"""The result store: one OME-Zarr 0.5 group per run, written shard by shard, never half-believed.

1. `layout`: where everything lies: pyramid levels, shards, cells, world coordinates. Pure numbers.
2. `arrays`: the zarr arrays of a layout, created or opened.
3. `journal`: what is safely stored.
4. `shard_files`: `ShardMaps` and `ShardWriter`, the files of whole shards, from any process.
5. `writing`: `ResultStore`, the coordinator of one run.
6. `result`: `Result`, what a finished (or unfinished) run looks like to its reader.
7. `saving`: a result that is in memory, written to disk.
"""

from napari_damm.store.layout import ResultLayout, ShardStatus, halve, to_half
from napari_damm.store.result import Result, open_result
from napari_damm.store.saving import save_result
from napari_damm.store.shard_files import ShardMaps, ShardWriter
from napari_damm.store.writing import ResultStore
from napari_damm.util.errors import DiskFull
from napari_damm.util.lock import StoreLocked

__all__ = [
    "DiskFull",
    "Result",
    "ResultLayout",
    "ResultStore",
    "ShardMaps",
    "ShardStatus",
    "ShardWriter",
    "StoreLocked",
    "halve",
    "open_result",
    "save_result",
    "to_half",
]

"""Result stores with random content, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from napari_damm.store import ResultStore, ShardMaps

RECORD = {"model": {"name": "tiny", "sha256": "0" * 64}, "seed": 3, "roi": None, "lanes": [1, 2]}


def maps(layout, seed=0):
    """Random content of a whole result: np, uncertainty, branch (and np_std)."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=layout.shape).astype(np.float32)
    uncertainty = rng.random(layout.cells_shape, np.float32)
    branch = rng.integers(0, 3, layout.cells_shape, np.uint8)
    if layout.with_std:
        return image, uncertainty, branch, rng.random(layout.shape, np.float32)
    return image, uncertainty, branch


def shard_maps(layout, row, col, content):
    """One shard of a whole result."""
    pixels, cells = layout.shard_box(row, col).slices, layout.shard_cells(row, col).slices
    image, uncertainty, branch, *std = content
    return ShardMaps(image[pixels], uncertainty[cells], branch[cells], *(s[pixels] for s in std))


def write_all(store, content, order=1, only=None):
    for row, col, _ in list(store.layout.shards())[::order]:
        if only is None or (row, col) in only:
            store.write_shard(row, col, shard_maps(store.layout, row, col, content))


def stored(path, layout, seed=0, **how):
    store = ResultStore.create(path, layout, RECORD)
    write_all(store, maps(layout, seed), **how)
    return store


def everything(layout):
    return {(row, col) for row, col, _ in layout.shards()}


def resumed(path, content):
    """Continue a store to its end, as a resumed run does, and return what is read then."""
    with ResultStore.reopen(path) as store:
        write_all(store, content, only=everything(store.layout) - store.settled())
        return store.result()


def python(code, *arguments, **how):
    """Start another process with these helpers on its path; it takes its time from our stdin."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path[1:]])
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes, **how)

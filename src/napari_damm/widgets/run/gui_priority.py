"""What the worker does so that the screen need not wait for it.

1. It steps back: of two threads that want the processor, the one that draws goes first. On Linux
   threads have priorities of their own, and the engine's threads inherit this one's. Python's own
   lock is handed over after half a millisecond, for drawing asks for it hundreds of times.
2. It loads what the screen would otherwise load at first use: torch's libraries, and whatever
   napari imports when it makes our layers.
3. While it loads, and until the layers are there, no garbage is collected: every module makes
   thousands of objects, and Python would stop all threads for a quarter of a second, several
   times, to look through them.
4. Tiles go to the preview at once, in that thread.
5. Of a finished result it reads the small maps, so that showing them reads nothing.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_damm.events import Event, Finished, Planned, ShardDone, Tile
from napari_damm.widgets.run.preload import preload_torch
from napari_damm.widgets.viewer.layer_slides import World
from napari_damm.widgets.viewer.result_maps import Maps, layer_tuples

NICENESS = 5
SWITCH_INTERVAL_S = 0.0005
IN_MEMORY_PX = 2048**2


@dataclass(frozen=True)
class Ready:
    """The maps of a finished result, the small ones in memory."""

    maps: Maps


@contextmanager
def stepped_back() -> Iterator[None]:
    """Let the thread that draws go first."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    if sys.platform == "linux":
        with suppress(OSError):  # a courtesy
            thread = threading.get_native_id()
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, niceness)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Load without collections, and count what was loaded as old: it stays anyway."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        # Frozen and thawed, objects are in the oldest generation, which is seldom looked through.
        gc.freeze()
        gc.unfreeze()
        gc.enable()


def load_what_is_slow() -> None:
    """Import torch without holding the screen up, and what napari needs for our layers."""
    preload_torch()
    from napari.layers import Labels, Layer
    from vispy.visuals.line.dash_atlas import DashAtlas

    DashAtlas()  # computed once in pure Python, for the outline tool of any labels layer
    cells = np.zeros((2, 2), np.uint8)
    maps = Maps([cells.astype(np.float16)], cells, cells, 1.0, (0.0, 0.0), (0.0, 0.0), {})
    for layer_tuple in layer_tuples(maps, World()):
        layer = Layer.create(*layer_tuple)
        if isinstance(layer, Labels):
            layer.colormap.map(cells)  # as its thumbnail is: numba compiles for a second or more


def with_maps(events: Iterator[Event]) -> Iterator[Event | Ready]:
    """Pass events on, feed the preview, and before the last one tell what there will be to show."""
    preview: Any = None
    try:
        for event in events:
            match event:
                case Planned():
                    preview = event.preview
                case Tile():
                    preview.add(event)
                case ShardDone():
                    preview.shard_done(event.row, event.col)
                case Finished():
                    yield Ready(_small_in_memory(Maps.of_result(event.result)))
            yield event
    finally:
        # A test may hand over a plain iterator, which has nothing to close.
        getattr(events, "close", lambda: None)()


def _small_in_memory(maps: Maps) -> Maps:
    return replace(
        maps,
        np_levels=[_in_memory(level) for level in maps.np_levels],
        std_levels=[_in_memory(level) for level in maps.std_levels],
        uncertainty=_in_memory(maps.uncertainty),
        branch=_in_memory(maps.branch),
        familiarity=None if maps.familiarity is None else _in_memory(maps.familiarity),
    )


def _in_memory(array: Any) -> Any:
    small = array.shape[0] * array.shape[1] <= IN_MEMORY_PX
    return np.asarray(array) if small else array

"""What the worker does for the screen, and undoes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from napari_damm.widgets.run import preload
from napari_damm.widgets.run.gui_priority import no_garbage_collection, stepped_back

LOADED_FIRST = """
import sys
from pathlib import Path
from napari_damm.widgets.run.preload import preload_torch
assert preload_torch()
assert "torch" not in sys.modules
if sys.platform == "linux":
    assert "libtorch_cpu" in Path("/proc/self/maps").read_text()
import torch
assert torch.ones(2).sum() == 2
assert not preload_torch()
"""


def test_the_library_is_loaded_ahead_of_the_import():
    done = subprocess.run([sys.executable, "-c", LOADED_FIRST], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("error", [ImportError, OSError, AttributeError])
def test_a_preload_that_fails_does_nothing(monkeypatch, error):
    def fail():
        raise error("no library here")

    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(preload, "torch_libraries", fail)
    assert preload.preload_torch() is False


def in_a_thread(task) -> None:
    """Run a task as the worker does: priorities belong to threads."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(task).result()


def failing_within(manager, check):
    """Make a task that checks something inside a context, and then fails."""

    def task():
        with manager():
            assert check()
            raise RuntimeError("on purpose")

    return task


def test_the_switch_interval_is_given_back_even_after_an_error():
    before = sys.getswitchinterval()
    short = failing_within(stepped_back, lambda: sys.getswitchinterval() < before)
    with pytest.raises(RuntimeError, match="on purpose"):
        in_a_thread(short)
    assert sys.getswitchinterval() == before


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priorities of their own")
def test_the_worker_steps_back_and_the_screen_does_not():
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    here = niceness()
    with pytest.raises(RuntimeError, match="on purpose"):
        in_a_thread(failing_within(stepped_back, lambda: niceness() > here))
    assert niceness() == here


def test_garbage_is_collected_again_even_after_an_error():
    with pytest.raises(RuntimeError, match="on purpose"):
        in_a_thread(failing_within(no_garbage_collection, lambda: not gc.isenabled()))
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_who_switched_collection_off_finds_it_off():
    gc.disable()
    try:
        with no_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

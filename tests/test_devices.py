"""Which devices are there, told without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from napari_damm.util import devices
from napari_damm.util.devices import devices_here


@pytest.fixture
def without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())  # as while it is being imported


@pytest.fixture
def built(tmp_path, monkeypatch, without_torch):
    """A folder of torch's libraries, and a driver file that may be there."""
    monkeypatch.setattr(devices, "torch_libraries", lambda: tmp_path)
    monkeypatch.setattr(devices, "_DRIVERS", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


def test_torch_itself_is_asked_where_it_is_loaded(monkeypatch):
    for cuda in (True, False):
        for mps in (True, False):
            monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
            monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
            expected = ["auto", "cpu", *(["cuda"] * cuda), *(["mps"] * mps)]
            assert list(devices_here()) == expected


@pytest.mark.parametrize(
    ("files", "there"),
    [
        ((), False),
        (("nvidiactl",), False),
        (("libtorch_cuda.so",), False),
        (("libtorch_cuda.so", "nvidiactl"), True),
        (("libtorch_hip.so", "nvidiactl"), True),
    ],
)
def test_a_card_needs_a_torch_that_was_built_for_it_and_a_driver(built, files, there):
    for name in files:
        (built / name).touch()
    assert ("cuda" in devices_here()) is there


def test_windows_keeps_its_driver_among_its_own_files(built, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("SYSTEMROOT", str(built))
    (built / "torch_cuda.dll").touch()
    assert "cuda" not in devices_here()
    (built / "System32").mkdir()
    (built / "System32" / "nvcuda.dll").touch()
    assert "cuda" in devices_here()


@pytest.mark.parametrize(
    ("system", "machine", "there"),
    [("darwin", "arm64", True), ("darwin", "x86_64", False), ("linux", "arm64", False)],
)
def test_only_macs_with_apples_processor_have_its_graphics(
    built, monkeypatch, system, machine, there
):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(devices.platform, "machine", lambda: machine)
    assert ("mps" in devices_here()) is there


def test_where_torch_is_missing_there_is_the_processor(monkeypatch, without_torch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda _: None)
    assert devices_here() == ("auto", "cpu")


ASKED = """
import json, sys
real = sys.platform
from napari_damm.util import devices
from napari_damm.util.devices import devices_here
{shown}
before = devices_here()
assert "torch" not in sys.modules
sys.platform = real
import torch
{used}
print(json.dumps([before, devices_here()]))
"""


@pytest.mark.parametrize("there", [False, True])
def test_asking_loads_no_torch_and_keeps_back_nothing_that_torch_finds(tmp_path, there):
    """In a process of its own: before torch is imported, and after. The card is made up."""
    shown = used = ""
    if there:
        (tmp_path / "libtorch_cuda.so").touch()
        (tmp_path / "nvidiactl").touch()
        shown = f"""
sys.platform = "linux"
devices.torch_libraries = lambda: devices.Path({str(tmp_path)!r})
devices._DRIVERS = ({str(tmp_path / "nvidiactl")!r},)
"""
        used = "torch.cuda.is_available = lambda: True"
    code = ASKED.format(shown=shown, used=used)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert set(after) <= set(before)
    assert ("cuda" in after) or not there

"""Child processes import what this one does, and nothing that lies in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import jobs
import pytest

import napari_damm
from napari_damm.util.children import SAFE, safe_children, safe_environment

TRAPS = ("queue", "torch", "numpy", "zarr", "pickle", "cupy", "napari_damm")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """The current folder holds files that leave a mark when they are imported."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in TRAPS:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    monkeypatch.chdir(folder)
    yield folder
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("on_path", ["", "."])
def test_a_child_takes_no_module_from_the_current_folder(trap, monkeypatch, on_path):
    monkeypatch.setattr(sys, "path", [on_path and str(trap), *sys.path])
    code = "import queue, pickle, napari_damm; print(napari_damm.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=safe_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == napari_damm.__file__
    # its own children are safe too
    assert (
        safe_environment(NAPARI_DAMM_TEST="1").items()
        >= {SAFE: "1", "NAPARI_DAMM_TEST": "1"}.items()
    )


@pytest.mark.slow
def test_worker_processes_take_no_module_from_the_folder_of_the_data(trap, tmp_path):
    jobs.make(tmp_path)
    events = jobs.run(tmp_path, tmp_path / "r.ome.zarr", workers=2)
    assert not events[-1].failed


@pytest.mark.parametrize(("spec", "expected"), [(None, None), ("napari_damm.cli", "1")])
def test_what_a_library_starts_as_a_module_is_safe_and_a_script_keeps_its_folder(
    monkeypatch, spec, expected
):
    monkeypatch.delenv(SAFE, raising=False)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
    with safe_children():
        assert os.environ.get(SAFE) == expected
    assert SAFE not in os.environ

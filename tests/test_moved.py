"""Modules by the names of the last release."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import napari_damm
from napari_damm.util.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_a_module_is_found_by_its_old_name_with_a_warning(old):
    sys.modules.pop(f"napari_damm.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"napari_damm.{old} is napari_damm.{MOVED[old]}"):
        module = import_module(f"napari_damm.{old}")
    now = import_module(f"napari_damm.{MOVED[old]}")
    assert module is now
    assert now.__spec__ is not None
    assert now.__name__ == now.__spec__.name == f"napari_damm.{MOVED[old]}"


def test_no_old_name_hides_a_module_that_there_is():
    assert not [old for old in MOVED if _is_there(old)]


def _is_there(name: str) -> bool:
    from importlib.machinery import PathFinder

    return PathFinder.find_spec(f"napari_damm.{name}", napari_damm.__path__) is not None


def test_a_name_that_never_was_is_still_missing():
    with pytest.raises(ModuleNotFoundError, match=r"napari_damm\.nothing"):
        import_module("napari_damm.nothing")


def test_the_warning_points_at_whoever_imports(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from napari_damm.config import PredictConfig\n")
    done = subprocess.run(
        [sys.executable, "-W", "default::DeprecationWarning", str(script)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{script.name}:1: DeprecationWarning: napari_damm.config is" in done.stderr

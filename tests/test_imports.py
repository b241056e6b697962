"""What an import costs: each one is watched from outside, in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

GUI = {"qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "superqt", "pyqtgraph"}
GUI |= {"vispy", "napari", "npe2"}


def modules_after(statement: str) -> set[str]:
    """Top-level modules loaded by a fresh interpreter after one statement."""
    code = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_no_torch_no_gui_and_no_numpy():
    loaded = modules_after("import napari_damm")
    assert not loaded & (GUI | {"torch", "numpy", "dask", "zarr", "matplotlib"})


def modules_after_importing(*names: str) -> set[str]:
    return modules_after("import " + ", ".join(f"napari_damm.{name}" for name in names))


def test_the_engine_side_loads_no_gui_and_no_torch():
    names = ("engine", "api", "cli", "slide", "store", "model_file", "analysis")
    assert not modules_after_importing(*names) & (GUI | {"torch"})


def test_a_prediction_loads_no_optimiser_no_tests_and_no_figures():
    large = ("scipy.optimize", "scipy.stats", "matplotlib", "skimage.morphology", "statsmodels")
    found = f"*[name for name in {large} if name in sys.modules]"
    code = f"import sys, napari_damm.api, napari_damm.engine.run; print({found})"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_engine_loads_no_gui_even_with_torch_loaded():
    loaded = modules_after_importing("engine", "model.damm")
    assert "torch" in loaded
    assert not loaded & GUI


def test_pure_modules_load_no_torch():
    names = ("simulate", "util.tiling", "events", "engine.noise", "evaluation", "util.metrics")
    names += ("util.extravasation", "evaluation.section_figure")
    assert not modules_after_importing(*names) & (GUI | {"torch"})


def test_importing_the_widgets_loads_no_torch():
    assert "torch" not in modules_after("import napari_damm.widgets")


def test_public_names_are_those_of_the_api():
    code = (
        "import napari_damm, napari_damm.api as api;"
        "names = [n for n in napari_damm.__all__ if n != '__version__'];"
        "assert all(getattr(napari_damm, n) is getattr(api, n) for n in names)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_unknown_names_raise_attribute_error():
    import napari_damm

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = napari_damm.nonsense

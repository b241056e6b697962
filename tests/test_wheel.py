"""The wheel as a user gets it: what is inside, and whether it works where only it is installed.

And the source distribution, from which others test and build it.
"""

from __future__ import annotations

import email
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from light_venv import create

ROOT = Path(__file__).parents[1]
LARGEST_MB = 60


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment in which the wheel alone is ours."""
    return create(tmp_path_factory.mktemp("fresh") / "venv", wheel)


def run(python, *args):
    """Run the environment's Python far from the checkout."""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-W", "ignore", *args],
        capture_output=True,
        text=True,
        env=env,
        cwd=python.parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_carries_the_code_the_manifest_the_weights_and_the_licence(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "napari_damm/__init__.py" in names
    assert "napari_damm/py.typed" in names
    assert "napari_damm/napari.yaml" in names
    assert "napari_damm/weights/small.safetensors" in names
    assert "napari_damm/weights/README.md" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_carries_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"napari_damm", wheel.name.rpartition("-py3")[0] + ".dist-info"}


def test_it_is_small(wheel):
    assert wheel.stat().st_size < LARGEST_MB * 2**20


def test_it_never_demands_a_qt_binding(wheel):
    (metadata,) = (n for n in zipfile.ZipFile(wheel).namelist() if n.endswith("/METADATA"))
    text = zipfile.ZipFile(wheel).read(metadata).decode()
    message = email.message_from_string(text)
    wanted = [r for r in message.get_all("Requires-Dist") if "extra ==" not in r]
    assert wanted
    assert not [r for r in wanted if "qt5" in r.lower() or "qt6" in r.lower() or "side" in r]
    assert "Framework :: napari" in message.get_all("Classifier")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout tells what is tracked")
def test_the_source_distribution_carries_all_that_is_tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True)
    carried = {each.distribution_path for each in SdistBuilder(ROOT).recurse_included_files()}
    tracked = {name for name in listed.stdout.decode().splitlines() if (ROOT / name).exists()}
    assert len(tracked) > 500
    assert tracked - carried == {".gitignore", "LICENSE", "README.md", "pyproject.toml"}, (
        "all but what hatchling adds of itself"
    )


def test_installed_it_is_imported_from_its_own_environment(python):
    where = run(python, "-c", "import napari_damm; print(napari_damm.__file__)")
    assert Path(where).is_relative_to(python.parents[1])


def test_installed_it_finds_its_bundled_model(python):
    code = "from napari_damm.model_file import find_model; print(find_model())"
    assert Path(run(python, "-c", code)).is_relative_to(python.parents[1])


def test_installed_its_command_runs(python):
    command = python.parent / ("napari-damm.exe" if sys.platform == "win32" else "napari-damm")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"napari-damm {run(python, '-c', VERSION)}"


def test_installed_its_manifest_is_valid_and_all_its_commands_import(python):
    told = run(python, "-m", "npe2", "validate", "napari-damm", "--imports")
    assert "valid" in told


VERSION = "import napari_damm; print(napari_damm.__version__)"

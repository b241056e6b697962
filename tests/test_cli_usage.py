"""What a newcomer writes instead of what was meant, and the sentence that helps."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_damm import cli
from napari_damm.cli.usage import said_of_number

PREDICT = ["predict", "a.tif", "--out", "r.ome.zarr"]


def refused(capfd, args):
    assert cli.main(args) == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line.removeprefix("napari-damm: ")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--pixel-size", "0,65"], "--pixel-size must be a number, got '0,65': write 0.65"),
        (["--pixel-size=0,65"], "--pixel-size must be a number, got '0,65': write 0.65"),
        (["--pixel-size", "-,5"], "--pixel-size must be a number, got '-,5': write -.5"),
        (["--pixel-size", "1,024"],
         "--pixel-size must be a number, got '1,024': write 1.024, or 1024 for thousands"),
        (["--pixel-size", "0,65,3"], "--pixel-size must be a number, got '0,65,3'"),
        (["--pixel-size", "half"], "--pixel-size must be a number, got 'half'"),
        (["--roi", "0", "1", "2,5", "9"], "--roi must be a number, got '2,5': write 2.5"),
        (["--steps", "2,5"], "--steps must be a whole number, got '2,5'"),
        (["--seed", "10,000"], "--seed must be a whole number, got '10,000': write 10000"),
        (["--gamma", "0.5", "--seed", "x"], "--seed must be a whole number, got 'x'"),
        (["--seed", "1", "b.tif", "--seed", "x"], "--seed must be a whole number, got 'x'"),
        (["--seed", "x", "b.tif", "--seed", "y"], "--seed must be a whole number, got 'y'"),
        (["--roi", "0", "1", "2", "9", "b.tif", "--roi", "a", "1", "2", "3"],
         "--roi must be a number, got 'a'"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_shown_with_what_to_write(args, said, capfd):
    assert refused(capfd, [*PREDICT, *args]) == said


@pytest.mark.parametrize("command", [["train", "a.tif"], ["analyze", "a.tif"], ["evaluate", "a"]])
def test_every_command_says_so(command, capfd):
    given = [*command, "--out", "r", "--pixel-size", "0,65"]
    assert refused(capfd, given).endswith("got '0,65': write 0.65")


def test_other_errors_are_left_to_those_who_know_them():
    assert said_of_number(ValueError("no valid number"), ["--x", "0,6"]) == ""


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "mice"
    inside.mkdir()
    for name in ("m2.tif", "m1.tif", ".hidden.tif"):
        tifffile.imwrite(inside / name, np.zeros((8, 8), np.uint8))
    (inside / "notes.txt").write_text("m1 is the control")
    return inside


def test_for_a_folder_of_images_the_way_for_many_is_named(folder, tmp_path, capfd):
    said = refused(capfd, ["predict", str(folder), "--out", str(tmp_path / "r.ome.zarr")])
    for words in ("folder with 2 images", "give --out-dir DIR", f"such as {folder / 'm1.tif'}"):
        assert words in said


def test_elsewhere_an_image_in_it_is_named(folder, tmp_path, capfd):
    said = refused(capfd, ["analyze", str(folder), "--out", str(tmp_path / "numbers")])
    assert f"not an OME-Zarr image: give an image in it, such as {folder / 'm1.tif'}" in said


ALL_TOO = ", or take them all with --z all"


@pytest.mark.parametrize(
    ("args", "more"),
    [
        (["predict", "--out", "r.ome.zarr"], ALL_TOO),
        (["predict", "--out", "r.ome.zarr", "--z", "3"], None),
        (["analyze", "--out", "numbers"], ""),
        (["train", "--target-channel", "QD", "--out", "runs"], ""),
        (["evaluate", "--target-channel", "QD", "--out", "judged"], ""),
    ],
)
def test_of_a_stack_each_command_advises_what_it_takes(args, more, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    image = np.zeros((3, 3, 32, 32), np.uint16)
    metadata = {"axes": "ZCYX", "Channel": {"Name": ["CD31", "DAPI", "QD"]}}
    tifffile.imwrite("a.ome.tif", image, photometric="minisblack", metadata=metadata)
    said = refused(capfd, [args[0], "a.ome.tif", "--pixel-size", "1", *args[1:]])
    none_chosen = f"a.ome.tif has 3 z planes: choose one with --z N{more}"
    out_of_range = "a.ome.tif has 3 z planes and no number 3: choose one of 0..2 with --z N"
    assert said.endswith(out_of_range if more is None else none_chosen)


def test_it_runs_as_a_module_where_its_script_is_on_no_path():
    """In a process of its own: as it ends, the command ignores signals from then on."""
    command = [sys.executable, "-m", "napari_damm", "--version"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("napari-damm ")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Failed to import Qt bindings. We found pyqt6=6.11.0.\npyqt6: Traceback (most recent "
            'call last):\n  File "a.py", line 51, in <module>\n'
            "ImportError: libEGL.so.1: cannot open shared object file\n",
            "--gui needs napari with Qt (the one that is installed cannot be loaded: ImportError: "
            "libEGL.so.1: cannot open shared object file): install what that names, or run "
            "without --gui",
        ),
        (
            "No Qt bindings could be found for napari==0.9.2.\n\nnapari requires either PyQt5 ...",
            "--gui needs napari with Qt (No Qt bindings could be found for napari==0.9.2.): pip "
            'install "napari-damm[all]"',
        ),
        ("", '--gui needs napari with Qt (RuntimeError): pip install "napari-damm[all]"'),
    ],
)
def test_a_qt_that_cannot_be_loaded_is_told_in_a_sentence(capfd, tmp_path, monkeypatch, said, told):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "napari.qt":
                raise RuntimeError(said) if not said else ImportError(said)

    monkeypatch.delitem(sys.modules, "napari.qt", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert refused(capfd, ["demo", "--gui", "--out", str(tmp_path / "demo")]) == told

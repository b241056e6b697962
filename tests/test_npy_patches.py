"""Patches in numpy files, as HRPN and GANDA name them: read lazily, and hostile ones refused."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
from training_data import images
from trainings import config, quick

from napari_damm.dataset import FolderSource, open_sections
from napari_damm.events import Finished
from napari_damm.slide import npy
from napari_damm.slide.npy import read_npy_planes
from napari_damm.train import fine_tune

PIXELS = np.arange(2 * 5 * 7, dtype=np.int16).reshape(1, 2, 5, 7)


def write_patches(folder, sections=2, patches=3, side=256):
    """Write a folder; returns the images by section and number."""
    made = {}
    for section in range(1, sections + 1):
        for number in range(patches):
            three = images((side, side), 10 * section + number)
            name = f"slice_{section:02d}_{number:04d}.npy"
            inputs = np.stack([three["secondary"], three["primary"]])[None].astype(np.int16)
            for kind, array in (("Complex", inputs), ("SpOrange", three["target"][None, None])):
                (folder / f"{kind}_train").mkdir(parents=True, exist_ok=True)
                np.save(folder / f"{kind}_train" / name, array.astype(np.int16))
            made[section, number] = three
    return made


def test_patches_are_pairs_of_files_with_nuclei_first_and_vessels_second(tmp_path):
    made = write_patches(tmp_path, side=40)
    found = list(open_sections(FolderSource(tmp_path, pixel_size_um=0.5)))
    assert [each.name for each in found] == [
        f"Complex_train/slice_{s:02d}_{n:04d}.npy" for s in (1, 2) for n in range(3)
    ]
    for section, three in zip(found, made.values(), strict=True):
        for role, image in three.items():
            raster = section.raster(role)
            assert raster.pixel_size_um == 0.5
            assert np.array_equal(raster.planes[0][3:20, 5:40], image[3:20, 5:40])


def test_patches_of_one_section_are_one_family(tmp_path):
    write_patches(tmp_path, side=32)
    found = list(open_sections(FolderSource(tmp_path, pixel_size_um=0.5)))
    assert len({each.folder for each in found}) == 2
    assert found[0].folder == found[2].folder != found[3].folder


def test_opening_reads_headers_only(tmp_path, monkeypatch):
    write_patches(tmp_path, side=32)
    monkeypatch.setattr(npy.NpyPlaneSource, "load", None)
    assert len(list(open_sections(FolderSource(tmp_path, pixel_size_um=0.5)))) == 6


def test_without_a_pixel_size_it_is_asked_for(tmp_path):
    write_patches(tmp_path, 1, 1, 32)
    with pytest.raises(ValueError, match=r"has no pixel size .*: give pixel_size_um"):
        list(open_sections(FolderSource(tmp_path)))


def test_a_training_learns_from_them(tmp_path, tiny_base_file):
    write_patches(tmp_path / "data", 2, 2)
    source = FolderSource(tmp_path / "data", pixel_size_um=1.0)
    short = config(epochs=1, variants=1, validations=1, validation_windows=1)
    with quick():
        events = list(fine_tune(source, tiny_base_file, short, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert events[-1].result.path.is_file()


def alone(folder):
    (folder / "SpOrange_train" / "slice_01_0000.npy").unlink()
    return "slice_01_0000.npy .1 in all. has no SpOrange file"


def other_name(folder):
    np.save(folder / "Complex_train" / "mean.npy", PIXELS)
    return "mean.npy is not named as a patch"


def twice(folder):
    np.save(folder / "Complex_train" / "copy_01_0000.npy", PIXELS)
    return "are the same patch"


def other_size(folder):
    np.save(folder / "SpOrange_train" / "slice_01_0000.npy", np.zeros((1, 1, 9, 9), np.int16))
    return "is 9 x 9 px and .* 32 x 32"


@pytest.mark.parametrize("gone", ["Complex", "SpOrange"])
def test_half_of_such_a_folder_is_told_what_it_lacks(gone, tmp_path):
    write_patches(tmp_path, 1, 2, 32)
    shutil.rmtree(tmp_path / f"{gone}_train")
    with pytest.raises(OSError, match=rf"and none called {gone}\*: give both"):
        list(open_sections(FolderSource(tmp_path, pixel_size_um=0.5)))


@pytest.mark.parametrize("spoil", [alone, other_name, twice, other_size])
def test_what_does_not_fit_is_named(spoil, tmp_path):
    write_patches(tmp_path, 1, 2, 32)
    with pytest.raises(ValueError, match=spoil(tmp_path)):
        list(open_sections(FolderSource(tmp_path, pixel_size_um=0.5)))


# ---------------------------------------------------------------- one file


@pytest.mark.parametrize("stored", ["<i2", ">i2", "<u1", "<f4", ">f8"])
def test_planes_are_the_numbers_of_the_file(stored, tmp_path):
    np.save(tmp_path / "a.npy", PIXELS.astype(stored))
    nuclei, vessels = read_npy_planes(tmp_path / "a.npy", 2)
    assert nuclei.dtype.isnative
    assert np.array_equal(nuclei[1:4, 2:6], PIXELS[0, 0, 1:4, 2:6])
    assert np.array_equal(vessels[0:5, 0:7], PIXELS[0, 1])


def header(text, version=b"\x01\x00", size="<H"):
    raw = text if isinstance(text, bytes) else text.encode()
    return b"\x93NUMPY" + version + np.array(len(raw), size).tobytes() + raw


def described(shape="(1, 2, 5, 7)", descr="'<i2'", order="False"):
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n")


HOSTILE = {
    "empty": (b"", "not a numpy file"),
    "pickle": (pickle.dumps({"a": 1}), "not a numpy file"),
    "objects": (described(descr="'|O'") + pickle.dumps([1]), "must hold integer or floating"),
    "records": (described(descr="[('a', '<i2')]"), "must hold integer or floating"),
    "complex": (described(descr="'<c8'"), "must hold integer or floating"),
    "code": (header("__import__('os').system('touch spoiled')\n"), "not a numpy file"),
    "deep": (header("(" * 9000), "not a numpy file"),
    "long header": (header("{" + " " * 20_000 + "}"), "not a numpy file"),
    "endless header": (header(b"{", b"\x02\x00", "<I")[:8] + b"\xff" * 4, "not a numpy file"),
    "version 9": (header("{}", b"\x09\x00"), "not a numpy file"),
    "few axes": (described("(5, 7)") + bytes(70), "must hold an array"),
    "other channels": (described("(1, 3, 5, 7)") + bytes(210), "must hold an array"),
    "huge": (described(f"(1, 2, {10**18}, {10**18})"), "1 to 32768 px a side"),
    "absurd": (described(f"(1, 2, {10**3000}, 1)"), "1 to 32768 px a side, got of 2 absurd sizes"),
    "none": (described("(1, 2, 0, 7)"), "1 to 32768 px a side"),
    "below none": (described("(1, 2, -5, -7)") + bytes(140), "1 to 32768 px a side"),
    "bomb": (described("(1, 2, 32768, 32768)"), "more than 268435456 pixels"),
    "cut short": (described() + bytes(139), "cut short or damaged"),
    "too long": (described() + bytes(141), "cut short or damaged"),
    "by columns": (described(order="True") + bytes(140), "column by column"),
}


@pytest.mark.parametrize(("data", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_a_sentence(data, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=said) as raised:
        read_npy_planes(tmp_path / "a.npy", 2)
    assert len(str(raised.value)) < 400
    assert not (tmp_path / "spoiled").exists()


def test_a_file_that_shrinks_while_it_is_read_is_no_crash(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    _, vessels = read_npy_planes(tmp_path / "a.npy", 2)
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-1])
    with pytest.raises(OSError, match="cut short while it was read"):
        vessels[0:5, 0:7]

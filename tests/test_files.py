"""Files and folders are written whole or not at all; what is there is not written over."""

from __future__ import annotations

import errno
import os

import pytest

from napari_damm.cli.train import _check_name
from napari_damm.evaluation.calibrated_file import CalibratedFile
from napari_damm.model_file import import_model, load_model
from napari_damm.train import run_folder
from napari_damm.util import files
from napari_damm.util.files import (
    check_new,
    check_writable,
    copy_file,
    replace_file,
    sha256,
    sweep,
    written_folder,
    written_whole,
)


class Stopped(BaseException):
    """What a kill or Ctrl-C looks like to the writer."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["file", "folder", "link to nothing"])
def test_an_output_that_exists_is_refused_in_one_sentence(tmp_path, kind):
    path = tmp_path / "out"
    {"file": path.touch, "folder": path.mkdir, "link to nothing": lambda: path.symlink_to("gone")}[
        kind
    ]()
    for error in (OSError, ValueError):  # bad input is either, to whoever catches one of them
        with pytest.raises(error, match=r"out already exists: remove it or choose another name$"):
            check_new(path)


def test_a_missing_folder_around_an_output_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .*nowhere does not exist: create it"):
        check_new(tmp_path / "nowhere" / "out")
    assert check_new(tmp_path / "out") == tmp_path / "out"


@pytest.mark.parametrize("error", [Stopped(), OSError(errno.ENOSPC, "full"), KeyError("x")])
def test_a_writer_that_is_stopped_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")

    def write():
        with written_whole(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == ["a.txt"]
    assert path.read_bytes() == b"old"


def test_a_system_error_keeps_its_number_and_names_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"cannot be written: full.*a\.txt") as caught,
        written_whole(tmp_path / "a.txt"),
    ):
        raise OSError(errno.EDQUOT, "full")
    assert caught.value.errno == errno.EDQUOT


@pytest.mark.parametrize("content", [b"new", b""])
def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch, content):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    synced = []

    def note(handle):
        synced.append((os.fstat(handle).st_ino, path.read_bytes()))

    monkeypatch.setattr(files.os, "fsync", note)
    replace_file(path, content)
    assert path.read_bytes() == content
    assert synced[0] == (path.stat().st_ino, b"old")
    if os.name == "posix":
        assert synced[1:] == [(tmp_path.stat().st_ino, content)]


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "a.txt").symlink_to(tmp_path / "elsewhere")
    replace_file(tmp_path / "a.txt", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert not (tmp_path / "a.txt").is_symlink()
    assert (tmp_path / "a.txt").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["n" * 255, "ä" * 127, "a.b.c"])
def test_any_name_that_the_file_system_takes_can_be_written(tmp_path, name):
    replace_file(tmp_path / name, b"1")
    with written_folder(tmp_path / f"{name[:-1]}f") as folder:
        (folder / "x").touch()
    assert names(tmp_path) == sorted([name, f"{name[:-1]}f"])


@pytest.mark.parametrize("error", [Stopped(), OSError(errno.ENOSPC, "full")])
def test_a_folder_is_there_whole_or_not_at_all(tmp_path, error):
    def write():
        with written_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == []
    with written_folder(tmp_path / "out") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("whole")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out/sub/a").read_text() == "whole"


def test_a_folder_takes_along_what_a_killed_writer_of_the_same_name_left(tmp_path):
    mine, other = (tmp_path / f".{name}.{'0a' * 16}.partial" for name in ("out", "another"))
    mine.mkdir()
    other.mkdir()
    with written_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == sorted([other.name, "out"])


def test_a_folder_that_exists_is_not_touched(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError), written_folder(tmp_path / "out"):
        pytest.fail("must not begin")
    assert names(tmp_path) == ["out"]


def test_a_copy_has_the_bytes_and_the_hash_of_the_original(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 9000)
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert sha256(tmp_path / "a") == sha256(tmp_path / "b")
    (tmp_path / "c").write_bytes(b"abc")  # the first vector of FIPS 180
    assert sha256(tmp_path / "c").startswith("ba7816bf8f01cfea414140de5dae2223b00361a3")


def test_sweeping_takes_only_what_a_writer_leaves(tmp_path):
    (tmp_path / f".a.txt.{'0a' * 16}.partial").touch()
    (tmp_path / "mine.partial").touch()
    sweep(tmp_path)
    assert names(tmp_path) == ["mine.partial"]


def write_on_a_full_disk(path):
    with written_folder(path) as folder:
        (folder / "a").write_bytes(b"a")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_while_a_folder_is_written_is_told_with_the_folder(tmp_path):
    with pytest.raises(OSError, match="cannot be written: No space left") as caught:
        write_on_a_full_disk(tmp_path / "out")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "out"))
    with pytest.raises(OSError, match=r"^it is damaged$"), written_folder(tmp_path / "out"):
        raise OSError("it is damaged")  # a sentence of ours stays as it is
    assert names(tmp_path) == []


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """A folder that may not be written, for root too; what is in `free` below it may."""
    folder, ask = tmp_path / "kept", os.access
    (folder / "free").mkdir(parents=True)
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != folder and ask(path, mode)
    )  # fmt: skip
    return folder


def test_a_folder_that_may_not_be_written_is_refused_before_the_work(read_only, tmp_path):
    said = r"^the folder .*kept may not be written: choose another place$"
    for refuse in (check_new, check_writable):
        with pytest.raises(PermissionError, match=said):
            refuse(read_only / "out")
    with pytest.raises(PermissionError, match=said):
        check_writable(read_only / "new" / "out")
    check_writable(read_only / "free")
    assert check_new(read_only / "free" / "out").parent.name == "free"


def test_trainings_models_and_calibrations_are_refused_there_at_once(read_only, monkeypatch):
    monkeypatch.setenv("NAPARI_DAMM_MODELS", str(read_only / "models"))
    with pytest.raises(PermissionError, match="kept may not be written"):
        run_folder.check_new(read_only / "run")
    with pytest.raises(PermissionError, match="kept may not be written"):
        _check_name("mine", resume=False)
    model = load_model(None, "cpu")
    with pytest.raises(PermissionError, match="kept may not be written"):
        CalibratedFile.of(model, "new")
    with pytest.raises(PermissionError, match="kept may not be written"):
        import_model(model.file, "new")

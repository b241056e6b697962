"""What a command writes to stdout and stderr, whatever became of them."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import pytest

from napari_damm import cli
from napari_damm.cli.streams import echo, safe_streams


def test_control_sequences_do_not_reach_the_terminal(capsys):
    with safe_streams():
        echo("a\x1b[2Jb\tc\rd")
        sys.stderr.write("\rbar \x1b[31m\n")
    out, err = capsys.readouterr()
    assert out == "a\\x1b[2Jb\tc\\rd\n"
    assert err == "\rbar \\x1b[31m\n"


def test_letters_that_the_encoding_lacks_become_escapes(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with safe_streams():
        echo("0.5 µm 中")
    assert raw.getvalue() == b"0.5 \\xb5m \\u4e2d\n"


def test_a_stream_that_is_closed_takes_everything(monkeypatch):
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stdout", stream)
        with safe_streams():
            echo("to nobody")
            assert not sys.stdout.isatty()


def test_a_reader_that_has_gone_stops_no_job(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    with safe_streams():
        echo("to nobody")
        echo("nor this")


def test_a_full_disk_is_not_hidden(monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OSError, match="No space"), safe_streams():
        echo("to a full disk")


def test_the_streams_are_as_they_were_afterwards():
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), safe_streams():
        raise ZeroDivisionError
    assert (sys.stdout, sys.stderr) == before


def test_an_empty_argument_is_refused_before_it_means_the_current_folder(capfd):
    assert cli.main(["predict", "", "--out", "r.ome.zarr"]) == 2
    said = capfd.readouterr().err
    assert said == (
        "napari-damm: an argument is empty, after predict: look for a variable without value\n"
    )


def test_a_command_whose_reader_has_gone_ends_well():
    command = f"{sys.executable} -W ignore -m napari_damm.cli models list | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

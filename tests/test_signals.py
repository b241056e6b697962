"""Signals, as a shell or a batch system sends them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from napari_damm.cli.signals import NUMBERS, asked_to_stop, interruptible

SIGNALS = pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number.name)


@SIGNALS
def test_the_first_signal_is_a_request_and_the_second_interrupts(number):
    with asked_to_stop() as request:
        assert not request.asked
        signal.raise_signal(number)
        assert request.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


@SIGNALS
def test_a_signal_interrupts(number):
    with interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("handled", [asked_to_stop, interruptible])
def test_handlers_are_as_before_afterwards(handled):
    before = [signal.getsignal(number) for number in NUMBERS]
    with handled():
        pass
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_in_another_thread_nothing_is_handled_and_nothing_fails():
    asked = []

    def work():
        with asked_to_stop() as request, interruptible():
            asked.append(request.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]


@SIGNALS
def test_further_signals_do_not_disturb_the_clean_up(number):
    cleaned = []

    def job():
        try:
            yield
        finally:
            signal.raise_signal(number)
            cleaned.append("job")

    def run():
        events = job()
        next(events)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            signal.raise_signal(number)
            raise RuntimeError("interrupted") from None
        finally:
            events.close()
            signal.raise_signal(number)
            cleaned.append("run")

    with interruptible(), pytest.raises(RuntimeError, match="interrupted"):
        run()
    assert cleaned == ["job", "run"]


def test_an_interrupt_that_was_lost_does_not_make_deaf():
    with interruptible():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)


def test_what_was_ignored_from_the_start_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(), asked_to_stop() as request:
            signal.raise_signal(signal.SIGINT)
        assert not request.asked
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


# ---------------------------------------------------------------- whole processes

posix = pytest.mark.skipif(os.name != "posix", reason="Windows sends no such signals")

WHILE_LOADING = """
import os, sys
class Tripwire:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, Tripwire())
"""
# Three times: at work, while the file is taken away, and when all is done.
WHILE_WORKING = """
import atexit, os, pathlib
import napari_damm.simulate as simulate
write, unlink = simulate.write_section, pathlib.Path.unlink
def send(*anything):
    os.kill(os.getpid(), {number})
def written(section, path):
    write(section, path)
    send()
def unlinked(path, **options):
    if path.name == "s.ome.tif":
        send()
    unlink(path, **options)
simulate.write_section, pathlib.Path.unlink = written, unlinked
atexit.register(send)
"""
RUN = "import sys; from napari_damm.cli import main; sys.exit(main())"


@posix
@SIGNALS
@pytest.mark.parametrize("before", [WHILE_LOADING, WHILE_WORKING], ids=["loading", "working"])
def test_a_command_ends_with_130_and_one_line_and_leaves_nothing(number, before, tmp_path):
    code = before.format(number=int(number)) + RUN
    command = [sys.executable, "-c", code, "simulate", "s.ome.tif", "--size", "256"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.split("\n") == ["napari-damm: interrupted", ""]
    assert ended.stdout == ""
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "0<&- 1>&- 2>&-"])
def test_a_closed_stream_disturbs_nothing(closed, tmp_path):
    command = f'exec "{sys.executable}" -m napari_damm.cli simulate s.ome.tif --size 256 {closed}'
    ended = subprocess.run(["sh", "-c", command], cwd=tmp_path, check=False)
    assert ended.returncode == 0
    import tifffile

    assert tifffile.imread(tmp_path / "s.ome.tif").shape == (5, 256, 256)


@posix
def test_a_message_that_nobody_reads_does_not_change_the_outcome(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "napari_damm.cli", "simulate", "section.png"]
    ended = subprocess.run(command, cwd=tmp_path, stderr=writer, check=False)
    os.close(writer)
    assert ended.returncode == 2


@pytest.mark.slow
@posix
def test_the_demonstration_does_without_a_display_only_if_it_needs_none(tmp_path):
    pytest.importorskip("qtpy")
    nowhere = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    nowhere["QT_QPA_PLATFORM"] = "xcb"
    command = [sys.executable, "-m", "napari_damm.cli", "demo", "--gui", "--out", "demo"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=nowhere, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "napari-damm: --gui needs a display, and Qt finds none: run it without --gui"
    ]
    assert list(tmp_path.iterdir()) == []

"""Faults in the middle of a run: bad windows, no memory, a full disk, signals, a second writer."""

from __future__ import annotations

import signal
import subprocess
import sys

import crashing
import jobs
import numpy as np
import pytest
import torch
from jobs import assert_steps_add_up, digest, of, options, run

from napari_damm import cli
from napari_damm.engine import sampler, windows
from napari_damm.engine.recovery import NothingWorks
from napari_damm.engine.sampler import WindowSampler
from napari_damm.events import FailedItem, Notice, Planned, ShardDone, Step, Tile
from napari_damm.store import ResultStore, ShardStatus, open_result

WINDOWS = 6
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        jobs.quick_first_stages(patch.setattr)
        patch.setattr(windows, "PAUSES_S", (0.0, 0.0))
        yield


@pytest.fixture(scope="module")
def whole(folder):
    return run(folder, None)


def failing_reads(monkeypatch, corner, times):
    """Let the reading of the window at `corner` fail so many times."""
    real, left = windows.read_region, [times]

    def read(raster, box, *rest):
        if (box.y0, box.x0) == corner and left[0] > 0:
            left[0] -= 1
            raise OSError("bad sector")
        return real(raster, box, *rest)

    monkeypatch.setattr(windows, "read_region", read)


def breaking(monkeypatch, when, spoil):
    """Let the outputs of pools with a window for which `when` holds be spoilt."""
    real = WindowSampler.run

    def spoilt(self, inputs):
        for step in real(self, inputs):
            yield spoil(step, when) if isinstance(step, list) else step

    monkeypatch.setattr(WindowSampler, "run", spoilt)


def to_nan(outputs, when):
    nothing = np.full((256, 256), np.nan, np.float32)
    return [
        sampler.WindowOutput(o.window, nothing, o.uncertainty, o.branch) if when(o.window) else o
        for o in outputs
    ]


def to_error(outputs, when):
    if any(when(o.window) for o in outputs):
        raise ZeroDivisionError("bad weights")
    return outputs


# ---------------------------------------------------------------- bad windows


def test_a_read_that_fails_once_is_tried_again_and_leaves_no_trace(folder, whole, monkeypatch):
    failing_reads(monkeypatch, (192, 192), times=1)
    events = run(folder, None)
    assert digest(events) == digest(whole)
    assert not of(FailedItem, events)


def test_a_read_that_always_fails_costs_its_shards_only_and_is_mended_by_a_resume(
    folder, out, whole, monkeypatch
):
    with monkeypatch.context() as broken:
        failing_reads(broken, (0, 384), times=10**6)
        events = run(folder, out)
    assert ["bad sector" in item.message for item in of(FailedItem, events)] == [True]
    result = events[-1].result
    assert failed_shards(result) == {(0, 1), (0, 2)}
    assert (result.status == ShardStatus.DONE).sum() == 4
    assert result.record["windows"] == WINDOWS - 1
    assert result.record["failed"] == list(events[-1].failed)
    again = run(folder, out, resume=True)
    assert {(e.row, e.col) for e in of(ShardDone, again)} == {(0, 1), (0, 2)}
    assert digest(again) == digest(whole)
    assert again[-1].result.record["failed"] == []
    assert_steps_add_up(again)


def failed_shards(result):
    where = np.argwhere(result.status == ShardStatus.FAILED)
    return {(int(row), int(col)) for row, col in where}


def test_the_command_line_lists_failed_windows_and_ends_with_1(folder, out, monkeypatch, capfd):
    with monkeypatch.context() as broken:
        failing_reads(broken, (0, 384), times=10**6)
        assert cli.main(options(folder, out)) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert "failed: window (0, 2)" in lines[0]
    assert "bad sector" in lines[0]
    assert "--resume" in lines[-1]
    assert cli.main(options(folder, out, "--resume")) == 0
    assert open_result(out).record["failed"] == []


@pytest.mark.parametrize("spoil", [to_nan, to_error])
def test_one_bad_window_of_a_pool_takes_no_other_with_it(folder, out, whole, spoil, monkeypatch):
    with monkeypatch.context() as broken:
        breaking(broken, lambda window: window == (0, 2), spoil)
        events = run(folder, out)
    assert len(of(FailedItem, events)) == 1
    assert "(0, 2)" in of(FailedItem, events)[0].item
    assert failed_shards(events[-1].result) == {(0, 1), (0, 2)}
    assert np.isfinite(np.asarray(events[-1].result.np)).all()
    sound = np.s_[256:, :]
    assert np.array_equal(
        np.asarray(events[-1].result.np[sound]), np.asarray(whole[-1].result.np[sound])
    )
    assert digest(run(folder, out, resume=True)) == digest(whole)


@pytest.mark.parametrize(("spoil", "reason"), [(to_nan, "not finite"), (to_error, "bad weights")])
def test_a_model_that_fails_everywhere_stops_the_job_with_the_reason(
    folder, out, spoil, reason, monkeypatch
):
    breaking(monkeypatch, lambda window: True, spoil)
    with pytest.raises(NothingWorks, match=reason):
        run(folder, out)
    assert not jobs.threads_left()


# ---------------------------------------------------------------- memory


def hungry(monkeypatch, error, fits):
    """Let batches above `fits` run out of memory after their first step."""
    real = WindowSampler.run

    def run_out(self, inputs):
        for step in real(self, inputs):
            yield step
            if self.sampling.batch_size > fits:
                raise error

    monkeypatch.setattr(WindowSampler, "run", run_out)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_the_batches_until_they_fit(folder, error, monkeypatch):
    hungry(monkeypatch, error, fits=1)
    events = run(folder, None, batch_size=4, lanes=2)
    told = [event.message for event in of(Notice, events) if event.level == "warning"]
    assert [words in line for words, line in zip(("of 2", "of 1"), told, strict=True)] == [True] * 2
    record = events[-1].result.record
    assert len(record["out_of_memory"]) == 2
    assert record["batch_size"] == 4
    assert len(of(Tile, events)) == WINDOWS
    assert events[-1].failed == ()
    assert_steps_add_up(events)


def test_strict_mode_stops_instead(folder, out, monkeypatch):
    hungry(monkeypatch, OUT_OF_MEMORY[0], fits=1)
    with pytest.raises(MemoryError, match="strict"):
        run(folder, out, strict=True)
    assert not jobs.threads_left()


def test_no_memory_for_a_single_window_is_exit_1_in_one_line(folder, out, monkeypatch, capfd):
    with monkeypatch.context() as broken:
        hungry(broken, OUT_OF_MEMORY[0], fits=0)
        assert cli.main(options(folder, out)) == 1
    lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
    assert "out of memory" in lines[-1]
    assert "--resume" in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert all("going on with batches" in line for line in lines[:-1])
    assert cli.main(options(folder, out, "--resume")) == 0


# ---------------------------------------------------------------- disk


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["napari-damm", *sys.argv[2:]]
runpy.run_module("napari_damm.cli", run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_full_disk_ends_the_command_in_one_line_and_can_be_resumed(folder, out):
    command = [sys.executable, "-c", LIMITED, "150000", *options(folder, out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert "disk is full" in lines[0]
    assert "--resume" in lines[0]
    log = out.with_name("log")
    again = options(folder, out, "--resume")
    assert crashing.in_another_process(crashing.command, again, log) == 0, log.read_text()
    whole = out.with_name("whole.ome.zarr")
    assert crashing.in_another_process(crashing.command, options(folder, whole), log) == 0
    assert open_result(out).digest() == open_result(whole).digest()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 180 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=180k", "none", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up_keeps_what_is_stored(folder, small_disk, whole, monkeypatch):
    monkeypatch.setattr("napari_damm.engine.job.refuse_what_cannot_fit", lambda *anything: None)
    out, events = small_disk / "r.ome.zarr", []
    with pytest.raises(OSError, match="disk is full"):
        events.extend(jobs.predict(folder, out))
    with pytest.raises(OSError, match="disk is full"):
        run(folder, out, resume=True)
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    again = run(folder, out, resume=True)
    assert of(Planned, again)[0].shards_done > 0
    assert digest(again) == digest(whole)


# ---------------------------------------------------------------- signals and cancelling


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_ends_the_command_with_130_and_it_can_be_resumed(folder, out, number):
    log = out.with_name("log")
    ended = crashing.in_another_process(
        crashing.command, options(folder, out), log, ("denoising step", 2, int(number))
    )
    assert ended == 130, log.read_text()
    lines = [line for line in log.read_text().splitlines() if line.strip()]
    assert len(lines) == 1
    assert "interrupted" in lines[0]
    assert "--resume" in lines[0]
    assert cli.main(options(folder, out, "--resume")) == 0


def test_closing_takes_effect_within_a_denoising_step(folder, out, monkeypatch):
    real, made, lanes_used = WindowSampler.run, [], 2

    def counted(self, inputs):
        for step in real(self, inputs):
            made.append(step)
            yield step

    monkeypatch.setattr(WindowSampler, "run", counted)
    running = jobs.predict(folder, out, steps=400, lanes=lanes_used)
    while not isinstance(next(running), Step):
        pass
    before = len(made)
    running.close()
    # each lane ends the step it is in; one more may have been counted before the close was seen
    assert len(made) - before <= 2 * lanes_used
    assert not jobs.threads_left()
    ResultStore.reopen(out).close()

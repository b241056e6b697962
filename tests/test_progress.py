from __future__ import annotations

import errno

import numpy as np
import pytest

from napari_damm import progress
from napari_damm.events import (
    FailedItem,
    Finished,
    Notice,
    Planned,
    ShardDone,
    Step,
    Tile,
)
from napari_damm.faults import one_line
from napari_damm.progress import JobStopped, Tally, follow


def planned(windows=2):
    return Planned((64, 64), 1.0, (0.0, 0.0), windows, 0, 1, 3, {}, None)


def tile(number, branch, windows=2):
    cells = np.full((2, 2), branch, np.uint8)
    return Tile(0, 0, np.zeros((64, 64), np.float32), 0, 0, cells / 2, cells, number, windows)


def test_a_whole_job_is_tallied_and_its_last_event_returned(capfd):
    finished = Finished(result="map", seconds=1.0)
    tally = Tally()
    events = [planned(), Step(1, 2), tile(1, 1), Step(2, 2), tile(2, 2), ShardDone(0, 0, 1, 1)]
    assert follow(iter([*events, finished]), tally) is finished
    assert tally.windows_done == 2
    assert tally.share_multi_modal == 0.5
    assert tally.shards_done == 1


def test_notices_and_failures_are_one_line_each_on_stderr(capfd):
    tally = Tally()
    events = [Notice("loading the model"), planned(), FailedItem("window 3, 4", "read error")]
    follow(iter([*events, Finished(None, 0.0)]), tally)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "napari-damm: loading the model",
        "napari-damm: failed: window 3, 4: read error",
    ]
    assert tally.failed == ["window 3, 4: read error"]


def test_a_log_gets_a_line_now_and_then(capfd, monkeypatch):
    monkeypatch.setattr(progress, "LOG_INTERVAL_S", 0.0)
    events = [planned(), Step(1, 2), tile(1, 1), Step(2, 2), tile(2, 2)]
    follow(iter([*events, Finished(None, 0.0)]), Tally())
    assert capfd.readouterr().err.splitlines() == [
        "napari-damm: window 0/2, 50%, 00:00 left",
        "napari-damm: window 1/2, 100%, 00:00 left",
    ]


def test_a_terminal_gets_a_bar_that_is_gone_in_the_end(capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "BAR_INTERVAL_S", 0.0)
    events = [planned(), Step(1, 2), Notice("look"), tile(1, 1), Step(2, 2), tile(2, 2)]
    follow(iter([*events, Finished(None, 0.0)]), Tally())
    states = capfd.readouterr().err.split("\r")
    assert any("window 0/2  50%" in state for state in states)
    assert any("window 1/2 100%" in state for state in states)
    assert any("napari-damm: look\n" in state for state in states)
    assert states[-1].strip() == ""


def test_an_error_before_the_plan_passes_unchanged():
    def job():
        yield Notice("reading")
        raise ValueError("no such channel")

    with pytest.raises(ValueError, match="no such channel"):
        follow(job(), Tally())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (OSError(errno.EDQUOT, "Quota exceeded"), "disk is full"),
        (OSError(errno.EFBIG, "File too large"), "disk is full"),
        (MemoryError(), "out of memory"),
        (RuntimeError("a\nb"), "internal error, RuntimeError: a b"),
        (ValueError("shape"), "internal error, ValueError: shape"),
    ],
)
def test_an_error_after_the_plan_becomes_one_sentence(error, said):
    def job():
        yield planned()
        raise error

    with pytest.raises(JobStopped, match=said) as caught:
        follow(job(), Tally())
    assert "\n" not in str(caught.value)


def test_leaving_early_closes_the_job():
    closed = []

    def job():
        try:
            yield planned()
            raise KeyboardInterrupt
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt):
        follow(job(), Tally())
    assert closed == [True]


def test_a_job_that_ends_without_a_result_is_an_error():
    with pytest.raises(JobStopped, match="without a result"):
        follow(iter([planned()]), Tally())


def test_system_errors_are_told_by_file_name_without_numbers(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "gone.tif").read_bytes()
    assert one_line(caught.value) == f"{tmp_path / 'gone.tif'}: No such file or directory"

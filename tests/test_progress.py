from __future__ import annotations

import errno
import signal
from pathlib import Path

import numpy as np
import pytest

from napari_damm.cli import terminal
from napari_damm.cli.progress import JobInterrupted, JobStopped, Tally, follow
from napari_damm.events import (
    FailedItem,
    Finished,
    Notice,
    Planned,
    Preparing,
    Saved,
    ShardDone,
    Step,
    Tile,
    TrainPlanned,
    TrainStep,
    Validated,
)
from napari_damm.util.errors import one_line


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
    assert tally.windows_multi_modal == 1
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
    monkeypatch.setattr(terminal, "LOG_INTERVAL_S", 0.0)
    events = [planned(), Step(1, 2), tile(1, 1), Step(2, 2), tile(2, 2)]
    follow(iter([*events, Finished(None, 0.0)]), Tally())
    assert capfd.readouterr().err.splitlines() == [
        "napari-damm: window 0/2, 50%, 00:00 left",
        "napari-damm: window 1/2, 100%, 00:00 left",
    ]


def test_a_terminal_gets_a_bar_that_is_gone_in_the_end(capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(terminal, "BAR_INTERVAL_S", 0.0)
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


# ---------------------------------------------------------------- trainings and evaluations


NAMES = ("vessels", "nuclei", "nanoparticles")


def train_planned(**more):
    return TrainPlanned(2, 40, 8, NAMES, 1.0, Path("run"), {}, steps=10, **more)


def train_step(number, **more):
    return TrainStep(number, 1, "joint", number / 10, 0.5, **more)


def validated(**more):
    scores, base = {"ssim": 0.5, "psnr": 20.0}, {"ssim": 0.45, "psnr": 20.5}
    return Validated(**{"step": 5, "progress": 0.5, "scores": scores, "base_scores": base} | more)


def training():
    yield Preparing("measuring sections", 1, 2)
    yield train_planned()
    yield train_step(4, seconds_left=90.0)
    yield Saved(Path("run"), 4)
    yield train_step(5, seconds_left=75.0)
    yield validated(best=True)
    yield Finished("model", 1.0)


def test_a_training_is_tallied():
    tally = Tally()
    follow(training(), tally)
    assert tally.is_planned
    assert tally.train_planned.train_patches == 40
    assert tally.train_step.step == 5
    assert tally.saved.step == 4
    assert tally.validated.scores["ssim"] == 0.5


def test_a_training_in_a_log_is_a_line_now_and_then_and_one_per_validation(capfd, monkeypatch):
    monkeypatch.setattr(terminal, "LOG_INTERVAL_S", 0.0)
    follow(training(), Tally())
    lines = capfd.readouterr().err.splitlines()
    assert lines.pop(0).startswith("napari-damm: measuring sections, 50%, ")
    assert lines == [
        "napari-damm: training vessels + nuclei -> nanoparticles at 1 um per pixel: "
        "40 patches to train, 8 to validate, from 2 sections",
        "napari-damm: joint, epoch 1, loss 0.5, 40%, 01:30 left",
        "napari-damm: joint, epoch 1, loss 0.5, saved at step 4, 50%, 01:15 left",
        "napari-damm: validation at step 5: SSIM 0.500 (base 0.450), "
        "PSNR 20.00 (base 20.50), the best so far",
    ]


def test_a_training_on_a_terminal_has_a_bar_that_makes_room_for_others(capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(terminal, "BAR_INTERVAL_S", 0.0)
    follow(training(), Tally())
    states = capfd.readouterr().err.split("\r")
    for words in (("measuring sections", " 50%"), ("joint, epoch 1", " 50%", "01:15 left")):
        assert any(all(word in state for word in words) for state in states), words
    assert states[-1].strip() == ""


def test_work_of_unknown_length_has_no_percentage(capfd, monkeypatch):
    monkeypatch.setattr(terminal, "LOG_INTERVAL_S", 0.0)
    follow(iter([Preparing("opening files", 3, 0), Finished(None, 0.0)]), Tally())
    assert capfd.readouterr().err == "napari-damm: opening files\n"


def test_a_model_from_scratch_has_no_base_to_be_compared_with():
    line = terminal.validation_line(validated(base_scores={}, best=False))
    assert line == "validation at step 5: SSIM 0.500, PSNR 20.00"


def test_going_on_with_a_training_is_said(capfd):
    follow(iter([train_planned(steps_done=3), Finished(None, 0.0)]), Tally())
    assert capfd.readouterr().err.splitlines()[-1] == "napari-damm: going on from step 3"


def test_an_error_after_a_training_was_planned_is_a_job_that_stopped():
    def job():
        yield train_planned()
        raise ValueError("loss is not finite")

    with pytest.raises(JobStopped, match="loss is not finite"):
        follow(job(), Tally())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_asked_to_stop_ends_at_its_next_event_and_is_closed(number):
    seen = []

    def job():
        try:
            yield train_planned()
            signal.raise_signal(number)
            seen.append("step finished")
            yield train_step(1)
            seen.append("another step")
        finally:
            seen.append("closed")

    tally = Tally()
    with pytest.raises(JobInterrupted, match="interrupted"):
        follow(job(), tally, stops_between_events=True)
    assert seen == ["step finished", "closed"]
    assert tally.train_step.step == 1


def test_a_second_signal_interrupts_at_once():
    closed = []

    def job():
        try:
            yield train_planned()
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            yield train_step(1)
        finally:
            closed.append(True)

    with pytest.raises(KeyboardInterrupt):
        follow(job(), Tally(), stops_between_events=True)
    assert closed == [True]


def test_a_training_that_is_done_is_done_whatever_was_wished_meanwhile():
    def job():
        yield train_planned()
        signal.raise_signal(signal.SIGINT)
        yield Finished("model", 1.0)

    assert follow(job(), Tally(), stops_between_events=True).result == "model"


def test_what_goes_wrong_while_a_stopped_training_is_closed_is_told():
    def job():
        yield train_planned()
        signal.raise_signal(signal.SIGINT)
        try:
            yield train_step(1)
        finally:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(JobStopped, match="disk is full"):
        follow(job(), Tally(), stops_between_events=True)

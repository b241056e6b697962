"""The thread that drives a generator, without any GUI."""

from __future__ import annotations

import errno
import logging
import threading

import pytest

from napari_damm.events import FailedItem, Notice
from napari_damm.util.advice import Advice
from napari_damm.util.errors import JobFault
from napari_damm.widgets.run.job import QUEUE_LENGTH, Job, Outcome, readable


class OutOfMemoryError(RuntimeError):
    """Named as torch's, which need not be imported to be recognised."""


def finished(job: Job) -> list:
    job.start()
    assert job.join(30)
    return job.drain()


def test_events_arrive_in_order():
    events = [Notice(str(i)) for i in range(5)]
    job = Job(lambda: iter(events))
    assert finished(job) == events
    assert job.over
    assert job.outcome == Outcome()


def test_a_job_is_over_only_when_its_events_are_drained():
    job = Job(lambda: iter([Notice("a")]))
    job.start()
    assert job.join(30)
    assert not job.over
    job.drain()
    assert job.over


@pytest.mark.parametrize(
    "error", [RuntimeError("a"), MemoryError(), KeyboardInterrupt(), OutOfMemoryError("b")]
)
def test_whatever_is_raised_becomes_the_outcome(error):
    def events():
        yield Notice("first")
        raise error

    job = Job(events)
    assert finished(job) == [Notice("first")]
    assert job.outcome is not None
    assert job.outcome.message == readable(error)


def test_an_error_while_the_generator_is_made_becomes_the_outcome():
    def refuse():
        raise ValueError("no such file: check the path")

    job = Job(refuse)
    assert finished(job) == []
    assert job.outcome == Outcome(message="no such file: check the path")


def test_cancelling_closes_the_generator_in_its_own_thread():
    closed_by = []
    started = threading.Event()

    def events():
        try:
            while True:
                yield Notice("step")
                started.set()
        finally:
            closed_by.append(threading.current_thread().name)

    job = Job(events)
    job.start()
    assert started.wait(30)
    job.cancel()
    assert job.join(30)
    assert closed_by == ["napari-damm job"]
    assert job.outcome == Outcome(cancelled=True)


def test_a_screen_that_does_not_drain_holds_the_engine_back():
    made = []
    full = threading.Event()

    def events():
        for i in range(2 * QUEUE_LENGTH):
            if i == QUEUE_LENGTH:
                full.set()
            made.append(i)
            yield Notice(str(i))

    job = Job(events)
    job.start()
    assert full.wait(30)
    job.cancel()
    assert job.join(30)
    assert len(made) <= QUEUE_LENGTH + 1


def test_it_waits_where_it_is_told_to_until_the_screen_is_ready():
    made = []

    def events():
        for event in (Notice("plan"), FailedItem("stop", "here"), Notice("work")):
            made.append(event)
            yield event

    job = Job(events, waits_after=(FailedItem,))
    job.start()
    assert job.join(0) is False
    job.go_on()
    assert job.join(30)
    assert job.drain() == made
    assert len(made) == 3


@pytest.mark.parametrize("error", [None, RuntimeError("a")])
def test_what_comes_afterwards_is_done_in_the_thread_however_it_ended(error):
    order = []

    def events():
        try:
            yield Notice("first")
            if error is not None:
                raise error
        finally:
            order.append("closed")

    def afterwards() -> str:
        order.append(threading.current_thread().name)
        return "left"

    job = Job(events, afterwards=afterwards)
    finished(job)
    assert order == ["closed", "napari-damm job"]
    assert job.outcome == Outcome(message="" if error is None else readable(error), left="left")


def test_an_error_afterwards_becomes_the_outcome():
    def refuse():
        raise OSError("the disk is full")

    job = Job(lambda: iter(()), afterwards=refuse)
    assert finished(job) == []
    assert job.outcome == Outcome(message="the disk is full")


def test_errors_read_as_one_sentence():
    assert readable(ValueError("steps must be 1 or more, got 0")).startswith("steps must be")
    assert readable(RuntimeError("bad\nand a dump")) == "Stopped by RuntimeError: bad"
    refused = readable(ValueError(Advice("no size", "give {pixel_size_um}")))
    assert refused == "no size: give the pixel size"
    assert readable(KeyError()) == "KeyError"
    full = OSError(errno.ENOSPC, "cannot be written: No space left on device", "/d/last.ckpt")
    assert readable(full) == (
        "The disk is full: /d/last.ckpt: cannot be written: No space left on device; free some "
        "space"
    )
    assert readable(PermissionError(errno.EACCES, "Permission denied", "/d")) == (
        "/d: Permission denied"
    )
    assert readable(MemoryError()).startswith("Out of memory:")
    assert "tried to allocate" in readable(OutOfMemoryError("tried to allocate"))
    lack = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    assert readable(lack).startswith("Out of memory (DefaultCPUAllocator: ")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("channel 'CD31' is blank: choose another"),
        FileExistsError("out exists already: choose another name"),
        OSError(errno.ENOSPC, "No space left on device"),
        JobFault("the cluster is gone: start it again"),
        OutOfMemoryError("b"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_what_its_sentence_says_all_of_is_not_printed_as_well(error, caplog):
    def refuse():
        raise error

    job = Job(refuse)
    finished(job)
    assert job.outcome == Outcome(message=readable(error))
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_of_a_fault_of_our_own_the_terminal_has_where_it_happened(caplog):
    def events():
        yield Notice("first")
        raise KeyError("x")

    finished(Job(events))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "in events" in record.exc_text

"""The thread that drives a generator, without any GUI."""

from __future__ import annotations

import threading

import pytest

from napari_damm.events import Notice
from napari_damm.widgets.job import QUEUE_LENGTH, Job, Outcome, readable


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


def test_errors_read_as_one_sentence():
    assert readable(ValueError("steps must be 1 or more, got 0")).startswith("steps must be")
    assert readable(RuntimeError("bad\nand a dump")) == "Stopped by RuntimeError: bad"
    assert readable(KeyError()) == "KeyError"
    assert readable(MemoryError()).startswith("Out of memory:")
    assert "tried to allocate" in readable(OutOfMemoryError("tried to allocate"))

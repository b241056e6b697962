"""A recorded function gives what the function gives, or says why it was not recorded."""

from __future__ import annotations

import gc
from contextlib import contextmanager, nullcontext

import pytest
import torch
from tape import Tape

from napari_damm.engine.step_graph import CudaRecorder, StepGraph


def function(x, y):
    return torch.relu(x @ y).add_(1), x > 0


def tensors(seed, size=4):
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(size, size, generator=draw) for _ in range(2))


def same(found, given):
    return all(torch.equal(a, b) for a, b in zip(found, function(*given), strict=True))


def test_a_function_is_recorded_once_for_each_shape_and_replayed():
    tape = Tape()
    graph = StepGraph(function, tape)
    for seed in range(3):
        assert same(graph(*tensors(seed)), tensors(seed))
    assert (tape.recorded, tape.replayed) == (1, 3)
    assert same(graph(*tensors(0, 5)), tensors(0, 5))
    assert tape.recorded == 2


def test_a_result_does_not_change_with_the_next_call():
    graph = StepGraph(function, Tape())
    first = graph(*tensors(0))
    graph(*tensors(1))
    assert same(first, tensors(0))


def test_without_a_recorder_it_is_the_function_itself():
    graph = StepGraph(function, None)
    assert same(graph(*tensors(0)), tensors(0))
    assert not graph.trouble


@pytest.mark.parametrize(
    ("tape", "why"),
    [
        (Tape(fails=RuntimeError("operation not permitted\nwhen capturing")), "when capturing"),
        (Tape(spoils=True), "differs from what was recorded"),
    ],
)
def test_what_cannot_be_recorded_is_computed_and_the_reason_is_told(tape, why):
    graph = StepGraph(function, tape)
    for seed in range(2):
        assert same(graph(*tensors(seed)), tensors(seed))
    assert why in graph.trouble
    assert "\n" not in graph.trouble


def test_what_the_host_must_read_cannot_be_recorded():
    graph = StepGraph(lambda x, y: (x[x > 0].sum() * y if x.sum() > -1e9 else y,), Tape())
    graph(*tensors(0))
    assert "the host reads" in graph.trouble


def test_lack_of_memory_is_raised_even_where_ending_the_recording_fails_too():
    class Ending:
        def __call__(self, work):
            try:
                raise torch.OutOfMemoryError("the card is full")
            finally:
                raise RuntimeError("the capture was invalidated")

    with pytest.raises(torch.OutOfMemoryError):
        StepGraph(function, Ending())(*tensors(0))


def test_one_that_was_closed_records_no_more():
    tape = Tape()
    graph = StepGraph(function, tape)
    graph(*tensors(0))
    graph.close()
    assert same(graph(*tensors(1)), tensors(1))
    assert (tape.recorded, tape.replayed) == (1, 1)


def counting():
    """Return what a function counts in, and the function."""
    seen = torch.zeros(2)

    def count(x):
        seen.add_(x)
        return (seen.sum(),)

    return seen, count


@pytest.mark.parametrize("tape", [Tape(), Tape(spoils=True), Tape(fails=RuntimeError("no"))])
def test_what_a_function_touches_is_touched_once_a_call(tape):
    seen, count = counting()
    graph = StepGraph(count, tape, lambda: [seen])
    for k in range(1, 4):
        (total,) = graph(torch.ones(2))
        assert seen.tolist() == [k, k]
        assert float(total) == 2 * k
    assert bool(graph.trouble) == (tape.fails is not None or tape.spoils)


def test_of_a_function_that_touches_something_lack_of_memory_is_no_error():
    seen, count = counting()
    graph = StepGraph(count, Tape(fails=torch.OutOfMemoryError("full")), lambda: [seen])
    graph(torch.ones(2))
    assert seen.tolist() == [1, 1]
    assert "full" in graph.trouble


class Stream:
    def wait_stream(self, other):
        pass


class Graph:
    """Stands for a CUDA graph, with the pool that it was recorded in."""

    def __init__(self):
        self.of = None

    def pool(self):
        return self.of

    def replay(self):
        pass


@pytest.fixture
def recordings(monkeypatch):
    """Stand in for CUDA; note the pool and the stream of each recording."""
    noted = []

    @contextmanager
    def recording(graph, pool, stream, capture_error_mode):
        graph.of = pool or object()
        noted.append((graph.of, stream))
        yield

    for name, value in {
        "Stream": Stream, "current_stream": Stream, "stream": lambda _: nullcontext(),
        "CUDAGraph": Graph, "graph": recording,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    return noted


def test_what_is_recorded_shares_memory_as_long_as_any_of_it_is_kept(recordings):
    record, done = CudaRecorder(rounds=2), []
    first = record(lambda: done.append(1))
    assert len(done) == 3
    second = record(lambda: None)
    assert recordings[0] == recordings[1]
    del first
    third = record(lambda: None)
    assert recordings[2] == recordings[0]
    del second, third
    gc.collect()
    record(lambda: None)
    assert recordings[3][0] is not recordings[0][0]  # that pool is gone
    assert recordings[3][1] is recordings[0][1]


def test_after_a_recording_that_failed_others_have_a_pool_of_their_own(recordings):
    record = CudaRecorder(rounds=0)
    kept = [record(lambda: None)]
    with pytest.raises(ZeroDivisionError):
        record(lambda: 1 / 0)
    kept.append(record(lambda: None))
    assert recordings[1][0] is recordings[0][0]
    assert recordings[2][0] is not recordings[0][0]

"""A function of tensors of fixed shapes, recorded once on a graphics card and then replayed.

A denoising step is some 1,500 small kernels, and starting them one by one takes the host longer
than the card needs to compute them. A CUDA graph starts all of them at once.

1. At the first call for some shapes the function is computed as it is, then recorded, replayed, and
   the two are compared. What a function `touches`, such as the weights that a training step
   changes, is put back after each, so that it has been called once.
2. Further calls copy their tensors to where the recorded kernels look, replay, and copy the results
   from there, so that nobody's result changes later.
3. Where recording fails, or gives something else, the function itself is called, now and later;
   `trouble` says why. Lack of memory is raised: whoever calls has smaller batches. A function that
   touches something has been called by then, and there was memory for that: it is called as it is.

One thread at a time may call. Tests record on the CPU; `tests/benchmarks/gpu.py` on a card.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from napari_damm.util.errors import is_out_of_memory, one_line

Function = Callable[..., tuple[Tensor, ...]]
Recorder = Callable[[Callable[[], None]], Callable[[], object]]
"""Runs some work once or more, and returns what makes the same kernels run on the same memory."""
CLOSE, MOST_OFF = 1e-3, 1e-3
"""How far what is replayed may be from what was computed, absolute and relative, and in what share
of the values it may be further: a gate at its very threshold may fall either way."""


class CudaRecorder:
    """Records work as a CUDA graph (a `Recorder`), after so many `rounds` of it as it is.

    What it records shares a stream and a pool of memory: one graph is replayed at a time, and its
    results are copied before the next.
    """

    def __init__(self, rounds: int = 1) -> None:
        self._rounds = rounds
        self._aside: torch.cuda.Stream | None = None
        self._graphs: weakref.WeakSet[torch.cuda.CUDAGraph] = weakref.WeakSet()

    def __call__(self, work: Callable[[], None]) -> Callable[[], object]:
        """Record work; return what replays it."""
        if self._aside is None:
            self._aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside = self._aside
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(self._rounds):
                work()  # libraries set themselves up at their first use, which cannot be recorded
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # a pool goes with the last of its graphs, and cannot be used again
        alive = next(iter(self._graphs), None)
        pool = None if alive is None else alive.pool()
        try:
            # other threads may copy and allocate meanwhile
            with torch.cuda.graph(graph, pool, aside, capture_error_mode="thread_local"):
                work()
        except BaseException:
            self._graphs.clear()  # a pool in which a recording failed is not to be trusted
            raise
        self._graphs.add(graph)
        return graph.replay


class StepGraph:
    """`function`, replayed where a `recorder` can record it; without one, the function itself.

    `touches` says which tensors it changes beside what it returns: it is one that learns, then.
    Without, it computes in inference mode.
    """

    def __init__(
        self,
        function: Function,
        recorder: Recorder | None,
        touches: Callable[[], Iterable[Tensor]] | None = None,
    ) -> None:
        self.trouble = ""
        self._function, self._recorder, self._touches = function, recorder, touches
        self._recorded: dict[tuple[torch.Size, ...], _Recorded] = {}

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Compute the function of tensors whose types are always the same."""
        with torch.inference_mode(self._touches is None):
            return self._computed(given)

    def _computed(self, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        shapes = tuple(each.shape for each in given)
        recorded = self._recorded.get(shapes)
        if recorded is not None:
            return recorded(given)
        if self._recorder is None:
            return self._function(*given)
        return self._first(given, self._recorder)

    def close(self) -> None:
        """Give back the memory of what was recorded; record no more."""
        self._recorder = None
        self._recorded.clear()

    def _first(self, given: tuple[Tensor, ...], recorder: Recorder) -> tuple[Tensor, ...]:
        plain = known = self._function(*given)
        touched = _Kept()
        try:
            touched.keep(self._touches() if self._touches else ())
            recorded = _Recorded(self._function, given, recorder)
            if self._touches is not None:
                touched.put_back()
                known = self._function(*given)
                touched.put_back()
            replayed = recorded(given)
            touched.put_back()
            if not all(is_close(a, b) for a, b in zip(replayed, known, strict=True)):
                raise RuntimeError("what was replayed differs from what was recorded")
        except Exception as error:
            touched.put_back()
            short = next((each for each in _with_causes(error) if is_out_of_memory(each)), None)
            if short is not None and self._touches is None:
                raise short from error
            self.trouble = f"{type(error).__name__}: {one_line(error)}"
            self.close()
            return plain
        self._recorded[tuple(each.shape for each in given)] = recorded
        return replayed if self._touches is None else plain


class _Recorded:
    """A function recorded for tensors of some shapes, with the memory that it works on."""

    def __init__(self, function: Function, given: tuple[Tensor, ...], recorder: Recorder) -> None:
        self._given = [each.clone() for each in given]
        self._results: tuple[Tensor, ...] = ()

        def work() -> None:
            self._results = function(*self._given)

        self._replay = recorder(work)

    def __call__(self, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for place, each in zip(self._given, given, strict=True):
            place.copy_(each)
        self._replay()
        return tuple(each.clone() for each in self._results)


class _Kept:
    """Tensors as they were."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def keep(self, tensors: Iterable[Tensor]) -> None:
        """Remember what is in them now."""
        self._pairs = [(each, each.detach().clone()) for each in tensors]

    @torch.no_grad()
    def put_back(self) -> None:
        """Let them hold that again."""
        for place, kept in self._pairs:
            place.copy_(kept)


def is_close(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are the same, but for rounding and a few at a threshold."""
    far = ~torch.isclose(a.float(), b.float(), rtol=CLOSE, atol=CLOSE, equal_nan=True)
    return bool(far.float().mean() <= MOST_OFF)


def _with_causes(error: BaseException | None) -> list[BaseException]:
    """Return an error and what came before it: ending a recording that failed fails too."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found

"""How much time goes into a training's data: what a step tells as `waiting`.

1. On a processor it is all the time in which batches are read, cut and encoded: nothing learns
   meanwhile.
2. A graphics card goes on learning while the host prepares what comes next. There it is the card's
   own time, from when it has done all that was before until the data are there: what it computes of
   them, and what it stands idle for them. Two marks in its stream of work tell, and are read once
   the step's losses have come.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


class DataTime:
    """Measures the time that goes into data on a kind of device.

    Parameters
    ----------
    kind
        Type of the device.
    mark, between
        Notes a moment, and gives the seconds between two; by default what the device has.
    """

    def __init__(
        self,
        kind: str,
        mark: Callable[[], Any] | None = None,
        between: Callable[[Any, Any], float] | None = None,
    ) -> None:
        on_card = kind == "cuda"
        self._mark = mark or (_mark_on_card if on_card else time.perf_counter)
        self._between = between or (_between_on_card if on_card else _between)
        self._spans: list[tuple[Any, Any]] = []

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Count what is done in this context as data."""
        begun = self._mark()
        yield
        self._spans.append((begun, self._mark()))

    def taken(self) -> Callable[[], float]:
        """Return what tells the seconds since the last call, once the losses have come."""
        spans, self._spans = self._spans, []
        return lambda: sum(self._between(*span) for span in spans)


def _between(begun: float, ended: float) -> float:
    return ended - begun


def _mark_on_card() -> torch.cuda.Event:
    mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    mark.record()
    return mark


def _between_on_card(begun: torch.cuda.Event, ended: torch.cuda.Event) -> float:
    ended.synchronize()
    milliseconds: float = begun.elapsed_time(ended)
    return milliseconds / 1000

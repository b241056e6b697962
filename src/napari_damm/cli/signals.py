"""Ctrl-C and a batch system's SIGTERM: a job ends as its user would have it end.

1. A prediction is interrupted at once: what is stored stays valid.
2. A training is asked to stop, and ends with its step; a second signal interrupts at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]


class StopWish:
    """Whether the user has asked the job to stop."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Take note of a signal; interrupt at the second.

        Raises
        ------
        KeyboardInterrupt
            At the second.
        """
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end a job as Ctrl-C does: cleanly, and to be resumed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(interrupt, signal.SIGTERM):
        yield


@contextmanager
def asked_to_stop() -> Iterator[StopWish]:
    """Turn the first Ctrl-C or SIGTERM into a wish, which whoever drives the job looks at."""
    wish = StopWish()
    with _handled(wish.ask, signal.SIGINT, signal.SIGTERM):
        yield wish


@contextmanager
def _handled(handler: _Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals in the block; nowhere but in the main thread do they arrive."""
    before = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, handler)
    except ValueError:  # not in the main thread, where nobody can interrupt us
        yield
        return
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)

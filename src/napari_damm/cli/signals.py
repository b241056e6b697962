"""Ctrl-C, and what a batch system or a closed terminal sends: a job ends as its user would have it.

1. The first signal interrupts whatever the command does (`KeyboardInterrupt`). While that is being
   dealt with, further ones are ignored: half of a clean-up is worse than none.
2. A training is asked to stop, and ends with its step; a second signal interrupts at once.
3. What was ignored from the start (a background job's Ctrl-C, `nohup`) stays ignored.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]

# Windows knows no SIGHUP.
NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class StopRequest:
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
            interrupt(number, frame)
        self.asked = True


def interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt the command, unless it is being interrupted already.

    Raises
    ------
    KeyboardInterrupt
        At the first signal, and after one that was lost (in a destructor, say).
    """
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise KeyboardInterrupt


@contextmanager
def interruptible(to_the_end: bool = False) -> Iterator[None]:
    """Let signals interrupt what is done in the block.

    With `to_the_end` they are ignored afterwards, until the process ends.
    """
    with _handled(interrupt, to_the_end):
        yield


@contextmanager
def asked_to_stop() -> Iterator[StopRequest]:
    """Turn the first signal into a request, which whoever drives the job looks at."""
    request = StopRequest()
    with _handled(request.ask):
        yield request


def ignore() -> None:
    """Ignore signals from now on: what is left to do is done in no time."""
    try:
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)
    except ValueError:  # not in the main thread, where none arrive
        pass


@contextmanager
def _handled(handler: _Handler, to_the_end: bool = False) -> Iterator[None]:
    """Handle signals in the block; nowhere but in the main thread do they arrive."""
    before = {}
    try:
        for number in NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    except ValueError:  # not in the main thread, where nobody can interrupt us
        yield
        return
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_IGN if to_the_end else earlier)

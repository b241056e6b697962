"""A running prediction, driven in a thread and read by the GUI when it likes.

1. The thread makes the event generator and walks through it. No Qt object is touched there.
2. Tiles go to the canvas at once, in that thread; every event then waits in a bounded queue, so a
   busy screen slows the engine down rather than fill the memory.
3. The GUI drains the queue on a timer. When the queue is empty and `outcome` is set, it is over.
4. Cancelling closes the generator from its own thread at the next event. Whatever is raised, be it
   while the generator is made, RuntimeError or MemoryError, ends as the outcome's one sentence.

superqt's `thread_worker` is not used: it swallows a RuntimeError raised in a generator, and
torch's out-of-memory error is one, so that a widget would wait forever.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from napari_damm.events import Event, Planned, ShardDone, Tile

log = logging.getLogger(__name__)
QUEUE_LENGTH = 256
POLL_S = 0.1


@dataclass(frozen=True)
class Outcome:
    """How a job ended: done, cancelled, or with a `message` that says what went wrong."""

    cancelled: bool = False
    message: str = ""


class Job:
    """One event generator in one thread."""

    def __init__(self, make_events: Callable[[], Iterator[Event]]) -> None:
        self.outcome: Outcome | None = None
        self._make_events = make_events
        self._queue: queue.Queue[Event] = queue.Queue(QUEUE_LENGTH)
        self._cancel = threading.Event()
        # A daemon: whoever quits Python without cancelling must not wait for a whole slide.
        self._thread = threading.Thread(target=self._run, name="napari-damm job", daemon=True)

    def start(self) -> None:
        """Start walking through the events."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask the thread to stop at its next event."""
        self._cancel.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def drain(self) -> list[Event]:
        """Take the events that have come since the last call."""
        events = []
        with suppress(queue.Empty):
            while True:
                events.append(self._queue.get_nowait())
        return events

    @property
    def over(self) -> bool:
        """Whether the job has ended and every event has been drained."""
        return self.outcome is not None and self._queue.empty()

    def _run(self) -> None:
        try:
            self._walk()
            self.outcome = Outcome(cancelled=self._cancel.is_set())
        except BaseException as error:
            log.exception("The prediction stopped")
            self.outcome = Outcome(message=readable(error))

    def _walk(self) -> None:
        events = self._make_events()
        canvas: Any = None
        try:
            for event in events:
                match event:
                    case Planned():
                        canvas = event.canvas
                    case Tile():
                        canvas.add(event)
                    case ShardDone():
                        canvas.shard_done(event.row, event.col)
                if not self._put(event):
                    return
        finally:
            # A test may hand over a plain iterator, which has nothing to close.
            getattr(events, "close", lambda: None)()

    def _put(self, event: Event) -> bool:
        """Queue an event; False once the job is cancelled."""
        while not self._cancel.is_set():
            with suppress(queue.Full):
                self._queue.put(event, timeout=POLL_S)
                return True
        return False


def readable(error: BaseException) -> str:
    """Turn an exception into one sentence for the status line."""
    text = " ".join(str(error).split("\n")[0].split())
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        detail = f" ({text})" if text else ""
        return f"Out of memory{detail}: close other programs or choose the device 'cpu'"
    if isinstance(error, ValueError | OSError) and text:
        return text
    return f"Stopped by {type(error).__name__}: {text}" if text else type(error).__name__

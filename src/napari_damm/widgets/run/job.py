"""A running job, driven in a thread and read by the GUI when it likes.

1. The thread steps back behind the one that draws, makes the event generator and walks through it.
   No Qt object is touched there.
2. At an event of a kind that it `waits_after`, it waits for `go_on`: the engine has not started
   yet, so the screen has the whole machine to build what will be shown.
3. Every event waits in a bounded queue, so a busy screen slows the engine down rather than fill
   the memory.
4. The GUI drains the queue on a timer. When the queue is empty and `outcome` is set, it is over.
5. Cancelling closes the generator from its own thread at the next event. `afterwards` is then done
   in that thread, however it ended: what it returns is `Outcome.left`.
6. Whatever is raised, be it while the generator is made, RuntimeError or MemoryError, ends as the
   outcome's one sentence. What a sentence says all of (bad input, a full disk, no memory) is not
   printed as well; of anything else the terminal has where it happened.

superqt's `thread_worker` is not used: it swallows a RuntimeError raised in a generator, and
torch's out-of-memory error is one, so that a widget would wait forever.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from napari_damm.events import Event, Notice
from napari_damm.util.advice import advice_of
from napari_damm.util.errors import JobFault, is_disk_full, is_out_of_memory, one_line
from napari_damm.widgets.control_names import control_name
from napari_damm.widgets.run.gui_priority import Ready, no_garbage_collection, stepped_back

log = logging.getLogger(__name__)
QUEUE_LENGTH = 256
POLL_S = 0.1


@dataclass(frozen=True)
class Outcome:
    """How a job ended: done, cancelled, or with a `message` that says what went wrong."""

    cancelled: bool = False
    message: str = ""
    left: Any = None


class Job:
    """One event generator in one thread."""

    def __init__(
        self,
        make_events: Callable[[], Iterator[Event | Ready]],
        waits_after: tuple[type, ...] = (),
        afterwards: Callable[[], Any] = lambda: None,
    ) -> None:
        self.outcome: Outcome | None = None
        self._make_events = make_events
        self._waits_after = waits_after
        self._afterwards = afterwards
        self._queue: queue.Queue[Event | Ready] = queue.Queue(QUEUE_LENGTH)
        self._cancel = threading.Event()
        self._shown = threading.Event()
        # A daemon: whoever quits Python without cancelling must not wait for a whole slide.
        self._thread = threading.Thread(target=self._run, name="napari-damm job", daemon=True)

    def start(self) -> None:
        """Start walking through the events."""
        self._thread.start()

    def cancel(self) -> None:
        """Ask the thread to stop at its next event."""
        self._cancel.set()
        self._shown.set()

    def go_on(self) -> None:
        """Say that what was planned is on the screen."""
        self._shown.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread to end; tell whether it has."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def drain(self) -> list[Event | Ready]:
        """Take the events that have come since the last call."""
        events: list[Event | Ready] = []
        with suppress(queue.Empty):
            while True:
                events.append(self._queue.get_nowait())
        return events

    @property
    def over(self) -> bool:
        """Whether the job has ended and every event has been drained."""
        return self.outcome is not None and self._queue.empty()

    def _run(self) -> None:
        with stepped_back():
            message = self._message_of(self._walk)
            left: list[Any] = []
            trouble = self._message_of(lambda: left.append(self._afterwards()))
        self.outcome = Outcome(
            cancelled=self._cancel.is_set() and not (message or trouble),
            message=message or trouble,
            left=left[0] if left else None,
        )

    def _message_of(self, do: Callable[[], Any]) -> str:
        """Do something, and say what was raised; "" for nothing."""
        try:
            do()
        except BaseException as error:
            _note(error, "The job stopped")
            return readable(error)
        return ""

    def _walk(self) -> None:
        events: Iterator[Event | Ready] = iter(())
        try:
            with ExitStack() as loading:
                loading.enter_context(no_garbage_collection())
                events = self._make_events()
                for event in events:
                    if not self._put(event):
                        return
                    if isinstance(event, self._waits_after):
                        self._shown.wait()
                    if not isinstance(event, Notice):
                        loading.close()
        finally:
            # A test may hand over a plain iterator, which has nothing to close.
            getattr(events, "close", lambda: None)()

    def _put(self, event: Event | Ready) -> bool:
        """Queue an event; False once the job is cancelled."""
        while not self._cancel.is_set():
            with suppress(queue.Full):
                self._queue.put(event, timeout=POLL_S)
                return True
        return False


def _note(error: BaseException, what: str) -> None:
    """Log an error, where its sentence does not say all: then only for who asks for details."""
    expected = isinstance(error, ValueError | OSError | JobFault) or is_out_of_memory(error)
    log.log(logging.DEBUG if expected else logging.ERROR, what, exc_info=error)


def readable(error: BaseException) -> str:
    """Turn an exception into one sentence for the status line."""
    advice = advice_of(error)
    said = str(error) if advice is None else advice.said_with(control_name)
    text = " ".join(said.split("\n")[0].split())
    if is_out_of_memory(error):
        detail = f" ({text})" if text else ""
        return f"Out of memory{detail}: close other programs or choose the device 'cpu'"
    if isinstance(error, OSError) and error.strerror:  # the system's own, with its number
        text = one_line(error)
        if is_disk_full(error) and "disk is full" not in text:
            return f"The disk is full: {text}; free some space"
    if isinstance(error, ValueError | OSError | JobFault) and text:
        return text
    return f"Stopped by {type(error).__name__}: {text}" if text else type(error).__name__

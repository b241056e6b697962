"""What the stand-ins for `api.predict` and `api.fine_tune` share."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator

from napari_damm.events import Event


class FakeJob(ABC):
    """A job that notes how it is called, and that a test can hold or break on the way.

    With `pause_after`, it repeats an event at that point until `resume` is set; with `error`, it
    raises there; with `error_at_call`, at once.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.options: list[dict[str, object]] = []
        self.pause_after: int | None = None
        self.error: BaseException | None = None
        self.error_at_call: BaseException | None = None
        self.resume = threading.Event()
        self.closed = threading.Event()

    def __call__(self, *arguments: object, **options: object) -> Iterator[Event]:
        self.calls.append(arguments)
        self.options.append(options)
        if self.error_at_call is not None:
            raise self.error_at_call
        return self.events(*arguments, **options)

    @abstractmethod
    def events(self, *arguments: object, **options: object) -> Iterator[Event]:
        """The job itself; sets `closed` at its end."""

    def hold(self, point: int, event: Event) -> Iterator[Event]:
        """Repeat an event, and raise, where the test asks for it."""
        while self.pause_after == point and not self.resume.wait(0.005):
            yield event
        if self.pause_after == point and self.error is not None:
            raise self.error

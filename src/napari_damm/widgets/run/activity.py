"""A run in napari's activity dock, with a button that cancels it."""

from __future__ import annotations

import io
from collections.abc import Callable

TOTAL = 1000


class Activity:
    """One entry of the activity dock, from its making to `close`."""

    def __init__(self, what: str, cancel: Callable[[], object]) -> None:
        from napari.utils import cancelable_progress

        self._cancel = cancel
        # Without a window it would draw a bar in the terminal.
        self._bar = cancelable_progress(
            total=TOTAL, desc=what, cancel_callback=cancel, file=io.StringIO()
        )

    def show(self, fraction: float, text: str) -> None:
        """Move the bar; cancel the run if somebody has asked for it there."""
        step = round(TOTAL * min(max(fraction, 0.0), 1.0)) - self._bar.n
        if step > 0:
            self._bar.update(step)
        if self._bar.is_canceled:
            self._cancel()

    def close(self) -> None:
        """Take the entry away."""
        self._bar.close()

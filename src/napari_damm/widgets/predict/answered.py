"""Buttons that answer: what cannot be done is said in one sentence, where the button stands."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar

from napari_damm.widgets.notes import Note
from napari_damm.widgets.run.job import readable


class _Answers(Protocol):
    answer: Note


Owner = TypeVar("Owner", bound=_Answers)


def answered(action: Callable[[Owner], None]) -> Callable[..., None]:
    """Have the action of a control say in its widget's `answer` why it cannot be done."""

    @wraps(action)
    def run(self: Owner, *_: Any) -> None:
        try:
            action(self)
        except (ValueError, OSError, MemoryError) as error:
            self.answer.say(readable(error))

    return run

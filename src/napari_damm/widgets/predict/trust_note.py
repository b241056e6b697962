"""A coloured line beside Predict: whether a section looks like those that the model knows.

1. When layers, pixel size or model change, nine windows are read in a thread: no GUI waits for it.
2. The line is green where the model knows such images, else amber or red, with the reasons. It is
   empty where the model does not say which images it knows, or nothing is picked.
3. What was asked for last is shown; answers to earlier questions are dropped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Signal  # type: ignore[attr-defined,unused-ignore]

from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE, Assessment
from napari_damm.widgets.notes import Note
from napari_damm.widgets.viewer.layer_slides import SlideRequest

log = logging.getLogger(__name__)
COLOURS = {USE: "#2e9e5b", WITH_CARE: "#d98e04", DO_NOT_USE: "#d64545"}
FAMILIAR = "The images look like those that the model knows"


class TrustNote(Note):
    """The line; `ask` starts a look at a section."""

    found = Signal(int, object)  # the number of the question, and an Assessment or None

    def __init__(self) -> None:
        super().__init__("trust")
        self._asked = 0
        self.found.connect(self._show)

    def ask(self, request: SlideRequest, model: Path) -> None:
        """Look at a section with a model's eyes, and say what was seen as soon as it is known."""
        self._asked += 1
        arguments = (self._asked, request, model, self.found.emit)
        threading.Thread(target=_look, args=arguments, name="napari-damm look", daemon=True).start()

    def clear_answer(self) -> None:
        """Say nothing, whatever is still being looked at."""
        self._asked += 1
        self.say("")

    def _show(self, number: int, assessment: Assessment | None) -> None:
        if number != self._asked:
            return
        if assessment is None:
            self.say("")
            return
        self.setStyleSheet(f"color: {COLOURS[assessment.verdict]}")
        if assessment.verdict == USE:
            self.say(FAMILIAR)
        else:
            self.say(f"{assessment.verdict.capitalize()}: {'; '.join(assessment.reasons)}")


def _look(
    number: int, request: SlideRequest, model: Path, tell: Callable[[int, object], None]
) -> None:
    """Look at a section; whatever is wrong with it or the model, Predict says it better."""
    from napari_damm.model_file import read_card
    from napari_damm.trust.section import look

    found = None
    try:
        found = look(request.slide(), read_card(model))
    except (OSError, ValueError) as error:
        log.debug("The section cannot be looked at: %s", error)
    try:
        tell(number, found)
    except RuntimeError:  # the widget is gone
        log.debug("Nobody waits for the look any more")

"""A coloured line beside Predict: whether a section looks like those that the model knows.

1. When layers, pixel size or model change, nine windows are read in a thread: no GUI waits for it.
2. The line is green where the model knows such images, else amber or red, with the reasons. It is
   empty where the model does not say which images it knows, or nothing is picked. That a model is
   no better than a trivial one is said with it: then no line is green.
3. What was asked for last is shown; answers to earlier questions are dropped.

The thread knows a queue and nothing of Qt: a widget may be gone before the answer comes.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from queue import SimpleQueue

from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined,unused-ignore]

from napari_damm.trust.verdict import USE, WITH_CARE, Assessment, in_a_line
from napari_damm.widgets.notes import Note
from napari_damm.widgets.viewer.layer_slides import SlideRequest
from napari_damm.widgets.viewer.verdict import VERDICT_COLOURS

log = logging.getLogger(__name__)
POLL_MS = 50
FAMILIAR = "The images look like those that the model knows"
Answers = SimpleQueue[tuple[int, Assessment | None, str]]
"""Of the questions by their numbers; None where there is nothing to say. And of the model."""


class TrustNote(Note):
    """The line; `ask` starts a look at a section."""

    found = Signal(int, object)  # the number of the question, and an Assessment or None

    def __init__(self) -> None:
        super().__init__("trust")
        self._asked = self._begun = 0
        self._of_model = ""
        self.found.connect(self._show)
        self._answers: Answers = SimpleQueue()
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._collect)

    def ask(self, request: SlideRequest, model: Path) -> None:
        """Look at a section with a model's eyes, and say what was seen as soon as it is known."""
        self._asked += 1
        self._begun = self._asked
        arguments = (self._asked, request, model, self._answers)
        threading.Thread(target=_look, args=arguments, name="napari-damm look", daemon=True).start()
        self._timer.start()

    def clear_answer(self) -> None:
        """Say nothing, whatever is still being looked at."""
        self._asked += 1
        self.say("")

    def _collect(self) -> None:
        """Pass on what was found; the last answer is all that is waited for."""
        while not self._answers.empty():
            number, assessment, self._of_model = self._answers.get()
            if number == self._begun:
                self._timer.stop()
            self.found.emit(number, assessment)

    def _show(self, number: int, assessment: Assessment | None) -> None:
        if number != self._asked:
            return
        if assessment is None:
            self.say("")
            return
        familiar = assessment.verdict == USE
        colour = WITH_CARE if familiar and self._of_model else assessment.verdict
        self.setStyleSheet(f"color: {VERDICT_COLOURS[colour]}")
        more = (self._of_model,) if self._of_model else ()
        if familiar:
            self.say("; ".join([FAMILIAR, *more]))
        else:
            self.say(in_a_line(assessment.verdict.capitalize(), (*assessment.reasons, *more)))


def _look(number: int, request: SlideRequest, model: Path, answers: Answers) -> None:
    """Look at a section; whatever is wrong with it or the model, Predict says it better."""
    from napari_damm.model_file import read_card, warning_of
    from napari_damm.trust.section import look

    found, of_model = None, ""
    try:
        card = read_card(model)
        of_model = f"the model {warning_of(card)}" if warning_of(card) else ""
        found = look(request.slide(), card)
    except (OSError, ValueError) as error:
        log.debug("The section cannot be looked at: %s", error)
    finally:
        answers.put((number, found, of_model))

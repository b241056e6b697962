"""The foot of a widget that runs something: why not, the buttons, how far it is, how it went.

It stands below the scrolled form and is always seen. Long sentences are scrolled in a room of their
own, so that they take no more of the form than five lines.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_damm.util.text import with_micro
from napari_damm.widgets.notes import Note

MOST_LINES = 5


class Progress(QProgressBar):
    """How far a run is, with words in it."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("progress")
        self.setRange(0, 1000)
        self.setFormat("")

    def show_progress(self, fraction: float, text: str) -> None:
        """Move the bar."""
        self.setValue(round(min(max(fraction, 0.0), 1.0) * self.maximum()))
        self.setFormat(with_micro(text))


class Capped(QScrollArea):
    """A note that is scrolled where it has more than a few lines."""

    def __init__(self, note: Note) -> None:
        super().__init__()
        self._note = note
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidgetResizable(True)
        self.setStyleSheet("QScrollArea { border: 0; padding: 0; margin: 0 }")  # napari's has some
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(note)
        note.installEventFilter(self)
        self._fit()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Be as high as the note, up to the most."""
        changes = (QEvent.Type.Resize, QEvent.Type.ShowToParent, QEvent.Type.HideToParent)
        if watched is self._note and event is not None and event.type() in changes:
            self._fit()
        return bool(super().eventFilter(watched, event))

    def _fit(self) -> None:
        shown = not self._note.isHidden()
        most = MOST_LINES * self._note.fontMetrics().lineSpacing()
        needed = max(0, self._note.heightForWidth(self.width())) if shown else 0
        bar = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(
            bar.ScrollBarAsNeeded if needed > most else bar.ScrollBarAlwaysOff
        )
        self.setFixedHeight(min(needed, most))


class RunControls(QWidget):
    """Starts and stops a run, and says what comes of it."""

    def __init__(self, start: QPushButton, stop: QPushButton, *others: QPushButton) -> None:
        super().__init__()
        self.start, self.stop = start, stop
        self.reason, self.progress = Note("reason"), Progress()
        self.status, self.legend = Note("status"), Note("legend")
        buttons = QHBoxLayout()
        for each in (start, stop, *others):
            buttons.addWidget(each, 2 if each is start else 1)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(6)
        self.column.addWidget(self.reason)
        self.column.addLayout(buttons)
        for widget in (self.progress, Capped(self.status), self.legend):
            self.column.addWidget(widget)

    def insert_above_buttons(self, widget: QWidget) -> None:
        """Add what is to be known before a run begins."""
        self.column.insertWidget(0, widget)

    def show_ready(self, running: bool, reason: str) -> None:
        """Enable the start, or say why not."""
        self.start.setEnabled(not running and not reason)
        self.stop.setEnabled(running)
        self.reason.say("" if running else reason)

"""The lower half of a widget that runs something: why not, the buttons, how far it is."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_damm.widgets.notes import Note


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
        self.setFormat(text)


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
        self.column.setSpacing(8)
        self.column.addWidget(self.reason)
        self.column.addLayout(buttons)
        for widget in (self.progress, self.status, self.legend):
            self.column.addWidget(widget)

    def insert_above_legend(self, widget: QWidget) -> None:
        """Add what a run draws, above the words that explain it."""
        self.column.insertWidget(self.column.indexOf(self.legend), widget)

    def show_ready(self, running: bool, reason: str) -> None:
        """Enable the start, or say why not."""
        self.start.setEnabled(not running and not reason)
        self.stop.setEnabled(running)
        self.reason.say("" if running else reason)

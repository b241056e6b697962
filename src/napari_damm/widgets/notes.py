"""A line of text below a control that takes no room while it is empty."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel

from napari_damm.util.text import with_micro

RED = "#d64545"


class Note(QLabel):
    """A line of text that takes as many rows as it needs, and none when it is empty."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def say(self, text: str) -> None:
        """Show `text`, or nothing at all."""
        self.setText(with_micro(text))
        self.setVisible(bool(text))
        self._fit()

    def warn(self, text: str) -> None:
        """Show `text` in red."""
        self.setStyleSheet(f"color: {RED}")
        self.say(text)

    def calm(self, text: str) -> None:
        """Show `text` in the colour of the others, after a warning too."""
        self.setStyleSheet("")
        self.say(text)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Take the height that the text needs at this width; nested layouts guess it."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setMinimumHeight(0)  # a label never asks for less than its minimum
        self.setFixedHeight(max(0, self.heightForWidth(self.width())))

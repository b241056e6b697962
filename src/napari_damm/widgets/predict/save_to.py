"""The "Save to" row: a path, what is there already, and a suggestion for large images.

1. A suggestion follows the picked layer until a person enters a path (or empties the field).
2. What is at the path is looked up when it changes; while somebody types, once they pause.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, QTimer, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_damm.widgets.notes import Note
from napari_damm.widgets.predict.destination import ENDING, Destination, is_large, look, suggest
from napari_damm.widgets.preferences import preferences

if TYPE_CHECKING:
    from napari.layers import Image

PAUSE_MS = 300


class SaveTo(QWidget):
    """Where the result goes."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.destination = Destination()
        self._suggested = ""
        self._large = False
        self._folder = str(preferences().get("output_folder") or "")
        self.out = QLineEdit()
        self.out.setObjectName("out")
        self.out.setPlaceholderText("in memory")
        self.out.setClearButtonEnabled(True)
        self.out.setToolTip("Folder for the result, an OME-Zarr; empty keeps it in memory")
        self.browse = QPushButton("…")
        self.browse.setObjectName("browse")
        self.browse.setFixedWidth(28)
        self.browse.setToolTip("Choose where to save the result")
        self.note = Note("out_note")
        row = QHBoxLayout()
        row.addWidget(self.out, 1)
        row.addWidget(self.browse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.note)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)

        self.look()

        self._pause.timeout.connect(self.look)
        self.out.textChanged.connect(self._on_text)
        self.out.editingFinished.connect(self._on_done)
        self.browse.clicked.connect(self._browse)

    def follow(self, layer: Image | None) -> None:
        """Suggest what suits the picked layer, unless a person has decided."""
        large = layer is not None and is_large(layer)
        suggested = "" if layer is None else suggest(layer, self._folder)
        if (large, suggested) == (self._large, self._suggested):
            return
        untouched = self.out.text() == self._suggested
        self._large, self._suggested = large, suggested
        if untouched:
            with QSignalBlocker(self.out):
                self.out.setText(suggested)
        self.look()

    def look(self) -> None:
        """Look up what is at the path now, and say it."""
        self._pause.stop()
        self.destination = look(self.out.text(), self._large)
        self.out.setToolTip(str(self.destination.path or "Empty keeps the result in memory"))
        self.note.say(self.destination.note)
        self.changed.emit()

    def _on_text(self) -> None:
        if self.out.hasFocus():
            self._pause.start()
        else:
            self.look()

    def _on_done(self) -> None:
        if self._pause.isActive():
            self.look()

    def _browse(self) -> None:
        start = self.out.text() or self._suggested or str(Path.home() / f"result{ENDING}")
        path, _ = QFileDialog.getSaveFileName(
            self,
            "Save the result to, or resume it from",
            start,
            f"Result (*{ENDING})",
            options=QFileDialog.Option.DontConfirmOverwrite,  # nothing is ever overwritten
        )
        if path:
            self.out.setText(path)

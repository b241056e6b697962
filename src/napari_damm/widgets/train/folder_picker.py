"""A folder to train on: one sub-folder of images per role, with equal file names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, QTimer, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QLineEdit, QWidget

from napari_damm.widgets.controls import button, capital, rows
from napari_damm.widgets.model_picker import MODALITIES
from napari_damm.widgets.number_boxes import PixelSizeBox
from napari_damm.widgets.paths import LOOKUP_ERRORS, cannot_look_up, check_lookup
from napari_damm.widgets.train.request import FolderData

USUAL = {"primary": "CD31", "secondary": "DAPI", "target": "QD"}
PAUSE_MS = 300


class FolderPicker(QWidget):
    """A path, the names of its three sub-folders, and a pixel size."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.folder = _line("folder", "", "The folder that holds the three sub-folders")
        self.folder.setPlaceholderText("choose a folder")
        self._browse = button("folder_browse", "…", "Choose the folder")
        self._browse.setFixedWidth(28)
        self._labels = {role: QLabel() for role in USUAL}
        self._names = {role: _line(f"folder_{role}", name) for role, name in USUAL.items()}
        self._suggested = dict(USUAL)
        self._pixel_size = PixelSizeBox("folder_pixel_size", "as the files state")
        self._pixel_size.setToolTip("Width of one pixel, for files that do not state it")
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._lay_out()

        for line in (self.folder, *self._names.values()):
            line.textChanged.connect(self._on_text)
        self._pause.timeout.connect(self.changed)
        self._pixel_size.entered.connect(self.changed)
        self._browse.clicked.connect(self._choose)

    def _lay_out(self) -> None:
        form = rows()
        with_browse = QHBoxLayout()
        with_browse.addWidget(self.folder, 1)
        with_browse.addWidget(self._browse)
        form.addRow("Folder", with_browse)
        for role, line in self._names.items():
            form.addRow(self._labels[role], line)
        form.addRow("Pixel size", self._pixel_size)
        self.setLayout(form)

    def set_modalities(self, modalities: Sequence[str]) -> None:
        """Say which sub-folder holds what; what nobody entered is suggested anew."""
        stains = tuple(modalities) == MODALITIES
        for role, name in zip(USUAL, modalities, strict=True):
            suggested = USUAL[role] if stains else name
            if self._names[role].text() == self._suggested[role]:
                with QSignalBlocker(self._names[role]):
                    self._names[role].setText(suggested)
            self._suggested[role] = suggested
            self._labels[role].setText(capital(name))
            self._labels[role].setToolTip(f"Name of the sub-folder with the {name} images")
            self._names[role].setToolTip(f"Name of the sub-folder with the {name} images")

    def chosen(self, modalities: Sequence[str]) -> FolderData:
        """Resolve what is entered; the engine looks at the images themselves.

        Raises
        ------
        ValueError
            In one sentence, why it cannot be trained on.
        """
        text = self.folder.text().strip()
        if not text:
            raise ValueError("Choose a folder")
        try:
            path = Path(text).expanduser().absolute()
            check_lookup(path)
            return self._look(path, modalities)
        except LOOKUP_ERRORS as error:
            raise ValueError(cannot_look_up(text, error)) from None

    def _look(self, path: Path, modalities: Sequence[str]) -> FolderData:
        if not path.is_dir():
            raise ValueError(f"The folder {path} does not exist: choose another")
        names = {role: line.text().strip() for role, line in self._names.items()}
        for (role, name), modality in zip(names.items(), modalities, strict=True):
            if not name:
                raise ValueError(f"Enter the name of the sub-folder with the {modality} images")
            if not (path / name).is_dir():
                raise ValueError(
                    f"{path.name} has no sub-folder '{name}': enter the name of the one with the "
                    f"{modality} images"
                )
            if list(names.values()).index(name) != list(names).index(role):
                raise ValueError(f"'{name}' is given twice: enter three different sub-folders")
        return FolderData(path, **names, pixel_size_um=self._pixel_size.value() or None)

    def _on_text(self) -> None:
        if any(line.hasFocus() for line in (self.folder, *self._names.values())):
            self._pause.start()
        else:
            self.changed.emit()

    def _choose(self) -> None:
        start = self.folder.text() or str(Path.home())
        path = QFileDialog.getExistingDirectory(self, "Folder with one sub-folder per stain", start)
        if path:
            with QSignalBlocker(self.folder):
                self.folder.setText(path)
            self.changed.emit()


def _line(name: str, text: str, tooltip: str = "") -> QLineEdit:
    line = QLineEdit(text)
    line.setObjectName(name)
    line.setToolTip(tooltip)
    return line

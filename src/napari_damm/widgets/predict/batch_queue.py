"""The window "Many sections": files are predicted one after another, with the state of each.

1. Files and folders make a list of sections, paired by the naming rule; why they cannot be paired
   stands beside Start. Model, mode and device are those of Predict, unless others are ticked here:
   of several, each section is predicted with every one. Channels are found by their names, unless
   others are named here.
2. What is finished in the folder for the results is skipped, what is unfinished goes on: the list
   says so before the start, after napari was closed in between, too. What the rest will take
   stands above Start.
3. A section that fails does not stop the others; those that failed are named at the end, and the
   first is selected. A double click opens a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_damm.util.text import with_micro
from napari_damm.widgets.controls import button, rows
from napari_damm.widgets.model_hub import model_hub
from napari_damm.widgets.notes import Note
from napari_damm.widgets.number_boxes import PixelSizeBox, doubt
from napari_damm.widgets.predict.batch_channels import ChannelNames
from napari_damm.widgets.predict.batch_forecast import BatchForecast
from napari_damm.widgets.predict.batch_run import BatchRun, Choices, words_of
from napari_damm.widgets.predict.batch_ways import Ways
from napari_damm.widgets.predict.destination import look
from napari_damm.widgets.run.job import readable
from napari_damm.widgets.run.run_controls import RunControls
from napari_damm.widgets.run.run_widget import RunWidget
from napari_damm.widgets.viewer.reader import is_result

if TYPE_CHECKING:
    from qtpy.QtGui import QCloseEvent, QShowEvent

    from napari_damm.engine.batch_sections import BatchSection
    from napari_damm.widgets.run.live_run import LiveRun

NOTHING = "Add files, or a folder of them"
NO_FOLDER = "Choose the folder for the results"
STORE = Qt.ItemDataRole.UserRole


class BatchQueue(RunWidget):
    """A list of sections with a state each; `choices` are those of Predict, asked for at Start."""

    what = "The batch"
    stopping = "Cancelling…"

    def __init__(self, viewer: Any, choices: Callable[[], Choices], parent: QWidget) -> None:
        start = button("batch_start", "Start", "Predict one section after another")
        stop = button("batch_cancel", "Cancel", "Stop; what is finished stays, Start goes on")
        super().__init__(RunControls(start, stop))
        self.setParent(parent, Qt.WindowType.Window)
        self.setWindowTitle("Many sections")
        self._viewer, self._choices = viewer, choices
        self._inputs: list[Path] = []
        self._paired: list[Path] = []
        self._sections: list[BatchSection] = []
        self._missing: list[float] = []  # the share of each that is still to be predicted
        self._problem = NOTHING
        self.list = QListWidget()
        self.list.setObjectName("sections")
        self.list.setToolTip("A double click opens a result")
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setResizeMode(QListWidget.ResizeMode.Adjust)
        self.folder, self.rule = QLineEdit(), QLineEdit()
        self.pixel_size = PixelSizeBox("batch_pixel_size", "as the files say")
        self.channels = ChannelNames()
        self.ways, self.ways_note = Ways(), Note("batch_ways_note")
        self.forecast = BatchForecast()
        self._controls.insert_above_buttons(self.forecast)
        self._lay_out()

        self._pair()

        self.rule.textChanged.connect(self._pair)
        self.folder.textChanged.connect(self._pair)
        self.pixel_size.entered.connect(self._pair)
        self.channels.changed.connect(self._pair)
        self.ways.changed.connect(self._pair)
        self.forecast.size_found.connect(self._forecast)
        model_hub().model_added.connect(self._on_model_added)
        self.list.itemDoubleClicked.connect(self._open)
        start.clicked.connect(self._start)

    def _lay_out(self) -> None:
        for field, name, hint, meaning in (
            (self.folder, "batch_folder", "folder for the results", "Made if it does not exist"),
            (self.rule, "batch_rule", "such as CD31=DAPI", "Where nuclei have files of their own"),
        ):
            field.setObjectName(name)
            field.setPlaceholderText(hint)
            field.setToolTip(meaning)
        files = button("add_files", "Add files…", "Sections, one file each")
        folder = button("add_folder", "Add folder…", "All images in a folder")
        clear = button("clear", "Clear", "Begin an empty list")
        files.clicked.connect(self._ask_files)
        folder.clicked.connect(self._ask_folder)
        clear.clicked.connect(self._clear)
        line = QHBoxLayout()
        for each in (files, folder, clear):
            line.addWidget(each)
        form = rows()
        browse = button("batch_browse", "…", "Choose the folder for the results")
        browse.setFixedWidth(28)
        browse.clicked.connect(self._ask_results)
        results = QHBoxLayout()
        results.addWidget(self.folder, 1)
        results.addWidget(browse)
        form.addRow("Results", results)
        form.addRow("Nuclei in", self.rule)
        form.addRow("Channels", self.channels)
        form.addRow("Pixel size", self.pixel_size)
        form.addRow("Modes", self.ways.modes)
        form.addRow("Models", self.ways.models)
        form.addRow(self.ways_note)
        column = QVBoxLayout(self)
        column.addLayout(line)
        column.addLayout(form)
        column.addWidget(self.list, 1)
        column.addWidget(self._controls)

    def add(self, paths: Sequence[str | Path]) -> None:
        """Add files and folders to the list."""
        self._inputs += [path for path in map(Path, paths) if path not in self._inputs]
        self._pair()

    # ------------------------------------------------------------ the list

    def _pair(self) -> None:
        """Pair the files anew, and list the sections."""
        if self.running:
            return
        from napari_damm.engine.batch_sections import find_sections, in_all_ways

        self._sections, self._problem, self._paired = [], "", list(self._inputs)
        folder = Path(self.folder.text().strip() or "results").expanduser()
        size = self.pixel_size.value() or None
        try:
            if size and doubt(size):
                raise ValueError(doubt(size))
            if self._inputs:
                rule = self.rule.text().strip() or None
                options = self.channels.options | ({"pixel_size_um": size} if size else {})
                found = find_sections(self._inputs, folder, rule, options)
                self._sections = in_all_ways(found, *self.ways.ticked)
        except (ValueError, OSError) as error:
            self._problem = readable(error)
        self.list.clear()
        self._missing = []
        for section in self._sections:
            item = QListWidgetItem()
            item.setData(STORE, str(section.store))
            self.list.addItem(item)
            state, missing = _state_of(section.store)
            self._missing.append(missing)
            self.show_state(section.name, state)
        self._update()

    def show_state(self, name: str, state: str) -> None:
        """Say what becomes of a section."""
        for row, section in enumerate(self._sections):
            item = self.list.item(row)
            if section.name == name and item is not None:
                item.setText(f"{words_of(section)}: {with_micro(state)}")
                item.setToolTip(f"{section}\n{with_micro(state)}")

    def _update(self) -> None:
        problem = self._problem or ("" if self._sections else NOTHING)
        if not problem and not self.folder.text().strip():
            problem = NO_FOLDER
        self._controls.show_ready(self.running, problem)
        self.ways_note.say(self._ways_in_words())
        self._forecast()
        choices = self.folder, self.rule, self.channels, self.pixel_size
        for each in (*choices, self.ways.modes, self.ways.models):
            each.setEnabled(not self.running)

    def _forecast(self) -> None:
        """Say what the sections that are not done will take."""
        try:
            choices = None if self.running else self.ways.narrow(self._choices())
        except ValueError:  # said below the models
            choices = None
        pairs = zip(self._sections, self._missing, strict=True)
        waiting = [(section, missing) for section, missing in pairs if missing]
        self.forecast.show_for(waiting, len(self._sections), choices)

    def _ways_in_words(self) -> str:
        """Say which model and mode count where none is ticked."""
        models, modes = self.ways.ticked
        words = [] if modes else ["No mode is ticked: that of Predict counts"]
        words += [] if models else ["No model is ticked: that of Predict counts"]
        try:
            choices = self._choices()
        except ValueError as error:
            return ". ".join([*words, "" if models else readable(error)]).rstrip(". ")
        found = {"mode": str(choices.settings["mode"]), "model": choices.model.stem}
        return ". ".join(f"{said} ({found[said.split()[1]]})" for said in words)

    def _ask_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Sections to predict")
        self.add(paths)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder of sections")
        self.add([path] if path else [])

    def _ask_results(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if path and not self.running:
            self.folder.setText(path)

    def _clear(self) -> None:
        if not self.running:
            self._inputs = []
            self._pair()

    def refresh(self) -> None:
        """Say anew what counts of Predict, where its choices have changed."""
        if self.isVisible():
            self._update()

    def _on_model_added(self, *_: object) -> None:
        if not self.running:
            self.ways.refill()

    def showEvent(self, event: QShowEvent | None) -> None:
        """List models that were added while the window was hidden."""
        super().showEvent(event)
        self._on_model_added()
        self._update()

    def _open(self, item: QListWidgetItem) -> None:
        store = Path(str(item.data(STORE)))
        if not store.exists():
            self._controls.status.say(f"{store.name} is not there yet")
            return
        try:
            self._viewer.open(str(store), plugin="napari-damm")
        except (ValueError, OSError) as error:
            self._controls.status.say(readable(error))

    # ------------------------------------------------------------ the run

    def _start(self) -> None:
        try:
            choices = self.ways.narrow(self._choices())
        except ValueError as error:
            self._controls.status.say(readable(error))
            return
        self._begin(BatchRun(tuple(self._sections), choices, self.show_state, self))

    def _after_run(self, run: LiveRun) -> None:
        if self._inputs != self._paired:  # files were added, or all taken away, meanwhile
            self._pair()
        self._missing = [_state_of(section.store)[1] for section in self._sections]
        assert isinstance(run, BatchRun)
        names = [section.name for section in self._sections]
        if run.failed and run.failed[0] in names:
            self.list.setCurrentRow(names.index(run.failed[0]))
        self._update()

    def closeEvent(self, event: QCloseEvent | None) -> None:
        """Stop with the window."""
        if self._run is not None:
            self._run.close()
        super().closeEvent(event)


def _state_of(store: Path) -> tuple[str, float]:
    """Say what an earlier batch left in the place of a result, and the share that is missing."""
    from napari_damm.engine.failure_notes import failure_of

    if not store.exists():
        reason = failure_of(store)
        return (f"failed before ({reason}), Start tries again" if reason else "waiting"), 1.0
    begun = look(str(store)).unfinished
    if begun is not None:
        state = f"{begun.shards_done} of {begun.shards} parts are done, Start goes on"
        return state, 1 - begun.shards_done / begun.shards
    return ("done before", 0.0) if is_result(str(store)) else ("waiting", 1.0)

"""The lower part of the Predict widget: what can be done with a prediction that is there.

1. It is about the run of the selected layer; where that is none, about the newest run.
2. The record; the same as a script and as a command; saving.
3. How sure: what each place is worth, as a layer; what is not to be trusted, or less sure, is
   hidden (`hiding_controls`); the least sure places are shown one after the other.
4. The difference to another run; the values under the cursor, in words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_damm.trust.cells import shares_in_words
from napari_damm.widgets.controls import NARROWEST, button, data_box, refill
from napari_damm.widgets.notes import Note
from napari_damm.widgets.predict.answered import answered
from napari_damm.widgets.predict.hiding_controls import HidingControls
from napari_damm.widgets.predict.record_words import record_words
from napari_damm.widgets.predict.reproduction import command_text, python_text
from napari_damm.widgets.predict.saving import ask_and_draw, ask_and_save
from napari_damm.widgets.viewer.camera import camera_of
from napari_damm.widgets.viewer.derived_layers import add_difference, mark_place
from napari_damm.widgets.viewer.map_legend import map_legend
from napari_damm.widgets.viewer.result_maps import modalities_of
from napari_damm.widgets.viewer.result_tools import (
    RunLayers,
    least_sure_places,
    run_of,
    runs_in,
)
from napari_damm.widgets.viewer.roles import RESULT_KEY
from napari_damm.widgets.viewer.run_notes import notes_of, record_of
from napari_damm.widgets.viewer.slices import in_units_shown
from napari_damm.widgets.viewer.trust_layer import LEGEND, add_trust_map
from napari_damm.widgets.viewer.verdict import verdict_colour, verdict_in_words

if TYPE_CHECKING:
    from napari.layers import Layer

CLOSE_UP_CELLS = 16
PAUSE_MS = 40  # a map on disk is not read for every step of the mouse
LISTED = frozenset(("inserted", "removed", "renamed", "metadata", "data"))


class ResultPanel(QGroupBox):
    """Record, copies, saving, doubt and difference of one run."""

    def __init__(self, viewer: Any) -> None:
        super().__init__("Result")
        self.setObjectName("result")
        self._viewer = viewer
        self._known: list[object] = []
        self._run: RunLayers | None = None
        self._places: Iterator[tuple[float, float]] = iter(())
        self.heading, self.verdict = Note("result_title"), Note("verdict")
        self.verdict.setTextFormat(Qt.TextFormat.PlainText)  # its words may be from elsewhere
        self.record, self.answer = Note("record"), Note("result_answer")
        self.values, self.hiding = Note("values"), HidingControls(viewer, self.answer)
        self.legend = Note("map_legend")
        self.other_run = data_box("other_run", self._others)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._lay_out()
        self.hide()

        self._on_layers()

        viewer.layers.events.connect(self._on_event)
        viewer.layers.selection.events.active.connect(self._on_layers)
        viewer.cursor.events.position.connect(self._on_cursor)
        self._pause.timeout.connect(self._say_values)

    def _lay_out(self) -> None:
        self.other_run.tooltip = "Another prediction of this section"
        rows: tuple[tuple[str, str, str, Callable[..., None]], ...] = (
            ("save_result", "Save…", "All maps as OME-Zarr, or one as OME-TIFF", self._save),
            ("figure", "Figure…", "A picture for slides, as PNG or SVG", self._figure),
            ("place", "Least sure", "Show the least sure place, then the next", self._go),
            ("copy_python", "Python", "Copy a script that gives the same bits", self._python),
            ("copy_command", "Command", "Copy the same for a terminal", self._command),
            ("trust_map", "Trust map", "Where to use it, with care, or not at all", self._trust),
            ("difference", "Difference", "This map minus the other, as a layer", self._subtract),
        )
        made = {}
        for name, text, meaning, action in rows:
            made[name] = button(name, text, meaning)
            made[name].setMinimumWidth(NARROWEST)
            made[name].clicked.connect(action)
        lines: tuple[tuple[QWidget, ...], ...] = (
            (made["save_result"], made["trust_map"]),
            (made["figure"], made["place"]),
            (QLabel("Copy as"),),
            (made["copy_python"], made["copy_command"]),
            (self.hiding,),
            (self.other_run.native,),
            (made["difference"],),
        )
        self._subtract_button = made["difference"]
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(self.heading)
        column.addWidget(self.verdict)
        column.addWidget(self.values)
        for line in lines:
            row = QHBoxLayout()
            for widget in line:
                row.addWidget(widget, 0 if isinstance(widget, QLabel) and len(line) > 1 else 1)
            column.addLayout(row)
        for note in (self.answer, self.legend, self.record):
            column.addWidget(note)

    # ------------------------------------------------------------ which run

    def _on_event(self, event: Any) -> None:
        if event.type in LISTED:
            self._on_layers()

    def _on_layers(self, *_: object) -> None:
        # The viewer may outlive the panel by a moment while its window is torn down.
        if not isalive(self):  # type: ignore[no-untyped-call]
            return
        layers = self._viewer.layers
        active = layers.selection.active
        runs = runs_in(layers)
        run = None if active is None else run_of(active, layers)
        new = [each for each in runs if each.key not in self._known]
        self._known = [each.key for each in runs]
        # none is active while a layer is inserted; another image asks for the newest run
        if (active is None or RESULT_KEY in active.metadata) and not new:
            run = run or next((each for each in runs if self._is_shown(each)), None)
        chosen = run or next(iter(runs[-1:]), None)
        if chosen is None or self._run is None or chosen.maps != self._run.maps:
            self._show(chosen)
        self._list_others()

    def _is_shown(self, run: RunLayers) -> bool:
        return self._run is not None and run.key is self._run.key

    def _show(self, run: RunLayers | None) -> None:
        self._run = run
        self._places = iter(())
        self.answer.say("")
        self.values.say("")
        self.setVisible(run is not None)
        if run is None:
            return
        self.hiding.show_run(run)
        self.update_record()

    def update_record(self) -> None:
        """Say anew how the shown run was made: it may have finished."""
        if self._run is not None:
            layer = next(iter(self._run.maps.values()))
            self.heading.say((self._run.np or layer).name)
            record = record_of(layer) or {}
            self.verdict.setStyleSheet(f"color: {verdict_colour(record)}")
            self.verdict.say(verdict_in_words(record))
            self.record.say(record_words(record))
            self.legend.say(map_legend(self._run.maps, modalities_of(record)))
            self._places = iter(())
            self.hiding.update_rules()
            self.hiding.refresh()

    def _list_others(self) -> None:
        choices = self._others(None)
        known = [layer for _, layer in choices]
        kept = self.other_run.value if self.other_run.value in known else None
        refill(self.other_run, kept or (known[-1] if known else None))
        self._subtract_button.setEnabled(bool(known))
        self.other_run.native.setVisible(bool(known))
        self._subtract_button.setVisible(bool(known))

    def _others(self, _: object) -> list[tuple[str, Any]]:
        mine = self._run.maps if self._run is not None else {}
        runs = [run for run in runs_in(self._viewer.layers) if run.maps != mine]
        return [(f"minus {run.np.name}", run.np) for run in runs if run.np is not None]

    # ------------------------------------------------------------ what is done with it

    @answered
    def _save(self) -> None:
        self.answer.say(ask_and_save(self, self._shown.maps))

    @answered
    def _figure(self) -> None:
        self.answer.say(ask_and_draw(self, self._shown))

    @answered
    def _python(self) -> None:
        self._copy(python_text)
        self.answer.say("Copied: paste it into a script, or napari's console")

    @answered
    def _command(self) -> None:
        self._copy(command_text)
        self.answer.say("Copied: paste it into a terminal")

    def _copy(self, text: Callable[..., str]) -> None:
        layer = self._first_layer
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)  # files may be read for it
        try:
            copied = text(record_of(layer) or {}, notes_of(layer))
        finally:
            QApplication.restoreOverrideCursor()
        clipboard = QApplication.clipboard()
        assert clipboard is not None  # there is an application
        clipboard.setText(copied)

    @property
    def _first_layer(self) -> Layer:
        return next(iter(self._shown.maps.values()))

    @property
    def _shown(self) -> RunLayers:
        if self._run is None:
            raise ValueError("There is no prediction: click Predict first")
        return self._run

    @answered
    def _go(self) -> None:
        run = self._shown
        place = next(self._places, None)
        if place is None:
            self._places = least_sure_places(run)
            place = next(self._places, None)
        if place is None:
            raise ValueError("Nothing was predicted here")
        camera, layer = camera_of(self._viewer), run.maps["Uncertainty"]
        y, x = in_units_shown(layer, self._viewer.dims, place)
        mark_place(self._viewer, place, layer)
        camera.center = (*camera.center[:-2], y, x)
        cell = in_units_shown(layer, self._viewer.dims, layer.scale)[-1]
        camera.zoom = max(camera.zoom, 400 / (CLOSE_UP_CELLS * cell))
        self.answer.say(run.values_at(self._in_world((y, x)), self._viewer.dims))

    @answered
    def _trust(self) -> None:
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)  # all of a slide may be read
        try:
            layer = add_trust_map(self._viewer, self._shown)
        finally:
            QApplication.restoreOverrideCursor()
        worth = shares_in_words((record_of(self._first_layer) or {}).get("trust"))
        self.answer.say(f"{layer.name}: {LEGEND}. {worth}")

    def _in_world(self, place: tuple[float, float]) -> tuple[float, ...]:
        return (*self._viewer.dims.point[:-2], *place)

    @answered
    def _subtract(self) -> None:
        first, second = self._shown.np, self.other_run.value
        if first is None or second is None:
            raise ValueError("There is no other map: predict again, or open another result")
        layer = add_difference(self._viewer, first, second)
        self.answer.say(f"Added '{layer.name}': red is more, blue is less than in the other")

    def _on_cursor(self, *_: object) -> None:
        if isalive(self) and self._run is not None and self.isVisible():  # type: ignore[no-untyped-call]
            self._pause.start()

    def _say_values(self) -> None:
        if self._run is not None:
            said = self._run.values_at(self._viewer.cursor.position, self._viewer.dims)
            self.values.say(f"Under the cursor: {said}" if said else "")

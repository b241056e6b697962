"""What was measured: the numbers of a region, a line each, and the signal by distance.

1. Whose numbers are shown is chosen above them, and told to whoever marks regions; so it is when a
   line of them is clicked.
2. The plot follows the threshold as it is dragged, and shows the regions when they are measured; a
   click in it says which distance.
3. pyqtgraph is loaded when there is something to plot, so that the widget opens quickly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import qtpy
from qtpy.QtCore import QSignalBlocker, Qt, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_damm.util.text import with_micro
from napari_damm.widgets.controls import choice

if TYPE_CHECKING:
    from napari_damm.analysis.report import AnalysisReport, MeasureRow
    from napari_damm.util.measure import Measure

# Okabe and Ito's, readable on napari's dark theme and on the light one.
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
PREVIEW_COLOUR = "#8f98a3"
PLOT_PX = 190
APART_PX = 4  # lines of the table, some of which are of two
WHOSE = "Whose numbers these are; a drawn area is selected in its layer"

Line = tuple[Sequence[float], Sequence[float]]
"""Distances in um, and the signal there."""


class ResultsTable(QWidget):
    """The measures of one region, a line each; of several regions one is chosen above."""

    picked = Signal(str)  # the name of a region

    def __init__(self) -> None:
        super().__init__()
        self._report: AnalysisReport | None = None
        self.regions = choice("shown_region")
        self.regions.setToolTip(WHOSE)
        self.lines = _Lines()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.regions)
        layout.addWidget(self.lines)
        self.regions.currentTextChanged.connect(self._fill)
        self.regions.textActivated.connect(self._on_region)
        self.lines.cellClicked.connect(lambda *_: self.picked.emit(self.shown))
        self.hide()

    @property
    def shown(self) -> str:
        """The region whose numbers are shown, as the report calls it."""
        return str(self.regions.currentData() or "")

    def show_report(self, report: AnalysisReport) -> None:
        """List the regions, and show the numbers of the one that was looked at, or the first."""
        from napari_damm.analysis.cautions import TRUSTED_IS
        from napari_damm.analysis.regions import TRUSTED

        self._report = report
        before = self.shown
        names = list(dict.fromkeys(row.region for row in report.rows))
        with QSignalBlocker(self.regions):
            self.regions.clear()
            for name in names:
                self.regions.addItem(with_micro(name), name)
            self.regions.setCurrentIndex(names.index(before) if before in names else 0)
        trusted = TRUSTED in names
        self.regions.setToolTip(with_micro(f"{WHOSE}\n{TRUSTED_IS}") if trusted else WHOSE)
        self.regions.setVisible(len(names) > 1)
        self._fill()
        self.show()

    def _on_region(self, text: str) -> None:
        self.picked.emit(str(self.regions.itemData(self.regions.findText(text))))

    def _fill(self, *_: object) -> None:
        """Show the numbers of a region; why one is missing, or not to be read, is its tooltip."""
        from napari_damm.analysis.measures import MEASURES

        if self._report is None:
            return
        rows = [row for row in self._report.rows if row.region == self.shown]
        self.lines.setRowCount(len(rows))
        for k, row in enumerate(rows):
            measure = MEASURES[row.measure]
            value = QTableWidgetItem(_shown(row, measure))
            value.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            for column, item in enumerate((QTableWidgetItem(with_micro(measure.label)), value)):
                item.setToolTip(with_micro(row.reason or _ground(row, measure)))
                self.lines.setItem(k, column, item)
        self.lines.fit()


class _Lines(QTableWidget):
    """Two columns, as wide as there is room and as high as its lines: the form scrolls, not it."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.setObjectName("table")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setShowGrid(False)
        for policy in (self.setVerticalScrollBarPolicy, self.setHorizontalScrollBarPolicy):
            policy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        across, down = self.horizontalHeader(), self.verticalHeader()
        assert across is not None
        assert down is not None
        across.hide()
        down.hide()
        across.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        across.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)

    def fit(self) -> None:
        """Take the height that the lines need at this width, where long names wrap."""
        self.resizeRowsToContents()
        for row in range(self.rowCount()):
            self.setRowHeight(row, self.rowHeight(row) + APART_PX)
        height = sum(self.rowHeight(row) for row in range(self.rowCount()))
        self.setFixedHeight(height + 2 * self.frameWidth())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Wrap anew."""
        super().resizeEvent(event)
        self.fit()


def in_units(measure: Measure, value: float | None) -> str:
    """Return a value with its unit, as people write it."""
    text = measure.text(value)
    return text if value is None else f"{text} {with_micro(measure.unit)}".rstrip()


def _shown(row: MeasureRow, measure: Measure) -> str:
    """Return a value with its unit, below it its interval, or that it is not to be read."""
    from napari_damm.analysis.measures import NOT_GIVEN

    said = [in_units(measure, row.value)]
    if row.value is not None and row.measure in NOT_GIVEN and row.reason:
        said.append("not to be read")
    elif row.low is not None and row.high is not None:
        said.append(f"({measure.text(row.low)} to {measure.text(row.high)})")
        said += [] if row.level else ["not calibrated"]
    return "\n".join(said)


def _ground(row: MeasureRow, measure: Measure) -> str:
    """Say what a number rests on, and between what it lies where that is known."""
    said = f"from {row.n} {row.of}"
    if row.low is None or row.high is None:
        return said
    between = f"{measure.text(row.low)} to {in_units(measure, row.high)}"
    kind = f"{100 * row.level:.0f} % interval" if row.level else "not calibrated:"
    return f"{said}; {kind} {between}"


class ProfilePlot(QWidget):
    """Mean signal by distance from the nearest vessel."""

    distance_picked = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("plot")
        self.lines: dict[str, Line] = {}
        self._axes: Any = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.hide()

    def draw(self, lines: Mapping[str, Line]) -> None:
        """Show lines by what they are called; the first is drawn on top."""
        self.lines = dict(lines)
        if self._axes is None:
            self._axes = self._new_axes()
        self._axes.clear()
        self._axes.addLegend(offset=(-5, 5))
        import pyqtgraph

        colours = cycle(COLOURS)  # a line keeps its own, with a preview or without
        for name, (x, y) in lines.items():
            colour = PREVIEW_COLOUR if name.startswith("preview") else next(colours)
            pen = pyqtgraph.mkPen(colour, width=2)
            self._axes.plot(
                list(x), list(y), pen=pen, name=with_micro(name), symbol="o", symbolSize=4,
                symbolBrush=colour, symbolPen=None,
            )  # fmt: skip
        self.show()

    def _new_axes(self) -> Any:
        # pyqtgraph would take the first Qt binding that it finds.
        os.environ.setdefault("PYQTGRAPH_QT_LIB", qtpy.API_NAME)
        import pyqtgraph

        axes = pyqtgraph.PlotWidget(background=None)
        axes.setFixedHeight(PLOT_PX)
        axes.setLabel("bottom", "µm from the nearest vessel")
        axes.setLabel("left", "mean signal")
        for side in ("bottom", "left"):
            axes.getAxis(side).enableAutoSIPrefix(False)  # nobody reads "x0.001" beside a label
        axes.setMouseEnabled(False, False)
        axes.hideButtons()
        axes.scene().sigMouseClicked.connect(self._on_click)
        layout = self.layout()
        assert layout is not None
        layout.addWidget(axes)
        return axes

    def _on_click(self, event: Any) -> None:
        place = self._axes.getViewBox().mapSceneToView(event.scenePos())
        self.distance_picked.emit(float(place.x()))


def cautions(report: AnalysisReport) -> list[str]:
    """Return what the report cautions against; of intervals nothing where it has none."""
    some = any(row.low is not None for row in report.rows)
    return [note for note in report.notes if some or not note.startswith("Intervals ")]


def profile_lines(report: AnalysisReport) -> dict[str, Line]:
    """Return the profile of each region."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for row in report.profiles:
        x, y = lines.setdefault(row.region, ([], []))
        x.append(row.distance_um)
        y.append(row.signal)
    return dict(lines)

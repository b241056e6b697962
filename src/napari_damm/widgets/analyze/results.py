"""What was measured: a table with a row for each region, and the signal by distance.

1. A click on a row says which region it is.
2. The plot follows the threshold as it is dragged, and shows the regions when they are measured; a
   click in it says which distance.
3. pyqtgraph is loaded when there is something to plot, so that the widget opens quickly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import qtpy
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QAbstractItemView, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari_damm.analysis.report import AnalysisReport

# Okabe and Ito's, readable on napari's dark theme and on the light one.
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
PREVIEW_COLOUR = "#8f98a3"
PLOT_PX = 190
TABLE_PX = 150

Line = tuple[Sequence[float], Sequence[float]]
"""Distances in um, and the signal there."""


class ResultsTable(QTableWidget):
    """A row for each region, a column for each measure."""

    picked = Signal(str)  # the name of a region

    def __init__(self) -> None:
        super().__init__(0, 0)
        self.setObjectName("table")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setMinimumHeight(TABLE_PX)
        self.cellClicked.connect(self._on_click)
        self.hide()

    def show_report(self, report: AnalysisReport) -> None:
        """Fill in what was measured; why a number is missing is its tooltip."""
        from napari_damm.analysis.measures import MEASURES

        regions = list(dict.fromkeys(row.region for row in report.rows))
        self.setRowCount(len(regions))
        self.setColumnCount(len(MEASURES))
        self.setVerticalHeaderLabels(regions)
        self.setHorizontalHeaderLabels([m.title.replace("um", "µm") for m in MEASURES.values()])
        columns = {name: k for k, name in enumerate(MEASURES)}
        for row in report.rows:
            item = QTableWidgetItem(MEASURES[row.measure].text(row.value))
            item.setToolTip(row.reason or f"from {row.n} {row.of}")
            item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.setItem(regions.index(row.region), columns[row.measure], item)
        self.resizeColumnsToContents()
        self.show()

    def _on_click(self, row: int, column: int) -> None:
        header = self.verticalHeaderItem(row)
        if header is not None:
            self.picked.emit(header.text())


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

        for k, (name, (x, y)) in enumerate(lines.items()):
            colour = PREVIEW_COLOUR if name.startswith("preview") else COLOURS[k % len(COLOURS)]
            pen = pyqtgraph.mkPen(colour, width=2)
            self._axes.plot(
                list(x), list(y), pen=pen, name=name, symbol="o", symbolSize=4, symbolBrush=colour,
                symbolPen=None,
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


def profile_lines(report: AnalysisReport) -> dict[str, Line]:
    """Return the profile of each region."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for row in report.profiles:
        x, y = lines.setdefault(row.region, ([], []))
        x.append(row.distance_um)
        y.append(row.signal)
    return dict(lines)

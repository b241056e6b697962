"""The plot of a running training: losses above, validation SSIM below.

pyqtgraph is loaded when the first training begins, so that the widget opens quickly.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import qtpy
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_damm.events import TrainStep, Validated
from napari_damm.widgets.result_layers import BRANCH_COLOURS, branch_meanings

SMOOTHING = 0.95
MOST_POINTS = 2000
HEIGHT_PX = 300
GREY = "#8f98a3"  # readable on napari's dark theme and on the light one
GREEN = "#009e73"  # Okabe and Ito's, beside their orange and blue of the branches
PHASES = ("joint", "gated")


@dataclass
class Curve:
    """A line that grows; a long one keeps every second point."""

    smoothing: float = 0.0
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    _mean: float = 0.0
    _weight: float = 0.0

    def add(self, x: float, y: float) -> None:
        """Add a point, smoothed with those before it; what is no number is left out."""
        if not math.isfinite(y):
            return
        self._mean = self.smoothing * self._mean + (1 - self.smoothing) * y
        self._weight = self.smoothing * self._weight + 1 - self.smoothing
        self.x.append(x)
        self.y.append(self._mean / self._weight)
        if len(self.x) > MOST_POINTS:
            del self.x[1:-1:2], self.y[1:-1:2]


class LearningCurves(QWidget):
    """Shows how the losses fall and the validation SSIM rises."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("curves")
        self.uni, self.multi, self.autoencoder = (Curve(SMOOTHING) for _ in range(3))
        self.ssim, self.base = Curve(), Curve()
        self._lines: list[tuple[Curve, Any]] = []
        self._phase = ""
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.hide()

    def begin(self, modalities: Sequence[str], name: str) -> None:
        """Show empty axes for a training with such modalities."""
        self.uni, self.multi, self.autoencoder = (Curve(SMOOTHING) for _ in range(3))
        self.ssim, self.base, self._phase = Curve(), Curve(), ""
        plots = self._new_canvas()
        meanings = branch_meanings(modalities)
        losses = _axes(plots, 0, "Training loss")
        scores = _axes(plots, 1, f"Validation SSIM of {modalities[2]}")
        scores.setLabel("bottom", "step", color=GREY)
        self._lines = [
            (self.uni, _line(losses, BRANCH_COLOURS[1], meanings[1])),
            (self.multi, _line(losses, BRANCH_COLOURS[2], meanings[2])),
            (self.autoencoder, _line(losses, GREEN, "autoencoder")),
            (self.base, _line(scores, GREY, "base model", dashed=True)),
            (self.ssim, _line(scores, GREEN, f"{name} (new)", symbol="o")),
        ]
        self.show()

    def step(self, event: TrainStep) -> None:
        """Take up the losses of a step."""
        if event.phase in PHASES:
            self.uni.add(event.step, event.loss_uni)
            self.multi.add(event.step, event.loss_multi)
            return
        if event.phase != self._phase:  # another autoencoder counts its steps anew
            self._phase = event.phase
            del self.autoencoder.x[:], self.autoencoder.y[:]
        self.autoencoder.add(event.step, event.loss)

    def validated(self, event: Validated) -> None:
        """Take up the scores of a validation."""
        self.ssim.add(event.step, event.scores.get("ssim", math.nan))
        self.base.add(event.step, event.base_scores.get("ssim", math.nan))

    def draw(self) -> None:
        """Show what was taken up."""
        if self.uni.x and self.autoencoder.x:  # that part is over
            del self.autoencoder.x[:], self.autoencoder.y[:]
        for curve, line in self._lines:
            line.setData(curve.x, curve.y)

    def _new_canvas(self) -> Any:
        os.environ.setdefault("PYQTGRAPH_QT_LIB", qtpy.API_NAME)
        import pyqtgraph

        while (item := self._layout.takeAt(0)) is not None:
            old = item.widget()
            if old is not None:
                old.deleteLater()
        plots = pyqtgraph.GraphicsLayoutWidget()
        plots.setBackground(None)
        plots.setFixedHeight(HEIGHT_PX)
        self._layout.addWidget(plots)
        return plots


def _axes(plots: Any, row: int, title: str) -> Any:
    axes = plots.addPlot(row=row, col=0)
    axes.setTitle(title, color=GREY, size="9pt")
    axes.addLegend(offset=(-5, 5), labelTextColor=GREY, labelTextSize="8pt", colCount=1)
    axes.setMouseEnabled(x=False, y=False)
    axes.hideButtons()
    axes.setMenuEnabled(False)
    for side in ("left", "bottom"):
        axes.getAxis(side).setPen(GREY)
        axes.getAxis(side).setTextPen(GREY)
    return axes


def _line(
    axes: Any, colour: str, name: str, dashed: bool = False, symbol: str | None = None
) -> Any:
    from pyqtgraph import mkPen
    from qtpy.QtCore import Qt

    style = Qt.PenStyle.DashLine if dashed else Qt.PenStyle.SolidLine
    return axes.plot(
        [], [], pen=mkPen(colour, width=2, style=style), name=name,
        symbol=symbol, symbolBrush=colour, symbolPen=colour, symbolSize=5,
    )  # fmt: skip

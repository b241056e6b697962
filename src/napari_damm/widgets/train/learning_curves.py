"""The plot of a running training: losses above, the correlation with the truth below.

1. `Curve`s are plain lists that grow; a resumed training goes on with those that are shown, or,
   begun in another session, with those in its folder.
2. Captions in words and colours stand above the axes, where no line runs through them.
3. From a dotted line on, the detail alone learns: its loss goes on, the others stand still.
4. pyqtgraph is loaded when the first training begins, so that the widget opens quickly.
"""

from __future__ import annotations

import bisect
import math
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import qtpy
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_damm.events import Branch, TrainPlanned, TrainStep, Validated
from napari_damm.train.curves import CURVE_STEPS, read_rows
from napari_damm.widgets.notes import Note

SMOOTHING = 0.95
MOST_POINTS = 2000
HEIGHT_PX = 120
GREY = "#8f98a3"  # readable on napari's dark theme and on the light one
GREEN = "#009e73"  # Okabe and Ito's, beside their orange and blue of the branches
PURPLE = "#cc79a7"
SCORE = "r"
"""Which score is drawn: unlike SSIM it does not reward blur."""
DETAIL = "detail"  # as the engine calls it, which would load torch
LEARNT_FIRST = ("joint", "gated")
PHASES = (*LEARNT_FIRST, DETAIL)
DETAIL_ALONE = "fine detail; all else has learnt"


@dataclass
class Curve:
    """A line that grows; a long one keeps every second point."""

    smoothing: float = 0.0
    x: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    _mean: float = 0.0
    _weight: float = 0.0

    def add(self, x: float, y: float, of: int = 1) -> None:
        """Add a point, the mean of some, smoothed with those before; no number is left out."""
        if not math.isfinite(y) or (self.x and x <= self.x[-1]):
            return
        old = self.smoothing**of
        self._mean = old * self._mean + (1 - old) * y
        self._weight = old * self._weight + 1 - old
        self.x.append(x)
        self.y.append(self._mean / self._weight)
        if len(self.x) > MOST_POINTS:
            del self.x[1:-1:2], self.y[1:-1:2]

    def cut(self, last: float) -> None:
        """Drop what comes after a place: a resumed training makes it again."""
        kept = bisect.bisect_right(self.x, last)
        del self.x[kept:], self.y[kept:]


class LearningCurves(QWidget):
    """Shows how the losses fall and the correlation in validation windows rises."""

    begun = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("curves")
        self._phase, self._folder = "", Path()
        self._clear()
        self._lines: list[tuple[Curve, Any]] = []
        self.losses_caption, self.scores_caption = Note("losses_caption"), Note("scores_caption")
        self._plots: list[Any] = []
        self._marks: list[Any] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.losses_caption)
        layout.addWidget(self.scores_caption)
        self.hide()

    def begin(self, planned: TrainPlanned, name: str) -> None:
        """Show the axes for a training, with what an earlier run of it had reached."""
        if planned.steps_done and planned.folder == self._folder:
            self._go_back(planned.steps_done)
        else:
            self._clear()
            if planned.steps_done:
                self._read(planned.folder, planned.steps_done)
        self._folder = planned.folder
        self._levels[1] = planned.record.get("linear_scores", {}).get(SCORE, math.nan)
        if not self._plots:
            self._plots = [self._axes(1), self._axes(3)]
        losses, scores = self._plots
        for plot in self._plots:
            plot.clear()
        primary, secondary, *_ = planned.modalities
        both = f"multi-modal: {primary} and {secondary}"
        looks = [
            (self.uni, losses, f"uni-modal: {primary} alone", Branch.UNI_MODAL.colour),
            (self.multi, losses, both, Branch.MULTI_MODAL.colour),
            (self.autoencoder, losses, "autoencoder", GREEN),
            (self.detail, losses, DETAIL_ALONE, GREEN),
            (self.base, scores, "base model", GREY),
            (self.linear, scores, "linear model", PURPLE),
            (self.scores, scores, name, GREEN),
        ]
        self._lines = [
            (curve, _line(axes, colour, words, curve is self.scores))
            for curve, axes, words, colour in looks
        ]
        self._marks = [_mark(losses, 0.85), _mark(scores, 0.35)]
        keys = [_key(words, colour) for *_, words, colour in looks]
        uni, multi, autoencoder, detail, *dashed, new = keys
        first = f"Training loss by step<br>{uni}<br>{multi}"
        self._captions = {"autoencoder": f"Training loss by step<br>{autoencoder}"}
        self._captions |= dict.fromkeys(LEARNT_FIRST, first) | {DETAIL: f"{first}<br>{detail}"}
        self.losses_caption.say(self._captions["joint"])
        base, linear = (key.replace("■", "- -") for key in dashed)
        self.scores_caption.say(
            f"Correlation r with the imaged {planned.modalities[2]} in validation windows<br>"
            f"{new}<br>{base}<br>{linear}"
        )
        self.show()
        self.begun.emit()

    def step(self, event: TrainStep) -> None:
        """Add the losses of a step."""
        if event.phase in PHASES:
            self._count(event.step, event.phase, event.loss)
            self.uni.add(event.step, event.loss_uni)
            self.multi.add(event.step, event.loss_multi)
        else:
            if event.phase != self._phase:  # another autoencoder counts its steps anew
                del self.autoencoder.x[:], self.autoencoder.y[:]
            self.autoencoder.add(event.step, event.loss)
        self._phase = event.phase

    def validated(self, event: Validated) -> None:
        """Add the scores of a validation."""
        self.scores.add(event.step, event.scores.get(SCORE, math.nan))
        self._levels[0] = event.base_scores.get(SCORE, math.nan)

    def draw(self) -> None:
        """Draw what there is by now."""
        if self._phase in PHASES:
            del self.autoencoder.x[:], self.autoencoder.y[:]  # that part is over
        last = max([1.0, *self.uni.x[-1:], *self.detail.x[-1:], *self.scores.x[-1:]])
        for curve, level in zip((self.base, self.linear), self._levels, strict=True):
            known = math.isfinite(level)
            curve.x, curve.y = ([0.0, last], [level] * 2) if known else ([], [])
        for curve, line in self._lines:
            line.setData(curve.x, curve.y)
        for mark in self._marks:
            mark.setVisible(self.detail_from is not None)
            mark.setValue(self.detail_from or 0)
        caption = self._captions.get(self._phase or "joint", self._captions["autoencoder"])
        if caption != self.losses_caption.text():
            self.losses_caption.say(caption)

    def _clear(self) -> None:
        self.uni, self.multi, self.autoencoder, self.detail = (Curve(SMOOTHING) for _ in range(4))
        self.scores, self.base, self.linear = Curve(), Curve(), Curve()
        self._levels, self._phase = [math.nan, math.nan], ""
        self.detail_from: float | None = None

    def _go_back(self, last: int) -> None:
        """Keep what is shown, up to a step."""
        for curve in (self.uni, self.multi, self.detail, self.scores):
            curve.cut(last)
        if self.detail_from is not None and self.detail_from > last:
            self.detail_from = None

    def _count(self, step: int, phase: str, loss: float, of: int = 1) -> None:
        """Take note of whether the detail alone learns; a training that goes back ends that."""
        if phase != DETAIL:
            self.detail_from = None
            return
        if self.detail_from is None:
            self.detail_from = step
        self.detail.add(step, loss, of)

    def _read(self, folder: Path, last: int) -> None:
        """Read what the engine wrote, as far as the run that is resumed had come."""
        with suppress(OSError):
            for row in read_rows(folder):
                if int(row["step"]) > last:
                    return
                step = int(row["step"])
                if row.get("phase"):
                    loss = float(row.get("loss") or math.nan)
                    self._count(step, row["phase"], loss, CURVE_STEPS)
                for curve, column, of in (
                    (self.uni, "loss_uni", CURVE_STEPS),
                    (self.multi, "loss_multi", CURVE_STEPS),
                    (self.scores, SCORE, 1),
                ):
                    curve.add(step, float(row.get(column) or math.nan), of)

    def _axes(self, place: int) -> Any:
        os.environ.setdefault("PYQTGRAPH_QT_LIB", qtpy.API_NAME)
        import pyqtgraph

        plot = pyqtgraph.PlotWidget()
        plot.setBackground(None)
        plot.setFixedHeight(HEIGHT_PX)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.setMenuEnabled(False)
        for side in ("left", "bottom"):
            plot.getAxis(side).setPen(GREY)
            plot.getAxis(side).setTextPen(GREY)
        column: Any = self.layout()
        column.insertWidget(place, plot)
        return plot


def _key(words: str, colour: str) -> str:
    return f'<span style="color:{colour}">■</span> {words}'


def _line(axes: Any, colour: str, name: str, dots: bool) -> Any:
    from pyqtgraph import mkPen

    dashed = Qt.PenStyle.DashLine if colour in (GREY, PURPLE) else Qt.PenStyle.SolidLine
    points = {"symbol": "o", "symbolSize": 5, "symbolBrush": colour, "symbolPen": colour}
    pen = mkPen(colour, width=2, style=dashed)
    return axes.plot([], [], pen=pen, name=name, **(points if dots else {}))


def _mark(axes: Any, height: float) -> Any:
    """Add the line from which on the detail alone learns, not shown yet; its word at a height."""
    from pyqtgraph import InfiniteLine, mkPen

    label = {"color": GREY, "position": height}
    pen = mkPen(GREY, style=Qt.PenStyle.DotLine)
    mark = InfiniteLine(angle=90, pen=pen, label=DETAIL, labelOpts=label)
    mark.setVisible(False)
    axes.addItem(mark, ignoreBounds=True)
    return mark

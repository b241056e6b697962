"""Hides what a map is not worth: a rule, a slider, the share of the tissue that is left.

1. By trust where the run has a trust map, else by certainty; a person may choose.
2. At the slider's left end all is shown. What is hidden is covered, and can be left out of a layer
   to keep, by the same rule.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QApplication, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from napari_damm.widgets.controls import NARROWEST, button, choice
from napari_damm.widgets.notes import Note
from napari_damm.widgets.predict.answered import answered
from napari_damm.widgets.viewer.derived_layers import add_rest, show_cover
from napari_damm.widgets.viewer.hiding import Hidden, by_certainty, by_trust
from napari_damm.widgets.viewer.result_tools import RunLayers

TRUST, CERTAINTY = "not trusted", "less sure than"
RULES = {
    TRUST: (by_trust, 2, "Middle: hide “do not use”. Right: show “use” alone"),
    CERTAINTY: (by_certainty, 100, "Hide what the model is less sure of than this, in %"),
}
"""How each rule hides, the slider's right end, and what the slider does."""
MEANINGS = {
    TRUST: "by the trust map: first “do not use”, then “with care” as well",
    CERTAINTY: "by 1 - uncertainty: whether the two images agree",
}
NO_TRUST = "By trust when the prediction has finished, if the model says which images it knows"


class HidingControls(QWidget):
    """Covers a part of a run's map, or leaves it out of a new layer."""

    def __init__(self, viewer: Any, answer: Note) -> None:
        super().__init__()
        self._viewer, self.answer = viewer, answer
        self._run: RunLayers | None = None
        self.rule = choice("hide_by")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("least_sure")
        self.keep = button("sure_map", "Keep as layer", "The map without that, as a layer")
        self.keep.setMinimumWidth(NARROWEST)
        self.share = Note("share_left")
        above, below, column = QHBoxLayout(), QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        above.addWidget(QLabel("Hide"))
        above.addWidget(self.rule, 1)
        below.addWidget(self.slider, 1)
        below.addWidget(self.keep, 1)
        column.addLayout(above)
        column.addLayout(below)
        column.addWidget(self.share)

        self.show_run(None)

        self.rule.currentIndexChanged.connect(self._on_rule)
        self.slider.valueChanged.connect(self._on_slider)
        self.keep.clicked.connect(self._keep)

    def show_run(self, run: RunLayers | None) -> None:
        """Be about another run, of which all is shown."""
        self._run = run
        if run is not None:
            show_cover(self._viewer, run, None)
        with QSignalBlocker(self.rule):
            self.rule.clear()
        self.update_rules()

    def update_rules(self) -> None:
        """Offer the rules that there are for the run; one that has just finished has more."""
        known = self._run is not None and self._run.assessed
        rules = [TRUST, CERTAINTY] if known else [CERTAINTY]
        if [self.rule.itemText(row) for row in range(self.rule.count())] == rules:
            return
        chosen = self.rule.currentText() if self.slider.value() else ""
        with QSignalBlocker(self.rule):
            self.rule.clear()
            for row, rule in enumerate(rules):
                self.rule.addItem(rule)
                self.rule.setItemData(row, MEANINGS[rule], Qt.ItemDataRole.ToolTipRole)
            self.rule.setCurrentText(chosen if chosen in rules else rules[0])
        self.rule.setToolTip("What is hidden" if known else NO_TRUST)
        if self.rule.currentText() != chosen:
            self._set_up_slider()

    def refresh(self) -> None:
        """Cover what is to be hidden of the cells as they are now."""
        if self.slider.value():
            self._on_slider()

    def _set_up_slider(self) -> None:
        _, last, meaning = RULES[self.rule.currentText()]
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, last)
            self.slider.setPageStep(max(1, last // 10))
            self.slider.setValue(0)
        few = last < 10
        ticks = QSlider.TickPosition.TicksBelow if few else QSlider.TickPosition.NoTicks
        self.slider.setTickPosition(ticks)
        self.slider.setTickInterval(1)
        self.slider.setToolTip(meaning)
        self._say(None)

    @answered
    def _on_rule(self) -> None:
        self._set_up_slider()
        if self._run is not None:
            show_cover(self._viewer, self._run, None)

    @answered
    def _on_slider(self) -> None:
        hidden = self._hidden()
        self._say(hidden)
        if self._run is not None:
            show_cover(self._viewer, self._run, hidden)

    @answered
    def _keep(self) -> None:
        hidden = self._hidden()
        if self._run is not None and hidden is not None:
            layer = add_rest(self._viewer, self._run, hidden)
            self.answer.say(f"Added '{layer.name}'")

    def _hidden(self) -> Hidden | None:
        """Return what is to be hidden; None at the slider's left end."""
        value = self.slider.value()
        if self._run is None or value == 0:
            return None
        rule, _, _ = RULES[self.rule.currentText()]
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)  # all of a slide may be read
        try:
            return rule(self._run, value)
        finally:
            QApplication.restoreOverrideCursor()

    def _say(self, hidden: Hidden | None) -> None:
        self.keep.setEnabled(hidden is not None)
        self.share.say("all is shown" if hidden is None else str(hidden))

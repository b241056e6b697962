"""With which modes and models the sections of a batch are predicted: lists with ticks.

Nothing ticked means what Predict says. Models that were added since are listed by `refill`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qtpy.QtCore import (  # type: ignore[attr-defined,unused-ignore]
    QObject,
    QSignalBlocker,
    Qt,
    Signal,
)
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_damm.engine.config import EXPECTED, PredictConfig
from napari_damm.util.settings import settings_of
from napari_damm.widgets.model_picker import list_cards
from napari_damm.widgets.predict.batch_run import Choices

HEIGHT_PX = 76
MARGIN_PX = 8
HINT = "None ticked: as in Predict. Of several, each section is predicted with every one"
VALUE = Qt.ItemDataRole.UserRole


class Ways(QObject):
    """The two lists."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        choices = settings_of(PredictConfig)["mode"].choices
        self.modes, self.models = _list("batch_modes"), _list("batch_models")
        _fill(self.modes, {mode: mode for mode in choices})
        self.refill()
        for each in (self.modes, self.models):
            each.itemChanged.connect(lambda _: self.changed.emit())

    def refill(self) -> None:
        """List the models that there are now; those that were ticked stay so."""
        try:
            found = {card.name: str(card.path) for card in list_cards() if card.problem is None}
        except (OSError, ValueError):  # Predict says why there are none
            found = {}
        before = _ticked(self.models)
        with QSignalBlocker(self.models):
            _fill(self.models, found, before)
        if _ticked(self.models) != before:
            self.changed.emit()

    @property
    def ticked(self) -> tuple[list[Path], list[str]]:
        """The models and the modes that are ticked."""
        return [Path(value) for value in _ticked(self.models)], _ticked(self.modes)

    def narrow(self, choices: Choices) -> Choices:
        """Return what Predict says, with the one model or mode that is ticked in its place."""
        models, modes = self.ticked
        if len(models) == 1:
            choices = replace(choices, model=models[0])
        if len(modes) == 1:
            views = choices.settings["views"] if modes[0] == EXPECTED else 1
            settings = {**choices.settings, "mode": modes[0], "views": views}
            choices = replace(choices, settings=settings)
        return choices


def _list(name: str) -> QListWidget:
    made = QListWidget()
    made.setObjectName(name)
    made.setToolTip(HINT)
    return made


def _fill(box: QListWidget, values: Mapping[str, str], ticked: Sequence[str] = ()) -> None:
    box.clear()
    for text, value in values.items():
        item = QListWidgetItem(text)
        item.setData(VALUE, value)
        on = value in ticked
        item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        box.addItem(item)
    row = max(box.sizeHintForRow(0), 1)
    box.setFixedHeight(min(HEIGHT_PX, max(box.count(), 1) * row + 2 * box.frameWidth() + MARGIN_PX))


def _ticked(box: QListWidget) -> list[str]:
    items = [box.item(row) for row in range(box.count())]
    return [
        str(item.data(VALUE))
        for item in items
        if item is not None and item.checkState() == Qt.CheckState.Checked
    ]

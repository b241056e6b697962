"""The "Model" row: which models there are, and one line from the picked one's card."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Signal  # type: ignore[attr-defined,unused-ignore]
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_damm.util.text import with_micro
from napari_damm.widgets.controls import button, choice, stack
from napari_damm.widgets.model_words import model_in_a_line, model_in_words
from napari_damm.widgets.notes import Note

DETAILS = "What the model learnt from, what it is for, what it does not know"
MODALITIES = ("vessels", "nuclei", "nanoparticles")


@dataclass(frozen=True)
class Card:
    """One model on offer; `problem` is a sentence where its file cannot be used."""

    name: str
    path: Path
    modalities: tuple[str, ...] = MODALITIES
    summary: str = ""
    tooltip: str = ""
    problem: str | None = None
    pixel_size_um: float | None = None


NO_MODEL = Card("", Path())


class ModelPicker(QWidget):
    """The bundled and the user's own models."""

    changed = Signal()

    def __init__(self, missing: str) -> None:
        super().__init__()
        self._missing = missing  # what to do where there is no model
        self._problem = ""
        self._cards: list[Card] = []
        self._lines = ("", "")
        self.box, self.note = choice("model"), Note("model_note")
        self.details = button(
            "model_details",
            "…",
            DETAILS,
        )
        self.details.setFixedWidth(28)
        self.details.setCheckable(True)
        row = QHBoxLayout()
        row.addWidget(self.box, 1)
        row.addWidget(self.details)
        column = stack(self.note)
        column.insertLayout(0, row)
        self.setLayout(column)
        self.box.currentIndexChanged.connect(self.changed)
        self.details.toggled.connect(self._say)

    def refill(self, pick: str = "") -> None:
        """List the models anew; pick the one of this name, else keep the choice."""
        wanted = pick or self.box.currentText()
        try:
            self._cards, self._problem = list_cards(), ""
        except (OSError, ValueError) as error:
            self._problem = str(error)
        with QSignalBlocker(self.box):
            self.box.clear()
            self.box.addItems(self.names)
            self.box.setCurrentIndex(max(self.box.findText(wanted), 0))
        self.changed.emit()

    def pick(self, record: Mapping[str, Any]) -> None:
        """Pick the model that a job record names, or, where it was renamed, that very file."""
        named = self.box.findText(str(record.get("name")))
        rows = sorted(range(len(self._cards)), key=lambda row: row != named)
        same = (row for row in rows if _checksum(self._cards[row].path) == record.get("sha256"))
        found = next(same, named)
        if found >= 0:
            self.box.setCurrentIndex(found)

    @property
    def names(self) -> list[str]:
        """The names in the list."""
        return [card.name for card in self._cards]

    @property
    def pixel_sizes_um(self) -> dict[Path, float]:
        """The pixel sizes of the models that state one, by their files."""
        sizes = {card.path: card.pixel_size_um for card in self._cards}
        return {path: size for path, size in sizes.items() if size}

    @property
    def modalities(self) -> tuple[str, ...]:
        """What the picked model calls its images."""
        return (self._card or NO_MODEL).modalities

    def chosen(self) -> Card:
        """Return the picked model.

        Raises
        ------
        ValueError
            In one sentence, if there is none that can be used.
        """
        card = self._card
        if card is None:
            raise ValueError(self._problem or self._missing)
        if card.problem is not None:
            raise ValueError(card.problem)
        return card

    def explain(self, instead: str = "") -> None:
        """Sum the picked model up, or say what is done `instead` of using one."""
        card = self._card or NO_MODEL
        self.box.setEnabled(not instead)
        self.details.setEnabled(not instead)
        self.box.setToolTip(with_micro(card.tooltip) or "The model that predicts")
        self._lines = (instead or card.summary, instead or card.tooltip or card.summary)
        self._say()

    def _say(self) -> None:
        """Show one line on the model, or all that is known of it."""
        short, long = self._lines
        self.note.say(long if self.details.isChecked() else short)
        self.note.setToolTip(with_micro(long))

    @property
    def _card(self) -> Card | None:
        row = self.box.currentIndex()
        return self._cards[row] if 0 <= row < len(self._cards) else None


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file; "" where it cannot be read."""
    from napari_damm.model_file import sha256

    with suppress(OSError):
        return sha256(path)
    return ""


def list_cards() -> list[Card]:
    """List the bundled and the user's own models, reading their headers only."""
    from napari_damm import model_file

    cards = []
    for info in model_file.list_models():
        if info.problem is not None:
            cards.append(Card(info.name, info.path, problem=info.problem))
            continue
        modalities = tuple(str(name) for name in info.card["modalities"])
        size = info.card.get("pixel_size_um")
        cards.append(
            Card(
                info.name,
                info.path,
                modalities,
                model_in_a_line(info.card),
                model_in_words(info.card, info.path),
                pixel_size_um=float(size) if size else None,
            )
        )
    return cards

"""What the widget says about the models that there are: one line from each model's card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


NO_MODEL = Card("", Path())


def list_cards() -> list[Card]:
    """List the bundled and the user's own models, reading their headers only."""
    from napari_damm import model_file

    cards = []
    for info in model_file.list_models():
        if info.problem is not None:
            cards.append(Card(info.name, info.path, problem=info.problem))
            continue
        modalities = tuple(str(name) for name in info.card["modalities"])
        # The box above the summary shows the name already.
        summary = model_file.summary(info.card).partition(" · ")[2]
        cards.append(Card(info.name, info.path, modalities, summary, _details(info.card)))
    return cards


def _details(card: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in card.items() if isinstance(value, str | int | float)}
    return "\n".join(f"{key}: {value}" for key, value in plain.items())

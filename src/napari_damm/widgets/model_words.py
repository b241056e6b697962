"""A model's card in an analyst's words: what it learnt from, what it is for, what it does not know.

What only its makers need (steps, batches, seeds, versions) is left to `napari-damm models show`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

SUMMARY_LENGTH = 56
MOST_LIMITS = 6
LONGEST = 300
SIMULATED = "simulated tissue only, not validated on real sections"


def model_in_a_line(card: Mapping[str, Any]) -> str:
    """Sum a card up in a line or two; name and modalities are shown beside it."""
    from napari_damm.model_file import summary

    *_, size_and_data = summary(card).split(" · ", 2)
    size, *rest = size_and_data.split(" · ")
    size = size.replace(".0 µm", " µm")
    data = card.get("training_data")
    if isinstance(data, Mapping) and data.get("kind") == "simulated":
        return f"{size} · {SIMULATED}"
    words = " · ".join([size, *rest]).replace("trained on ", "")
    return shorten(words, SUMMARY_LENGTH, placeholder="…")


def model_in_words(card: Mapping[str, Any], path: Path) -> str:
    """Say what a model predicts, learnt from, is for and does not know, a line each."""
    return "\n".join(_lines(card, path))


def _lines(card: Mapping[str, Any], path: Path) -> Iterator[str]:
    from napari_damm.model_file import CHANCE, warning_of

    *given, target = (_plain(name) for name in card["modalities"])
    yield f"Predicts {target} from {' and '.join(given)}"
    size = _number(card.get("pixel_size_um"))
    if size is not None:
        yield f"Made for pixels of {size:g} µm: images with others are brought to that"
    yield f"Learnt from: {_learnt_from(card)}"
    warning = warning_of(card)
    if warning == CHANCE:
        yield "In its own validation its maps did not follow the imaged particles"
    elif warning:
        yield "In its own validation it was not better than a linear model of the two images"
    if card.get("intended_use"):
        yield f"For: {_plain(card['intended_use'])}"
    limits = card.get("limits")
    if isinstance(limits, list) and limits:
        yield "Limits:"
        yield from (f"• {_plain(limit)}" for limit in limits[:MOST_LIMITS])
    intervals = card.get("intervals")
    if not isinstance(intervals, Mapping):
        yield "It does not say how far off its maps may be (no 90 % intervals)"
    yield f"File: {_plain(path)}"


def _learnt_from(card: Mapping[str, Any]) -> str:
    from napari_damm.model_file import trained_on

    data = card.get("training_data")
    said = trained_on(card).get("description")
    if not said:
        return "not stated"
    simulated = isinstance(data, Mapping) and data.get("kind") == "simulated"
    words = said.split(" (")[0] if simulated and "base" not in (data or {}) else said
    area = _area_mm2(data) if isinstance(data, Mapping) else None
    return words if area is None else f"{words}; {_area_in_words(area)} of tissue"


def _area_mm2(data: Mapping[str, Any]) -> float | None:
    """Return the area of all sections, as far as the card lets it be told."""
    um, number = _number(data.get("pixel_size_um")), _number(data.get("number_of_sections"))
    sections = data.get("sections")
    if um is None or number is None or not isinstance(sections, list):
        return None
    areas = []
    for section in sections:
        shape = section.get("shape") if isinstance(section, Mapping) else None
        sides = [_number(side) for side in shape] if isinstance(shape, list) else []
        if len(sides) != 2 or sides[0] is None or sides[1] is None:
            return None
        areas.append(sides[0] * sides[1])
    return number * sum(areas) / len(areas) * (um / 1000) ** 2 if areas else None


def _area_in_words(mm2: float) -> str:
    if mm2 >= 100:
        return f"{mm2 / 100:.0f} cm²"
    return f"{mm2:.2g} mm²" if mm2 < 10 else f"{mm2:.0f} mm²"


def _number(found: Any) -> float | None:
    usable = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if usable and 0 < found < math.inf else None


def _plain(words: Any) -> str:
    from napari_damm.util.text import printable

    return shorten(printable(str(words)), LONGEST, placeholder="…")

"""What a prediction was said to be worth, in a line for whoever opens its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_damm.trust.cells import shares_in_words
from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE, in_a_line, said_of_model
from napari_damm.util.text import printable, with_micro

VERDICT = "napari_damm_verdict"
"""Where a layer's metadata keep it."""
VERDICT_COLOURS = {USE: "#2e9e5b", WITH_CARE: "#d98e04", DO_NOT_USE: "#d64545"}


def verdict_in_words(record: Mapping[str, Any]) -> str:
    """Say a record's verdict, its reasons, the shares of the tissue, and what it says of the model.

    "" where it says none of that.
    """
    trust = record.get("trust") or {}
    said = [printable(said_of_model(record))]
    if trust.get("verdict"):
        line = in_a_line(str(trust["verdict"]), trust.get("reasons", ()))
        said = [printable(line), shares_in_words(trust), *said]
    text = ""
    for sentence in filter(None, said):
        between = "" if not text else " " if text.endswith("?") else ". "
        text += between + sentence[:1].upper() + sentence[1:]
    return text


def verdict_colour(record: Mapping[str, Any]) -> str:
    """Return the colour that a record's verdict is written in; "" for none of its own."""
    verdict = str((record.get("trust") or {}).get("verdict"))
    doubtful = verdict != DO_NOT_USE and said_of_model(record)
    return VERDICT_COLOURS.get(WITH_CARE if doubtful else verdict, "")


def tell_verdict(name: str, record: Mapping[str, Any]) -> None:
    """Tell, by napari's notifications, what a result that was opened is worth.

    The status bar would not do: the mouse overwrites it.
    """
    from napari.utils.notifications import show_info, show_warning

    said = verdict_in_words(record)
    if said:
        doubtful = verdict_colour(record) in map(VERDICT_COLOURS.get, (WITH_CARE, DO_NOT_USE))
        (show_warning if doubtful else show_info)(f"{name}: {with_micro(said)}")

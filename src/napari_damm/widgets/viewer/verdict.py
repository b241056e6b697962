"""What a prediction was said to be worth, in a line for whoever opens its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_damm.trust.cells import shares_in_words
from napari_damm.trust.verdict import DO_NOT_USE, USE, WITH_CARE, in_a_line
from napari_damm.util.text import printable

VERDICT = "napari_damm_verdict"
"""Where a layer's metadata keep it."""
VERDICT_COLOURS = {USE: "#2e9e5b", WITH_CARE: "#d98e04", DO_NOT_USE: "#d64545"}


def verdict_in_words(record: Mapping[str, Any]) -> str:
    """Say a record's verdict, its reasons, and the shares of the tissue; "" where it has none."""
    trust = record.get("trust") or {}
    if not trust.get("verdict"):
        return ""
    line = printable(in_a_line(str(trust["verdict"]), trust.get("reasons", ())))
    line = line[:1].upper() + line[1:]
    shares = shares_in_words(trust)
    return f"{line}{' ' if line.endswith('?') else '. '}{shares}" if shares else line


def verdict_colour(record: Mapping[str, Any]) -> str:
    """Return the colour that a record's verdict is written in; "" for none of its own."""
    return VERDICT_COLOURS.get(str((record.get("trust") or {}).get("verdict")), "")


def tell_verdict(name: str, record: Mapping[str, Any]) -> None:
    """Tell, by napari's notifications, what a result that was opened is worth.

    The status bar would not do: the mouse overwrites it.
    """
    from napari.utils.notifications import show_info, show_warning

    said = verdict_in_words(record)
    if said:
        doubtful = record["trust"]["verdict"] in (WITH_CARE, DO_NOT_USE)
        (show_warning if doubtful else show_info)(f"{name}: {said}")

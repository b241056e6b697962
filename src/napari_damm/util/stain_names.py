"""What channels of each role are usually called, of files and of layers."""

from __future__ import annotations

import re

USUAL_NAMES = {
    "vessels": (
        "vessel", "cd31", "pecam", "endomucin", "emcn", "cd34", "ve-cadherin", "vwf",
        "endothel", "vascul", "lectin",
    ),
    "nuclei": ("nuclei", "nucleus", "nuclear", "dapi", "hoechst", "draq5", "sytox"),
    "target": ("nanoparticle", "quantum", "qd", "particle", "tracer", "target"),
}  # fmt: skip
PARTS_OF_WORDS = ("lectin", "nuclear")
"""These end other markers' names: galectin, selectin, mononuclear."""


def tells(name: str, usual: str) -> bool:
    """Return whether a name, in lower case, holds a usual one, not another: CD340, Galectin-3."""
    start = "(?<![a-z])" if usual in PARTS_OF_WORDS else ""
    end = r"(?!\d)" if usual[-1:].isdigit() else ""
    return re.search(f"{start}{re.escape(usual)}{end}", name) is not None

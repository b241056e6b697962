"""One picture of trust: what each cell of a result is worth, and the shares of the tissue.

1. "do not use": the window is further from what the model knows than every held-out one.
2. "with care": it is unusual (fewer than 1 in 20 lie so far off), or vessels and nuclei disagree
   there, so that the map is drawn from vessels alone.
3. "use": the rest of what was predicted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_damm.trust.verdict import (
    DO_NOT_USE,
    NOT_ASSESSED,
    UNKNOWN,
    UNUSUAL,
    USE,
    VERDICTS,
    WITH_CARE,
    Assessment,
)

DISAGREE = 0.5
"""Uncertainty above which the two images disagree."""
NO_REFERENCE = "the model does not say which images it knows"


class CellTrust(IntEnum):
    """What a cell is worth."""

    NOT_PREDICTED = 0
    USE = 1
    WITH_CARE = 2
    DO_NOT_USE = 3


def trust_cells(
    familiarity: NDArray[np.floating[Any]],
    uncertainty: NDArray[np.floating[Any]],
    branch: NDArray[np.integer[Any]],
) -> NDArray[np.uint8]:
    """Return `CellTrust` codes of cells, from three maps of one shape (branch 0: not predicted)."""
    found = np.full(branch.shape, CellTrust.USE, np.uint8)
    found[(familiarity < UNUSUAL) | (uncertainty > DISAGREE)] = CellTrust.WITH_CARE
    found[familiarity < UNKNOWN] = CellTrust.DO_NOT_USE
    found[branch == 0] = CellTrust.NOT_PREDICTED
    return found


def shares(cells: NDArray[np.uint8]) -> dict[str, float]:
    """Return the share of the predicted cells by verdict; empty where none was predicted."""
    counts = np.bincount(cells.ravel(), minlength=len(CellTrust))[1:]
    if not counts.sum():
        return {}
    return {
        verdict: round(float(count / counts.sum()), 4)
        for verdict, count in zip(VERDICTS, counts, strict=True)
    }


def before(assessment: Assessment | None, fitted_on: str = "") -> dict[str, Any]:
    """Return what a job record says of trust when the job begins; `shares` come at its end."""
    if assessment is None:
        return {"verdict": NOT_ASSESSED, "reasons": [NO_REFERENCE], "shares": {}}
    return {
        "verdict": assessment.verdict,
        "reasons": list(assessment.reasons),
        "shares": {},
        "familiarity": round(assessment.familiarity, 5),
        "fitted_on": fitted_on,
    }


def after(
    trust: Mapping[str, Any],
    familiarity: NDArray[np.floating[Any]],
    uncertainty: NDArray[np.floating[Any]],
    branch: NDArray[np.integer[Any]],
) -> dict[str, Any]:
    """Add to what a record says of trust the shares of the tissue, and why some is in doubt."""
    cells = trust_cells(familiarity, uncertainty, branch)
    doubtful = cells == CellTrust.WITH_CARE
    unusual = familiarity[doubtful] < UNUSUAL
    mostly_unusual = bool(unusual.size and unusual.mean() >= 0.5)
    return {**trust, "shares": shares(cells), "mostly_unusual": mostly_unusual}


def shares_in_words(trust: Mapping[str, Any] | None) -> str:
    """Say a record's trust in one line; "" where there is nothing to say.

    "72 % of the tissue: use; 20 % with care (the images disagree); 8 % do not use (unlike training
    images)".
    """
    part = (trust or {}).get("shares") or {}
    if not part:
        return ""
    assert trust is not None
    causes = {
        WITH_CARE: "unusual images" if trust.get("mostly_unusual") else "the two images disagree",
        DO_NOT_USE: "unlike training images",
    }
    said = [f"{_percent(part.get(USE, 0.0))} of the tissue: use"]
    for verdict, cause in causes.items():
        if part.get(verdict, 0.0) > 0:
            said.append(f"{_percent(part[verdict])} {verdict} ({cause})")
    return "; ".join(said)


def _percent(share: float) -> str:
    return "below 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"

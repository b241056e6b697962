"""One picture of trust: what each cell of a result is worth, and the shares of the tissue.

1. "do not use": the window is further from what the model knows than every held-out one, or the
   90 % interval is as wide as the whole range of intensities, so that it says nothing.
2. "with care": the window is unusual (fewer than 1 in 20 lie so far off), or vessels and nuclei
   disagree there, so that nuclei are not trusted, unless the interval is narrow all the same; or it
   is wide.
3. "use": the rest of what was predicted.

Of a model that is not calibrated, errors of its few validation windows stand for the interval.

Limits of the width were chosen on simulated sections: what is left to use errs by about 0.04 of the
range on average, the rest by two or three times that (tests/benchmarks/trust_risk.py).
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
NARROW, WIDE, WIDEST = 0.25, 0.4, 1.0
"""Width of the 90 % interval, in ranges of intensity: above the first, images that disagree ask for
care; above the second it does itself; from the third on it says nothing."""
WIDE_INTERVAL, LARGE_ERRORS = "wide interval", "large errors expected"
SAYS_NOTHING, ERRORS_OF_ALL = "the interval says nothing", "errors of the whole range expected"
"""Of calibrated models, and of others."""
NO_REFERENCE = "the model does not say which images it knows"


class CellTrust(IntEnum):
    """What a cell is worth."""

    NOT_PREDICTED = 0
    USE = 1
    WITH_CARE = 2
    DO_NOT_USE = 3


_CODES = {WITH_CARE: CellTrust.WITH_CARE, DO_NOT_USE: CellTrust.DO_NOT_USE}


Floats = NDArray[np.floating[Any]]


def trust_cells(
    familiarity: Floats,
    uncertainty: Floats,
    branch: NDArray[np.integer[Any]],
    width: Floats | None = None,
) -> NDArray[np.uint8]:
    """Return `CellTrust` codes of cells, from maps of one shape.

    `familiarity` and `uncertainty` are in 0..1, `branch` is 0 where nothing was predicted. `width`
    is the mean width of the 90 % interval of a cell's pixels, or what stands for it; None: nothing
    does.
    """
    found = np.full(branch.shape, CellTrust.USE, np.uint8)
    for verdict, causes in _doubts(familiarity, uncertainty, width, True).items():
        found[np.logical_or.reduce(list(causes.values()))] = _CODES[verdict]
    found[branch == 0] = CellTrust.NOT_PREDICTED
    return found


def _doubts(
    familiarity: Floats, uncertainty: Floats, width: Floats | None, calibrated: bool
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return by verdict, the gravest last, and then by reason, where there is cause for it."""
    care = {
        "unusual images": familiarity < UNUSUAL,
        "the two images disagree": uncertainty > DISAGREE,
    }
    avoid = {"unlike training images": familiarity < UNKNOWN}
    if width is not None:
        care = {cause: there & (width > NARROW) for cause, there in care.items()}
        care[WIDE_INTERVAL if calibrated else LARGE_ERRORS] = width > WIDE
        avoid[SAYS_NOTHING if calibrated else ERRORS_OF_ALL] = width >= WIDEST
    return {WITH_CARE: care, DO_NOT_USE: avoid}


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
    familiarity: Floats,
    uncertainty: Floats,
    branch: NDArray[np.integer[Any]],
    width: Floats | None = None,
    calibrated: bool = True,
) -> dict[str, Any]:
    """Add to what a record says of trust the shares of the tissue, and why some is in doubt.

    The maps are those of `trust_cells`; `calibrated`: `width` is that of an interval.
    """
    cells = trust_cells(familiarity, uncertainty, branch, width)
    found = {}
    for verdict, causes in _doubts(familiarity, uncertainty, width, calibrated).items():
        here = cells == _CODES[verdict]
        if here.any():
            found[verdict] = max(causes, key=lambda cause: int((causes[cause] & here).sum()))
    said = {**trust, "shares": shares(cells), "causes": found}
    predicted = branch > 0
    if width is not None and calibrated and predicted.any():
        said["interval_width"] = round(float(width[predicted].mean()), 4)
    return said


def shares_in_words(trust: Mapping[str, Any] | None) -> str:
    """Say a record's trust in one line; "" where there is nothing to say.

    "72 % of the tissue: use; 20 % with care (the two images disagree); 8 % do not use (unlike
    training images)". Of a section that is not to be used as a whole: "Place by place 9 % of
    the tissue: use; ...".
    """
    part = (trust or {}).get("shares") or {}
    if not part:
        return ""
    assert trust is not None
    causes = trust.get("causes") or {}
    said = [f"{_percent(part.get(USE, 0.0))} of the tissue: use"]
    for verdict in (WITH_CARE, DO_NOT_USE):
        if part.get(verdict, 0.0) > 0:
            cause = f" ({causes[verdict]})" if verdict in causes else ""
            said.append(f"{_percent(part[verdict])} {verdict}{cause}")
    return ("Place by place " if trust.get("verdict") == DO_NOT_USE else "") + "; ".join(said)


def _percent(share: float) -> str:
    return "below 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"

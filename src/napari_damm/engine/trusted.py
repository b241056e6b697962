"""What a job says of trust: of the section before it begins, of its cells when it ends.

A model that does not say which images it knows is used all the same; the record says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_damm.engine.planning import Plan
from napari_damm.events import Notice
from napari_damm.slide import Slide
from napari_damm.store import ResultStore
from napari_damm.trust import cells
from napari_damm.trust.known import Known
from napari_damm.trust.section import assess
from napari_damm.trust.verdict import NOT_ASSESSED, USE, in_a_line

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM


def trust_before(slide: Slide, model: DAMM, planned: Plan) -> dict[str, Any]:
    """Return the verdict on a section, for the record of a job that is about to begin."""
    known = Known.of_card(model.card)
    if known is None:
        return cells.before(None)
    windows = planned.windows
    found = assess(slide, model.card, planned.model_um, planned.normalisation, windows)
    return cells.before(found, known.fitted_on)


def trust_after(store: ResultStore) -> dict[str, Any]:
    """Return what the record gains at the end: the shares of the tissue; {} without a map."""
    arrays = store.arrays
    trust = store.record.get("trust")
    if arrays.familiarity is None or not isinstance(trust, Mapping):
        return {}
    maps = (
        np.asarray(array[:]) for array in (arrays.familiarity, arrays.uncertainty, arrays.branch)
    )
    return {"trust": cells.after(trust, *maps)}


def trust_notices(trust: Mapping[str, Any]) -> Iterator[Notice]:
    """Say before a run what speaks against it; it goes on all the same."""
    verdict = trust.get("verdict")
    if verdict in (USE, NOT_ASSESSED, None):
        return
    yield Notice(in_a_line(str(verdict), trust.get("reasons", ())), "warning")

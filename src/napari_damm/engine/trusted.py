"""What a job says of trust: of the section before it begins, of its cells when it ends.

A model that does not say which images it knows is used all the same; the record says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_damm.engine.intervals import half_width
from napari_damm.engine.planning import Plan
from napari_damm.events import Notice
from napari_damm.slide import Slide
from napari_damm.store import Result, ResultStore
from napari_damm.store.layout import ResultLayout
from napari_damm.trust import cells
from napari_damm.trust.known import Known
from napari_damm.trust.section import assess
from napari_damm.trust.verdict import NOT_ASSESSED, USE, in_a_line
from napari_damm.util.areas import Areas, areas_on_map
from napari_damm.util.tiling import CELL, Box

if TYPE_CHECKING:
    from napari_damm.model.damm import DAMM

CELLS_AT_ONCE = 16
"""Rows of cells that are read together."""


def trust_before(slide: Slide, model: DAMM, planned: Plan) -> dict[str, Any]:
    """Return the verdict on a section, for the record of a job that is about to begin."""
    known = Known.of_card(model.card)
    if known is None:
        return cells.before(None)
    # In the order of the lattice, wherever the run begins: the verdict is the section's. Where
    # tissue ends is glass, which no model has learnt: it is judged place by place.
    windows = planned.inner or sorted(planned.windows)
    found = assess(slide, model.card, planned.model_um, planned.normalisation, windows)
    return cells.before(found, known.fitted_on)


def trust_after(store: ResultStore) -> dict[str, Any]:
    """Return what the record gains at the end: the shares of the tissue; {} without a map."""
    trust, result = store.record.get("trust"), store.result()
    if result.familiarity is None or not isinstance(trust, Mapping):
        return {}
    return {"trust": cells.after(trust, *_cell_maps(result))}


def trust_map(result: Result) -> NDArray[np.uint8] | None:
    """Return what each cell is worth (`trust.cells.CellTrust`); None where that is not assessed."""
    return None if result.familiarity is None else cells.trust_cells(*_cell_maps(result))


def _cell_maps(result: Result) -> tuple[Any, ...]:
    """Return what is known of the cells of a result: the maps of `trust_cells`."""
    given = (result.familiarity, result.uncertainty, result.branch)
    half = half_width(result)
    areas = areas_on_map(result.record)
    width = None if half is None else 2 * _cell_means(half, result.layout, areas)
    return (*(np.asarray(each) for each in given), width)


def _cell_means(
    values: da.Array, layout: ResultLayout, areas: Areas | None = None
) -> NDArray[np.float64]:
    """Return the means over cells of a map of pixels (those in areas), computed band by band."""
    (height, width), (dy, dx) = layout.shape, layout.cells_origin
    rows, cols = layout.cells_shape
    x = np.maximum(np.arange(cols) * CELL - dx, 0)
    columns = np.diff(np.append(x, width))
    means = np.zeros((rows, cols))
    for first in range(0, rows, CELLS_AT_ONCE):
        y = np.maximum(np.arange(first, min(first + CELLS_AT_ONCE, rows) + 1) * CELL - dy, 0)
        y = np.minimum(y, height)
        band = np.asarray(values[y[0] : y[-1]], np.float64)
        counts = np.diff(y)[:, None] * columns
        if areas is not None:
            inside = areas.mask(Box(int(y[0]), 0, int(y[-1]), width)).astype(np.float64)
            band = band * inside
            counts = _sums(inside, y[:-1] - y[0], x)
        means[first : first + len(y) - 1] = _sums(band, y[:-1] - y[0], x) / np.maximum(counts, 1)
    return means


def _sums(
    values: NDArray[np.float64], y: NDArray[np.intp], x: NDArray[np.intp]
) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(values, y, axis=0), x, axis=1)
    return found


def trust_notices(trust: Mapping[str, Any]) -> Iterator[Notice]:
    """Say before a run what speaks against it; it goes on all the same."""
    verdict = trust.get("verdict")
    if verdict in (USE, NOT_ASSESSED, None):
        return
    yield Notice(in_a_line(str(verdict), trust.get("reasons", ())), "warning")
